"""The stages of VLMo on the emoji, shrunk until a run takes seconds; `data=` names the pairs."""

from ml_collections import ConfigDict

from experiments import emoji_vlmo
from experiments.common import parse_arg


def get_config(arg: str = "") -> ConfigDict:
    """Two steps of a stage on `data`."""
    args = parse_arg(arg, stage="", data="", init="", positions="absolute")
    config = emoji_vlmo.get_config(
        f"stage={args.stage},init={args.init},positions={args.positions},epochs=1,size=16"
    )
    config.data.train = args.data
    config.tokenizer.vocab_size = 300
    config.tokenizer.length = 8
    config.model.embed_dim = 16
    config.model.image.update(width=16, patch_size=8)
    config.model.text.width = 16
    config.model.multiway.update(depth=2, num_heads=2, fused_from=1, unroll=1)
    if "mask_id" in config.objective:
        config.objective.mask_id = 300
    config.optim.schedule = ConfigDict(dict(name="cosine", peak=1e-2))
    config.train.update(total="2 steps", global_batch_size=16, ema_decay=0.0)
    config.checkpoint.every = "2 steps"
    config.evals = ConfigDict()
    config.report.data = args.data if args.stage == "pairs" else ""
    if args.stage == "pairs":
        same = dict(task="retrieval", data=args.data, every="2 steps")
        config.evals = ConfigDict(dict(same=same))
    return config
