"""The processor's and the tokenizer's files of an exported folder, read by Pillow and tokenizers.

What any consumer can do with them who has neither transformers nor vlp.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
from jaxtyping import Float, Int
from PIL import Image

from vlp.interop.parity import Reader
from vlp.interop.weights import read_json_object


class PlainReader(Reader):
    """A folder whose processor and tokenizer need no stack.

    Args:
        folder: what an export wrote.
    """

    plain = True

    def __init__(self, folder: str | os.PathLike) -> None:
        self.folder = Path(folder)

    def pixels(self, images: Sequence[Image.Image]) -> Float[np.ndarray, "n 3 h w"] | None:
        """Normalised pixels by preprocessor_config.json; None where there is none."""
        config = read_json_object(self.folder / "preprocessor_config.json", optional=True)
        if not config:
            return None
        mean, std = (np.asarray(config[key], np.float32) for key in ("image_mean", "image_std"))
        rows = [np.asarray(_fit(image.convert("RGB"), config)) for image in images]
        scaled = np.stack(rows).astype(np.float32) * np.float32(config["rescale_factor"])
        return ((scaled - mean) / std).transpose(0, 3, 1, 2)

    def ids(self, texts: Sequence[str]) -> Int[np.ndarray, "n l"] | None:
        """Token ids, cut and padded as tokenizer.json says; None where there is none."""
        path = self.folder / "tokenizer.json"
        if not path.is_file():
            return None
        tokenizer = tokenizers.Tokenizer.from_file(str(path))
        settings = read_json_object(self.folder / "tokenizer_config.json")
        tokenizer.encode_special_tokens = settings.get("split_special_tokens", False)
        return np.asarray([row.ids for row in tokenizer.encode_batch(list(texts))], np.int32)


def _fit(image: Image.Image, config: Mapping[str, Any]) -> Image.Image:
    """The picture, squashed or its short side brought to a size, and then its centre."""
    size, resample = config["size"], Image.Resampling(config["resample"])
    if "shortest_edge" in size:
        short = size["shortest_edge"]
        width, height = (int(short * side / min(image.size)) for side in image.size)
    else:
        width, height = size["width"], size["height"]
    image = image.resize((width, height), resample)
    if not config["do_center_crop"]:
        return image
    crop = config["crop_size"]
    left, top = (width - crop["width"]) // 2, (height - crop["height"]) // 2
    return image.crop((left, top, left + crop["width"], top + crop["height"]))
