"""Towers as TensorFlow functions: one operation each, that holds the StableHLO of `jax.export`."""

import os
import tempfile
from collections.abc import Sequence
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # before TensorFlow begins to speak

import jax
import tensorflow as tf
from jaxlib.mlir import ir, passmanager
from jaxlib.mlir.dialects import stablehlo
from tensorflow.compiler.tf2xla.python import xla

from vlp.interop.portable import PLATFORMS, exported_tower
from vlp.models.base import Model

INPUTS = {"image": "images", "text": "ids"}
_EXPAND = "builtin.module(func.func(stablehlo-legalize-composite-to-call))"


class Towers(tf.Module):
    """Encoders with their weights as variables, and one TensorFlow function for each.

    Args:
        model: whose towers.
        towers: any of "image" and "text".
        batch: number of inputs; None for any, and texts of any length.
        platforms: where the functions are to run.
    """

    def __init__(
        self,
        model: Model,
        towers: Sequence[str],
        *,
        batch: int | None = None,
        platforms: Sequence[str] = PLATFORMS,
    ) -> None:
        super().__init__()
        self.weights: dict[str, list[tf.Variable]] = {}
        self.functions: dict[str, Any] = {}
        for tower in towers:
            exported, params = exported_tower(model, tower, batch=batch, platforms=platforms)
            # JAX flattens a dict in the order of its names.
            weights = [tf.Variable(params[name], name=name) for name in sorted(params)]
            self.weights[tower] = weights
            self.functions[tower] = _function(tower, exported, weights)


def tflite(model: Model, tower: str, *, batch: int) -> bytes:
    """A TFLite file of one tower for batches of one size."""
    module = Towers(model, (tower,), batch=batch, platforms=("cpu",))
    name = f"encode_{tower}"
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(module, folder, signatures={name: module.functions[tower]})
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=[name])
        return converter.convert()


def _function(tower: str, exported: jax.export.Exported, weights: list[tf.Variable]) -> Any:
    module = _older(exported.mlir_module_serialized)

    def encode(x: tf.Tensor) -> dict[str, tf.Tensor]:
        arguments = [*weights, x]
        embeds, tokens = xla.call_module(
            [arguments[index] for index in exported.module_kept_var_idx],
            version=exported.calling_convention_version,
            module=module,
            Sout=[_open(aval.shape) for aval in exported.out_avals],
            Tout=[aval.dtype for aval in exported.out_avals],
            platforms=[platform.upper() for platform in exported.platforms],
            use_shardy_partitioner=True,
        )
        return {f"{tower}_embeds": embeds, f"{tower}_tokens": tokens}

    aval = exported.in_avals[-1]
    spec = tf.TensorSpec(_open(aval.shape), aval.dtype, name=INPUTS[tower])
    return tf.function(encode, input_signature=[spec], autograph=False)


def _open(shape: Sequence[Any]) -> list[int | None]:
    return [size if isinstance(size, int) else None for size in shape]


def _older(module: bytes) -> bytes:
    """The same StableHLO for readers that are behind: TensorFlow's is months older than JAX's.

    Composite operations (JAX has one for erf) become calls of what they consist of: TensorFlow
    finds no shapes inside them when a batch is open.
    """
    requirement = stablehlo.StablehloCompatibilityRequirement.WEEK_12
    version = stablehlo.get_version_from_compatibility_requirement(requirement)
    stablehlo.register_stablehlo_passes()
    with ir.Context() as context:
        stablehlo.register_dialect(context)
        parsed = stablehlo.deserialize_portable_artifact(context, module)
        passmanager.PassManager.parse(_EXPAND).run(parsed.operation)
        return stablehlo.serialize_portable_artifact(parsed, version)
