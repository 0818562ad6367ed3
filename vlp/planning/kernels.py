"""Attention that one kernel computes: what it multiplies, which its instruction does not say."""

import math
import re

from vlp.planning.hlo import Computation, Instruction
from vlp.planning.products import Product

# How many products of the size of the logits a kernel takes, with those that a backward pass
# computes again: by cuDNN's name, and by that of the kernels of
# https://github.com/jax-ml/jax/tree/main/jax/experimental/pallas/ops/tpu/splash_attention
_CUDNN = {"Softmax": 2, "SoftmaxBackward": 5}
_SPLASH = {"fwd": 2, "dkv": 4, "dq": 3}


def attention_product(computation: Computation, instruction: Instruction) -> Product | None:
    """All products of a kernel of attention as one; None for other instructions.

    A mask saves nothing here, as it saves nothing in the model's FLOPs.
    """
    if instruction.opcode != "custom-call":
        return None
    if found := re.search(r"__cudnn\$fmha(\w+)", instruction.attributes):
        times = next((n for name, n in _CUDNN.items() if found[1].endswith(name)), 0)
        logits = instruction.attribute(
            r'intermediate_tensor_shape": ?\{[^\[]*"dimensions": ?\[([^\]]*)'
        )
        batch, heads, rows, columns = (int(size) for size in re.findall(r"\d+", logits))
        queries = computation.inputs(instruction)[0]
        return _product(times, queries.dtype, batch * heads, rows, columns, queries.size)
    names = instruction.name + instruction.attribute(r'op_name="([^"]*)"')
    if found := re.search(r"splash_mha_(fwd|dkv|dq)", names):
        # Before the queries stand masks and what else the kernel is told, of other types.
        inputs = computation.inputs(instruction)
        queries, keys = [each for each in inputs if each.dtype in ("bf16", "f32")][:2]
        *outer, rows, _ = queries.shape
        return _product(
            _SPLASH[found[1]], queries.dtype, math.prod(outer), rows, keys.shape[-2], queries.size
        )
    return None


def _product(times: int, dtype: str, batch: int, rows: int, columns: int, queries: int) -> Product:
    width = queries // (batch * rows)
    flops = 2.0 * times * batch * rows * columns * width
    return Product(dtype if dtype == "f32" else "bf16", flops, batch, rows, columns, width)
