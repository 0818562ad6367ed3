"""The emoji experiment, shrunk until a run takes seconds; `data=` names the pairs."""

from ml_collections import ConfigDict

from experiments import emoji
from experiments.common import parse_arg


def get_config(arg: str = "") -> ConfigDict:
    """A run of `steps` steps on `data`."""
    args = parse_arg(arg, data="", steps=6, batch=16, objective="clip")
    config = emoji.get_config(f"size=16,epochs=1,model={args.objective}")
    config.data.train = args.data
    config.tokenizer.vocab_size = 300
    config.tokenizer.length = 8
    config.model.embed_dim = 16
    for tower in (config.model.image, config.model.text):
        tower.update(width=16, depth=2, num_heads=2, unroll=1)
    config.model.image.patch_size = 8
    if args.objective == "coca":
        config.model.image.queries.update(width=16, num_queries=3, num_heads=2)
        config.model.decoder.update(num_heads=2, unroll=1)
    if args.objective == "siglip":
        config.export = ConfigDict({})  # a CLIP-shaped model with a bias has no class elsewhere
    if args.objective == "albef":
        config.model.fusion.update(num_heads=2, unroll=1)
        config.objective.update(queue_size=2 * args.batch, mask_id=config.tokenizer.vocab_size)
    if args.objective == "blip":
        config.objective.queue_size = 2 * args.batch
        config.model.image.pre_norm = False  # which no class of transformers has
        config.export = ConfigDict(dict(to="hf", out="exported", mode="decode"))
    config.optim.schedule = ConfigDict(dict(name="cosine", peak=1e-2, warmup=1))
    config.train.total = f"{args.steps} steps"
    config.train.global_batch_size = args.batch
    config.train.unmasked_tuning = "0 steps"
    config.checkpoint.every = "2 steps"
    config.evals = ConfigDict(
        dict(
            same=dict(task="retrieval", data=args.data, every=f"{args.steps} steps", group="kind"),
            kinds=dict(
                task="classification", data=args.data, every="0 steps", label="kind",
                templates="simple",
            ),
        )
    )  # fmt: skip
    if args.objective == "albef":
        config.evals.same.rerank = 4
        for task in ("matching", "masked_words"):
            config.evals[task] = ConfigDict(dict(task=task, data=args.data, every="0 steps"))
    config.report.data = args.data
    return config
