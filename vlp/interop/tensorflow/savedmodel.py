"""Encoders as a TensorFlow SavedModel, for TensorFlow Serving and whatever reads its files.

Signatures `encode_image` (images uint8 [batch, S, S, 3] -> image_embeds, image_tokens) and
`encode_text` (ids int32 [batch, sequence] -> text_embeds, text_tokens); `serving_default` is the
first of them that there is. Any batch, on CPU, CUDA and TPU. Images go in as bytes, already at the
model's size: the normalisation is inside. Embeddings have unit norm.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from vlp.files import write_text
from vlp.interop import readme
from vlp.interop.encoders import EncodersReader, write_encoders
from vlp.interop.hf.write import cleaning
from vlp.interop.loaded import Run
from vlp.interop.portable import check_portable, portable_model

__all__ = ["cleaning", "reader", "write"]

NEEDS = {"tensorflow": "tf"}  # a package, and the extra that has it
USAGE = """
signatures = tf.saved_model.load("saved_model").signatures
"""
USAGE_IMAGE = """
images = tf.constant(np.asarray(picture)[None])
image_embeds = signatures["encode_image"](images=images)["image_embeds"].numpy()
"""
USAGE_TEXT = """
text_embeds = signatures["encode_text"](ids=tf.constant(ids))["text_embeds"].numpy()
"""
NOTES = (
    "Images are bytes: the normalisation is part of the encoder. Embeddings have unit norm.",
    "The batch may have any size; each new size is compiled once.",
)


def write(
    run: Run, folder: Path, *, towers: str = "both", metrics: Mapping[str, float] | None = None
) -> None:
    """Writes everything but the parity report.

    Args:
        run: whose model and tokenizer to write.
        folder: an empty folder.
        towers: "both", "image" or "text".
        metrics: figures for the README, by name.

    Raises:
        ValueError: the image tower takes no plain images.
    """
    model = portable_model(run, target="TensorFlow", towers=towers)
    names = ("image", "text") if towers == "both" else (towers,)
    import tensorflow as tf

    from vlp.interop.tensorflow.graph import Towers

    module = Towers(model, names)
    signatures = {f"encode_{name}": module.functions[name] for name in names}
    signatures["serving_default"] = module.functions[names[0]]
    tf.saved_model.save(module, str(folder / "saved_model"), signatures=signatures)
    write_encoders(run, folder, towers=towers)
    usage = readme.imports("tensorflow as tf", towers=towers) + USAGE
    usage += "\n" + readme.picture(run) + USAGE_IMAGE.lstrip() if "image" in names else ""
    usage += "\n" + readme.ids(run, dtype="int32") + USAGE_TEXT.lstrip() if "text" in names else ""
    usage += readme.shown(towers)
    title = "TensorFlow encoders"
    text = readme.portable_readme(run, title=title, usage=usage, notes=NOTES, metrics=metrics or {})
    write_text(folder / "README.md", text)


def check_model(kwargs: Mapping[str, Any], *, towers: str = "both", **settings: Any) -> None:
    """Raises ValueError where TensorFlow cannot run a model of these arguments.

    Args:
        kwargs: keyword arguments of the model.
        towers, **settings: as in `write`.
    """
    check_portable(kwargs, target="TensorFlow", towers=towers)


def reader(folder: Path) -> EncodersReader:
    """The folder, opened by TensorFlow.

    Raises:
        ImportError: TensorFlow is not here.
    """
    import tensorflow as tf

    class SavedModelReader(EncodersReader):
        """The signatures of a SavedModel."""

        name = "tensorflow"

        def __init__(self, folder: Path) -> None:
            super().__init__(folder)
            self.model = tf.saved_model.load(str(self.folder / "saved_model"))

        @property
        def versions(self) -> dict[str, str]:
            """Of the libraries that take part."""
            return {"tensorflow": tf.__version__}

        def embed_images(self, images: np.ndarray) -> np.ndarray:
            """Unit-norm embeddings of bytes."""
            encode = self.model.signatures["encode_image"]
            return encode(images=tf.constant(images))["image_embeds"].numpy()

        def embed_ids(self, ids: np.ndarray) -> np.ndarray:
            """Unit-norm embeddings of token ids."""
            encode = self.model.signatures["encode_text"]
            return encode(ids=tf.constant(ids))["text_embeds"].numpy()

    return SavedModelReader(folder)
