"""Converts the towers of small runs by jax2onnx; runs in an environment of its own.

  python -m tests.interop_targets.by_jax2onnx FOLDER NAME...

jax2onnx wants an older orbax than training does: what is imported here reads no checkpoint.
"""

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import jax2onnx
import onnx

from tests.interop_targets.towers import run_of
from vlp.interop.portable import encode_ids, encode_pixels, portable_model


def main(folder: Path, names: list[str]) -> None:
    """Writes NAME.image.onnx and NAME.text.onnx for each name: embeddings of two rows."""
    for name in names:
        model = portable_model(run_of(name), target="ONNX", towers="both")
        side, length = model.image.image_size, model.text.length

        def image(pixels, model=model):
            return encode_pixels(model, pixels.transpose(0, 2, 3, 1))[0]

        def text(ids, model=model):
            return encode_ids(model, ids)[0]

        pixels = jax.ShapeDtypeStruct((2, 3, side, side), jnp.float32)
        ids = jax.ShapeDtypeStruct((2, length), jnp.int32)
        for tower, function, given in (("image", image, pixels), ("text", text, ids)):
            converted = jax2onnx.to_onnx(function, inputs=[given])
            onnx.save(converted, folder / f"{name}.{tower}.onnx")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
