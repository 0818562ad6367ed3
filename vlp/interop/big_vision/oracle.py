"""An exported npz, read by open_clip's converter into its own towers. Needs PyTorch."""

import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from jaxtyping import Float, Int
from open_clip.convert import load_big_vision_weights
from open_clip.transformer import LayerNorm, TextTransformer
from timm.models.vision_transformer import VisionTransformer

from vlp.interop.big_vision.config import kwargs as read_kwargs
from vlp.interop.big_vision.layout import WEIGHTS
from vlp.interop.big_vision.read import named
from vlp.interop.parity import Reader
from vlp.interop.timm.config import ratio
from vlp.interop.torch_states import hidden_states
from vlp.interop.weights import open_tensors

_POOLS = {"map": "map", "mean": "avg"}


class BigVisionReader(Reader):
    """An npz behind `open_clip.convert.load_big_vision_weights`; nothing else is read by that.

    Args:
        folder: what `vlp export --to=big_vision` writes.

    Raises:
        ImportError: the model is none that the converter reads.
    """

    name = "open_clip.convert"
    versions = {"torch": str(torch.__version__), "open_clip.convert": open_clip.__version__}

    def __init__(self, folder: str | os.PathLike) -> None:
        path = Path(folder) / WEIGHTS
        kwargs = read_kwargs(named(open_tensors(path)))
        _check(kwargs)
        self.model = torch.nn.Module()
        self.model.visual = torch.nn.Module()
        self.model.visual.trunk = _image(kwargs["image"])
        self.model.text = _text(kwargs["text"], embed_dim=kwargs["embed_dim"])
        self.model.logit_scale = torch.nn.Parameter(torch.zeros(()))
        self.model.logit_bias = torch.nn.Parameter(torch.zeros(()))
        load_big_vision_weights(self.model, str(path))
        self.model.eval()

    def forward(
        self, pixels: Float[np.ndarray, "n 3 h w"], ids: Int[np.ndarray, "m l"]
    ) -> Mapping[str, np.ndarray]:
        """Unit-norm embeddings, logits and all hidden states."""
        images = torch.from_numpy(np.array(pixels, np.float32))
        texts = torch.from_numpy(np.asarray(ids, np.int64))
        trunk, text = self.model.visual.trunk, self.model.text
        height, width = trunk.patch_embed.img_size
        images = images[..., :height, :width]  # an npz does not tell pixels behind the last patch
        with torch.inference_mode():
            with hidden_states(trunk.blocks) as image_states:
                zimg = torch.nn.functional.normalize(trunk(images), dim=-1)
            with hidden_states(text.transformer.resblocks) as text_states:
                ztxt = torch.nn.functional.normalize(text(texts), dim=-1)
            logits = self.model.logit_scale.exp() * zimg @ ztxt.T + self.model.logit_bias
        return {
            "image_embeds": zimg.numpy(),
            "text_embeds": ztxt.numpy(),
            "logits": logits.numpy(),
            "image_hidden_states": image_states(),
            "text_hidden_states": text_states(),
        }


def _check(kwargs: Mapping[str, Any]) -> None:
    image, text = kwargs["image"], kwargs["text"]
    siglip = (
        image
        and text
        and image["pool"] in _POOLS
        and text.get("kind") != "bert"
        and kwargs["image_projection"] == "none"
        and kwargs["init_bias"] is not None
    )
    if not siglip:
        raise ImportError("open_clip.convert reads whole SigLIP models only")


def _image(image: Mapping[str, Any]) -> VisionTransformer:
    return VisionTransformer(
        img_size=image["image_size"],
        patch_size=image["patch_size"],
        embed_dim=image["width"],
        depth=image["depth"],
        num_heads=image["num_heads"],
        mlp_ratio=ratio(image["width"], image["mlp_dim"]),
        class_token=False,
        global_pool=_POOLS[image["pool"]],
        fc_norm=False,
        num_classes=0,
        act_layer="gelu_tanh",
    )


def _text(text: Mapping[str, Any], *, embed_dim: int) -> TextTransformer:
    return TextTransformer(
        context_length=text["length"],
        vocab_size=text["vocab_size"],
        width=text["width"],
        heads=text["num_heads"],
        layers=text["depth"],
        mlp_ratio=ratio(text["width"], text["mlp_dim"]),
        output_dim=embed_dim,
        no_causal_mask=True,
        pool_type="last",
        proj_bias=True,
        act_layer=partial(torch.nn.GELU, approximate="tanh"),
        norm_layer=partial(LayerNorm, eps=1e-6),
    )
