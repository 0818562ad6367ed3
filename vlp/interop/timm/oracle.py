"""An exported folder, read by timm itself. Needs PyTorch."""

import os
from collections.abc import Mapping, Sequence

import numpy as np
import timm
import torch
from jaxtyping import Float
from PIL import Image

from vlp.interop.parity import Reader
from vlp.interop.torch_states import hidden_states


class TimmReader(Reader):
    """An exported folder behind `timm.create_model`.

    Args:
        folder: what `vlp export --to=timm` writes.
    """

    name = "timm"
    versions = {"torch": str(torch.__version__), "timm": timm.__version__}

    def __init__(self, folder: str | os.PathLike) -> None:
        self.model = timm.create_model(f"local-dir:{os.fspath(folder)}", pretrained=True).eval()
        config = timm.data.resolve_model_data_config(self.model)
        self.transform = timm.data.create_transform(**config, is_training=False)

    def pixels(self, images: Sequence[Image.Image]) -> Float[np.ndarray, "n 3 h w"]:
        """Normalised pixels of pictures."""
        return np.stack([self.transform(image).numpy() for image in images])

    def forward(self, pixels: Float[np.ndarray, "n 3 h w"], ids: None) -> Mapping[str, np.ndarray]:
        """Unit-norm embeddings, and every hidden state of the image tower."""
        given = torch.from_numpy(np.array(pixels, np.float32))
        with torch.inference_mode(), hidden_states(self.model.blocks) as states:
            embeds = torch.nn.functional.normalize(self.model(given), dim=-1)
        return {"image_embeds": embeds.numpy(), "image_hidden_states": states()}
