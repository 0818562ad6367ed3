"""BLIP-2's first stage on the emoji, shrunk until a run takes seconds; `data=` names the pairs."""

from ml_collections import ConfigDict

from experiments import emoji_blip2
from experiments.common import parse_arg


def get_config(arg: str = "") -> ConfigDict:
    """A run of `steps` steps on `data` that reads the image tower of the run `image`.

    `captions=1` judges what it writes too, for which the extra `captions` is needed.
    """
    args = parse_arg(arg, data="", image="", steps=4, captions=0)
    config = emoji_blip2.get_config(f"image={args.image},epochs=1,size=16")
    config.data.train = args.data
    config.tokenizer.update(vocab_size=300, length=8)
    config.model.update(embed_dim=16, num_queries=3)
    config.model.image.width = 16
    config.model.text.update(width=16, depth=2, num_heads=2, unroll=1)
    config.optim.schedule = ConfigDict(dict(name="cosine", peak=1e-2, warmup=1))
    config.train.update(total=f"{args.steps} steps", global_batch_size=16)
    config.checkpoint.every = "2 steps"
    same = dict(task="retrieval", data=args.data, every="2 steps", rerank=4)
    matching = dict(task="matching", data=args.data, every="0 steps")
    kinds = dict(
        task="classification", data=args.data, every="0 steps", label="kind", templates="simple"
    )
    captions = dict(task="captioning", data=args.data, every="0 steps", num_beams=1)
    config.evals = ConfigDict(dict(same=same, matching=matching, kinds=kinds))
    if args.captions:
        config.evals.captions = ConfigDict(captions)
    config.report.data = args.data
    return config
