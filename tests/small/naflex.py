"""The tiny config with pictures at their own aspect ratio."""

from ml_collections import ConfigDict

from experiments.common import NAFLEX_PIXELS, parse_arg
from tests.small import config as small


def get_config(arg: str = "") -> ConfigDict:
    """A run of `steps` steps on `data` by SigLIP."""
    args = parse_arg(arg, data="", steps=4)
    config = small.get_config(f"data={args.data},steps={args.steps},objective=siglip")
    config.preprocess = ConfigDict(NAFLEX_PIXELS | dict(patch_size=8, max_num_patches=6))
    config.augment = ConfigDict(dict(crop=(0.5, 1.0), flip_p=0.5, blur_p=0.5))
    sizes = dict(width=16, depth=2, num_heads=2, unroll=1)
    config.model.image = ConfigDict(dict(kind="naflex", patch_size=8, num_patches=4, **sizes))
    siglip = dict(image_projection="none", text_projection="linear_bias")
    config.model.update(siglip)
    config.model.text = ConfigDict(
        dict(causal=False, pool="last", activation="gelu_tanh", norm_eps=1e-6, **sizes)
    )
    evals = dict(loss=dict(task="loss", data=args.data, every="2 steps"))
    config.evals = ConfigDict(evals | dict(same=config.evals.same.to_dict()))
    config.train.ema_decay = 0.0
    return config
