"""An exported folder, read by transformers itself. Needs PyTorch; nothing else in `vlp` does."""

import os
from collections.abc import Sequence

import numpy as np
import torch
import transformers
from jaxtyping import Float, Int
from PIL import Image
from transformers import AutoImageProcessor, AutoModel, AutoProcessor, CLIPModel, SiglipModel

# Named so that an installation that cannot load them fails here, at the import.
CLASSES = (CLIPModel, SiglipModel)


class TransformersReader:
    """An exported folder behind `AutoModel` and `AutoProcessor`, pictures resized by Pillow.

    Args:
        folder: what `vlp export --to=hf` writes.
    """

    name = "transformers"

    def __init__(self, folder: str | os.PathLike) -> None:
        local = dict(local_files_only=True, trust_remote_code=False)
        self.model, loading = AutoModel.from_pretrained(
            folder, dtype=torch.float32, use_safetensors=True, output_loading_info=True, **local
        )
        problems = {key: names for key, names in loading.items() if names}
        if problems:
            raise ValueError(
                f"transformers must find every tensor of {type(self.model).__name__} and no other, "
                f"got {problems}; please report this"
            )
        self.model.eval()
        self.processor = AutoProcessor.from_pretrained(folder, **local)
        # Pillow's resize, as in training; that of torchvision is up to 17 levels off at hard edges.
        self.image_processor = AutoImageProcessor.from_pretrained(folder, backend="pil", **local)

    @property
    def versions(self) -> dict[str, str]:
        """Of the libraries that take part."""
        return {"torch": str(torch.__version__), "transformers": transformers.__version__}

    def pixels(self, images: Sequence[Image.Image]) -> Float[np.ndarray, "n 3 h w"]:
        """Normalised pixels of pictures."""
        read = self.image_processor(images=list(images), return_tensors="np")
        return np.asarray(read["pixel_values"], np.float32)

    def ids(self, texts: Sequence[str]) -> Int[np.ndarray, "n l"]:
        """Padded token ids of captions."""
        read = self.processor.tokenizer(
            list(texts), padding="max_length", truncation=True, return_tensors="np"
        )
        return np.asarray(read["input_ids"], np.int32)

    def forward(
        self, pixels: Float[np.ndarray, "n 3 h w"], ids: Int[np.ndarray, "m l"]
    ) -> tuple[Float[np.ndarray, "n d"], Float[np.ndarray, "m d"], Float[np.ndarray, "n m"]]:
        """Image embeddings, text embeddings (both of unit norm) and logits."""
        with torch.inference_mode():
            read = self.model(
                input_ids=torch.from_numpy(np.asarray(ids, np.int64)),
                pixel_values=torch.from_numpy(np.array(pixels, np.float32)),
            )
        return read.image_embeds.numpy(), read.text_embeds.numpy(), read.logits_per_image.numpy()
