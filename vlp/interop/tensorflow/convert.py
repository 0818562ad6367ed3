"""From a tower to the bytes of a TFLite file."""

import tempfile

import tensorflow as tf

from vlp.interop.tensorflow.graph import Towers
from vlp.models.base import Model


def tflite(model: Model, tower: str, *, batch: int) -> bytes:
    """A TFLite file of one tower for batches of one size."""
    module = Towers(model, (tower,), batch=batch, platforms=("cpu",))
    name = f"encode_{tower}"
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(module, folder, signatures={name: module.functions[tower]})
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=[name])
        return converter.convert()
