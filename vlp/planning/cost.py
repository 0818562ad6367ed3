"""What one instruction of a compiled program costs: FLOPs, and bytes of the device's memory."""

import dataclasses
import math
import re
from collections.abc import Mapping, Sequence

from vlp.planning.hlo import Array, Computation, Instruction, Program
from vlp.planning.kernels import attention_product
from vlp.planning.products import Product

# They name, wait for or rearrange what is already there; what they call counts by itself.
FREE = frozenset((
    "parameter", "constant", "bitcast", "tuple", "get-tuple-element", "while", "call",
    "conditional", "after-all", "partition-id", "replica-id", "iota", "opt-barrier", "domain",
    "add-dependency",
))  # fmt: skip
COLLECTIVES = frozenset((
    "all-gather", "all-reduce", "reduce-scatter", "all-to-all", "ragged-all-to-all",
    "collective-permute", "collective-broadcast",
))  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Cost:
    """Of one instruction, once.

    Attributes:
        products: matrix products, and convolutions as such.
        bytes: read from and written to the device's memory.
    """

    products: Sequence[Product]
    bytes: float

    @property
    def flops(self) -> float:
        """Of its products."""
        return sum((product.flops for product in self.products), 0.0)


def cost(program: Program, computation: Computation, instruction: Instruction) -> Cost:
    """What an instruction costs that runs by itself; collectives cost nothing here.

    Args:
        program: the whole.
        computation: where the instruction stands.
        instruction: of `computation`.
    """
    opcode = instruction.opcode.removesuffix("-start")
    if opcode in FREE | COLLECTIVES or instruction.opcode.endswith("-done"):
        return Cost((), 0.0)
    if opcode in ("copy", "slice") and opcode != instruction.opcode:
        return Cost((), 0.0)  # on its way while others compute: it is counted where it is used
    return Cost(
        _products(program, computation, instruction), _bytes(program, computation, instruction)
    )


def _products(
    program: Program, computation: Computation, instruction: Instruction
) -> list[Product]:
    """Those of an instruction and of all inside of it."""
    found: list[Product] = []
    for name in instruction.called.get("calls", ()):
        inner = program.computations[name]
        for each in inner:
            found += _products(program, inner, each)
    own = _product(computation, instruction)
    return [*found, own] if own else found


def _product(computation: Computation, instruction: Instruction) -> Product | None:
    of_library = instruction.opcode == "custom-call" and "__cublas" in instruction.attributes
    if instruction.opcode == "dot" or of_library:
        return _contraction(computation, instruction)
    if instruction.opcode == "convolution":
        return _convolution(computation, instruction)
    return attention_product(computation, instruction)


def _product_dtype(computation: Computation, instruction: Instruction) -> str:
    dtypes = {array.dtype for array in computation.inputs(instruction)[:2]}
    if "f32" not in dtypes:
        return "bf16"
    precise = re.search(r"operand_precision=\{[^}]*highest|\"HIGHEST\"", instruction.attributes)
    return "f32 highest" if precise else "f32"


def _contraction(computation: Computation, instruction: Instruction) -> Product:
    left = computation.inputs(instruction)[0].shape

    def size(what: str) -> int:  # `lhs_batch_dims={0}`, or `"lhs_batch_dimensions":["0"]`
        axes = instruction.attribute(rf'lhs_{what}_dim\w+"?[=:] ?([\[{{][^\]}}]*)')
        return math.prod(left[int(axis)] for axis in re.findall(r"\d+", axes))

    out, batch, k = instruction.outputs[0].size, size("batch"), size("contracting")
    m = math.prod(left) // max(batch * k, 1)
    dtype = _product_dtype(computation, instruction)
    return Product(dtype, 2.0 * out * k, batch, m, out // max(batch * m, 1), k)


def _convolution(computation: Computation, instruction: Instruction) -> Product:
    """A product of the places that are there, as padding and dilation leave them.

    A TPU's batched product is a convolution, whose batch is a window that meets itself but once.
    """
    left, right = (array.shape for array in computation.inputs(instruction)[:2])
    out = instruction.outputs[0].shape
    labels = instruction.attribute(r"dim_labels=([\w\->]+)")
    of_left, of_right, of_out = re.split(r"_|->", labels)
    window = _window(instruction.attribute(r"window=\{([^}]*)\}"))
    met = 1.0
    for axis, digit in enumerate(sorted(set(of_left) & set("0123456789"))):
        met *= _met(
            left[of_left.index(digit)],
            right[of_right.index(digit)],
            out[of_out.index(digit)],
            {key: values[axis] for key, values in window.items()},
        )
    batch, features = out[of_out.index("b")], out[of_out.index("f")]
    flops = 2.0 * met * batch * features * right[of_right.index("i")]
    rows = math.prod(out) // max(features, 1)
    dtype = _product_dtype(computation, instruction)
    taps = round(flops / max(2 * rows * features, 1))
    return Product(dtype, flops, 1, rows, features, taps)


def _window(text: str) -> dict[str, list[str]]:
    return {key: values.split("x") for key, values in re.findall(r"(\w+)=([\w\-]+)", text)}


def _met(places: int, taps: int, outs: int, window: Mapping[str, str]) -> int:
    """How many (output, tap) pairs of one axis meet an element that is there."""
    stride, low = int(window.get("stride", 1)), int(window.get("pad", "0_0").split("_")[0])
    spread, apart = int(window.get("lhs_dilate", 1)), int(window.get("rhs_dilate", 1))
    if stride == 1 and spread == 1 and apart == 1 and not low and outs == places - taps + 1:
        return outs * taps
    reach = (places - 1) * spread + 1
    met = 0
    for tap in range(taps):
        starts = range(tap * apart - low, tap * apart - low + outs * stride, stride)
        met += sum(0 <= place < reach and place % spread == 0 for place in starts)
    return met


def _bytes(program: Program, computation: Computation, instruction: Instruction) -> float:
    """Read and written, but for what is beside the units already; slices count as slices."""
    called = instruction.called.get("calls", ())
    if instruction.opcode == "fusion" and called:
        return _fusion_bytes(program.computations[called[0]], computation, instruction)
    if instruction.opcode in ("dynamic-slice", "slice", "gather"):
        return 2.0 * _slow(instruction.outputs)
    if instruction.opcode == "dynamic-update-slice":
        update = computation.instructions[instruction.operands[1]]
        return 2.0 * _slow(update.outputs)
    return float(_slow(computation.inputs(instruction)) + _slow(instruction.outputs))


def _fusion_bytes(inner: Computation, outer: Computation, instruction: Instruction) -> float:
    parameters = {int(each.literal): each.name for each in inner if each.opcode == "parameter"}
    read = 0.0
    for place, operand in enumerate(instruction.operands):
        whole = outer.instructions[operand].outputs
        read += min(_slow(whole), _read_of(inner, parameters[place], _slow(whole)))
    return read + _written(inner, instruction)


def _read_of(inner: Computation, name: str, whole: float) -> float:
    """How much of a parameter a fusion reads: of one that it only takes slices of, these."""
    users = [each for each in inner if name in each.operands]
    total = 0.0
    for user in users:
        if user.opcode in ("dynamic-slice", "slice", "gather") and user.operands[0] == name:
            total += _all(user.outputs)
        elif user.opcode == "dynamic-update-slice" and user.operands[0] == name:
            total += 0.0  # it is written in place
        elif user.opcode == "bitcast":
            total += _read_of(inner, user.name, whole)
        else:
            return whole
    return total


def _written(inner: Computation, instruction: Instruction) -> float:
    root = inner.root
    while root.opcode in ("bitcast", "convert") and root.operands:
        root = inner.instructions[root.operands[0]]
    if root.opcode == "dynamic-update-slice":
        return _all(inner.instructions[root.operands[1]].outputs)
    return _slow(instruction.outputs)


def _slow(arrays: tuple[Array, ...]) -> float:
    return float(sum(array.bytes for array in arrays if not array.fast))


def _all(arrays: tuple[Array, ...]) -> float:
    return float(sum(array.bytes for array in arrays))


def estimated_cycles(instruction: Instruction) -> int:
    """What a TPU's compiler thinks it takes; 0 where it does not say."""
    return int(instruction.attribute(r'"estimated_cycles":"(\d+)"') or 0)
