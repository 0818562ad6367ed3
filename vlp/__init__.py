"""Vision-language pretraining in JAX: train, evaluate, import and export image-text encoders."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from vlp.version import __version__

if TYPE_CHECKING:
    import numpy as np

    from vlp.interop.loaded import Loaded

__all__ = ["__version__", "load"]


def load(
    source: str | os.PathLike,
    *,
    weights: str = "auto",
    image_size: int | None = None,
    text_length: int | None = None,
    tokenizer: str | os.PathLike | None = None,
    allow_pickle_weights: bool = False,
    arch: str | None = None,
) -> tuple[Loaded, Any, Callable[[str | Sequence[str]], np.ndarray]]:
    """What one needs to embed images and texts with a trained model.

        import vlp
        model, preprocess, tokenize = vlp.load("runs/emoji")
        zimg = model.encode_image(preprocess(["cat.png"])).embedding
        ztxt = model.encode_text(tokenize(["a cat face", "a red heart"])).embedding
        print(zimg @ ztxt.T)

    Args:
        source: the workdir of `vlp train`, for its newest undamaged checkpoint, or the folder of
            one checkpoint; a folder of transformers, open_clip or timm, or a file of weights in it;
            an npz of big_vision; a checkpoint of ALBEF's or BLIP's authors. The format is seen from
            the files, or given in front: "hf:", "open_clip:", "timm:", "big_vision:", "albef:",
            "blip:". Behind one of the first three what is no path here is a name on the Hub,
            "hf:openai/clip-vit-base-patch32" or with a revision "hf:owner/name@revision".
        weights: "ema" for the average of the weights, "params" for the weights themselves, "auto"
            for the average where one was kept. Where a checkpoint of another stack has several
            under other names, one of these names.
        image_size, text_length: change the model's input, in pixels and tokens; position
            embeddings are resized by the rule of `vlp.models.resize.resize_positions`.
        tokenizer: a file or folder to read the tokenizer from where the weights bring none, or
            "none" to do without. A run has its own.
        allow_pickle_weights: read torch pickles, by `torch.load(weights_only=True)`; needs PyTorch.
        arch: open_clip's name of the model, such as "ViT-B-32", or a .json file with its
            `model_cfg`, for weights of open_clip without an open_clip_config.json.

    Returns:
        The model (`encode_image`, `encode_text`), `preprocess` (paths, Pillow images or arrays to
        what `encode_image` takes) and `tokenize` (captions to int32 `[n, l]`).

    Raises:
        ValueError: nothing known is there, or what is there is damaged or does not fit together;
            nothing is half-loaded.
    """
    from vlp.interop.load import load_run  # imports JAX: only when a model is wanted

    run = load_run(
        source,
        weights=weights,
        image_size=image_size,
        text_length=text_length,
        tokenizer=tokenizer,
        allow_pickle_weights=allow_pickle_weights,
        arch=arch,
    )
    return run.model, run.preprocess, run.tokenize
