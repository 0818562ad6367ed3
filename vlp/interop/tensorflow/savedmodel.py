"""Encoders as a TensorFlow SavedModel, for TensorFlow Serving and whatever reads its files.

Signatures `encode_image` (images uint8 [batch, S, S, 3] -> image_embeds, image_tokens) and
`encode_text` (ids int32 [batch, sequence] -> text_embeds, text_tokens); `serving_default` is the
first of them that there is. Any batch, on CPU, CUDA and TPU. Images go in as bytes, already at the
model's size: the normalisation is inside. Embeddings have unit norm.
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from vlp.interop import readme
from vlp.interop.encoders import EncodersReader, write_encoders
from vlp.interop.hf.write import cleaning
from vlp.interop.loaded import Run
from vlp.interop.portable import NAMES, check_portable, portable_model

__all__ = ["check_model", "cleaning", "reader", "write"]

NEEDS = {"tensorflow": "tf"}  # a package, and the extra that has it
_USAGE = """
signatures = tf.saved_model.load("saved_model").signatures
"""
_IMAGE = """\
images = tf.constant(np.asarray(picture)[None])
image_embeds = signatures["encode_image"](images=images)["image_embeds"].numpy()
"""
_TEXT = """\
text_embeds = signatures["encode_text"](ids=tf.constant(ids))["text_embeds"].numpy()
"""
_NOTES = ("The batch may have any size; each new size is compiled once.",)
check_model = partial(check_portable, target="TensorFlow")


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
    import tensorflow as tf

    from vlp.interop.tensorflow.graph import Towers

    module = Towers(model, NAMES[towers])
    signatures = {f"encode_{name}": module.functions[name] for name in NAMES[towers]}
    signatures["serving_default"] = module.functions[NAMES[towers][0]]
    tf.saved_model.save(module, str(folder / "saved_model"), signatures=signatures)
    code = dict(load=_USAGE, image=_IMAGE, text=_TEXT)
    usage = readme.usage(run, "tensorflow as tf", towers=towers, dtype="int32", **code)
    texts: dict[str, Any] = dict(title="TensorFlow encoders", usage=usage, notes=_NOTES)
    write_encoders(run, folder, towers=towers, metrics=metrics, **texts)


def reader(folder: Path) -> EncodersReader:
    """The folder, opened by TensorFlow.

    Raises:
        ImportError: TensorFlow is not here.
    """
    import tensorflow as tf

    from vlp.interop.tensorflow.graph import INPUTS

    class SavedModelReader(EncodersReader):
        """The signatures of a SavedModel."""

        name = "tensorflow"
        versions = {"tensorflow": tf.__version__}

        def __init__(self, folder: Path) -> None:
            super().__init__(folder)
            self.model = tf.saved_model.load(str(self.folder / "saved_model"))

        def embed(self, tower: str, batch: np.ndarray) -> np.ndarray:
            """Unit-norm embeddings of bytes or ids."""
            encode = self.model.signatures[f"encode_{tower}"]
            return encode(**{INPUTS[tower]: tf.constant(batch)})[f"{tower}_embeds"].numpy()

    return SavedModelReader(folder)
