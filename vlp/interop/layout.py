"""How another stack stores our parameters: rules that pair arrays of ours with tensors of theirs.

One list of rules reads and writes, so what was imported goes out again byte for byte, and the
shapes that a file must have follow from the model instead of being written down a second time.
"""

import dataclasses
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from vlp.interop.arrays import settled, stacked

_MOST_THREADS = 4  # each holds the tensors of a rule: memory grows with them
Arrays = Mapping[str, np.ndarray]
Shapes = Mapping[str, tuple[int, ...]]


@dataclasses.dataclass(frozen=True)
class Rule:
    """Some parameters of ours, some tensors of theirs, and the way between them.

    Attributes:
        ours: names of parameters, such as "image/patches/linear/kernel".
        theirs: names of tensors.
        read: the tensors, in the order of `theirs`, to the arrays of `ours`.
        write: the arrays, in the order of `ours`, to the tensors of `theirs`.
    """

    ours: tuple[str, ...]
    theirs: tuple[str, ...]
    read: Callable[..., Sequence[np.ndarray]]
    write: Callable[..., Sequence[np.ndarray]]


def same(ours: str, theirs: str, *, axes: int = 0) -> Rule:
    """The same array; theirs may have further leading `axes` of length 1."""
    return Rule(
        (ours,),
        (theirs,),
        lambda tensor: [tensor.reshape(tensor.shape[axes:])],
        lambda array: [array.reshape((1,) * axes + array.shape)],
    )


def transposed(ours: str, theirs: str) -> Rule:
    """A matrix that is `[in, out]` here and `[out, in]` there."""
    return Rule((ours,), (theirs,), lambda tensor: [tensor.T], lambda array: [array.T])


def linear(ours: str, theirs: str, *, bias: bool = True) -> list[Rule]:
    """A linear layer: `kernel` and `bias` here, `weight` (transposed) and `bias` there."""
    rules = [transposed(f"{ours}/kernel", f"{theirs}.weight")]
    return [*rules, same(f"{ours}/bias", f"{theirs}.bias")] if bias else rules


def norm(ours: str, theirs: str) -> list[Rule]:
    """A LayerNorm: `scale` and `bias` here, `weight` and `bias` there."""
    return [
        same(f"{ours}/scale", f"{theirs}.weight"),
        same(f"{ours}/bias", f"{theirs}.bias"),
    ]


def joined_kernels(ours: str, theirs: Sequence[str]) -> Rule:
    """One matrix `[in, out]` here that is several `[out, in]` there, of equal width."""
    return Rule(
        (ours,),
        tuple(theirs),
        lambda *tensors: [np.concatenate([tensor.T for tensor in tensors], axis=1)],
        lambda array: [part.T for part in np.split(array, len(theirs), axis=1)],
    )


def joined_linear(ours: str, theirs: Sequence[str]) -> list[Rule]:
    """A linear layer here that is several of equal width there, such as query, key and value."""
    return [
        joined_kernels(f"{ours}/kernel", [f"{name}.weight" for name in theirs]),
        Rule(
            (f"{ours}/bias",),
            tuple(f"{name}.bias" for name in theirs),
            lambda *tensors: [np.concatenate(tensors)],
            lambda array: np.split(array, len(theirs)),
        ),
    ]


def split_linear(ours: Sequence[str], weight: str, bias: str) -> list[Rule]:
    """Linear layers here, with widths that are multiples of their input's, that are one there."""
    count = len(ours)
    return [
        Rule(
            tuple(f"{name}/kernel" for name in ours),
            (weight,),
            lambda tensor: np.split(tensor.T, _places(tensor, count), axis=1),
            lambda *arrays: [np.concatenate([array.T for array in arrays])],
        ),
        Rule(
            tuple(f"{name}/bias" for name in ours),
            (bias,),
            lambda tensor: np.split(tensor, _places(tensor, count)),
            lambda *arrays: [np.concatenate(arrays)],
        ),
    ]


def convolution(ours: str, theirs: str, *, patch_size: int, bias: bool) -> list[Rule]:
    """The patch embedding: rows (row, column, channel) here, a convolution's kernel there."""

    def read(tensor: np.ndarray) -> list[np.ndarray]:
        return [tensor.transpose(2, 3, 1, 0).reshape(-1, len(tensor))]

    def write(array: np.ndarray) -> list[np.ndarray]:
        kernel = array.reshape(patch_size, patch_size, -1, array.shape[-1])
        return [kernel.transpose(3, 2, 0, 1)]

    rules = [Rule((f"{ours}/kernel",), (f"{theirs}.weight",), read, write)]
    return [*rules, same(f"{ours}/bias", f"{theirs}.bias")] if bias else rules


def layers(
    rules: Iterable[Rule],
    *,
    ours: str,
    theirs: str,
    depth: int,
    every: int = 1,
    first: int = 0,
    between: str = ".",
) -> list[Rule]:
    """The rules of one layer for all: stacked `[depth, ...]` here, one by one there.

    Args:
        rules: with names relative to a layer.
        ours: what stands before the names here, such as "image/stack/blocks".
        theirs: likewise there, with "{}" for the number of the layer.
        depth: how many layers there are.
        every: only the first of so many has what the rules are about.
        first: the number there of our first layer.
        between: what stands there between a layer and the names in it.
    """
    numbers = range(first, first + depth, every)
    return [_stacked(rule, ours, theirs + between, numbers) for rule in rules]


def prefixed(rules: Iterable[Rule], *, theirs: str) -> list[Rule]:
    """The rules with a prefix before the names of tensors."""
    return [
        dataclasses.replace(rule, theirs=tuple(theirs + name for name in rule.theirs))
        for rule in rules
    ]


def read_params(rules: Sequence[Rule], tensors: Arrays, shapes: Shapes) -> dict[str, np.ndarray]:
    """Our parameters, by name, from their tensors.

    Args:
        rules: for all parameters.
        tensors: theirs; each is fetched once.
        shapes: of our parameters, by name.

    Raises:
        ValueError: a tensor is missing, of another shape, or not finite; no rule makes a parameter.
    """
    _check_complete(rules, shapes)
    check_shapes(tensors, tensor_shapes(rules, shapes))

    def read(rule: Rule) -> dict[str, np.ndarray]:
        arrays = rule.read(*(_finite(tensors, name) for name in rule.theirs))
        return dict(zip(rule.ours, map(settled, arrays), strict=True))

    # Reading and transposing leave Python's lock alone.
    with ThreadPoolExecutor(min(os.cpu_count() or 1, _MOST_THREADS)) as pool:
        return {name: array for part in pool.map(read, rules) for name, array in part.items()}


def write_tensors(rules: Sequence[Rule], params: Arrays) -> dict[str, np.ndarray]:
    """Their tensors, by name, float32 and contiguous, from our parameters.

    Raises:
        ValueError: no rule writes a parameter.
    """
    _check_complete(rules, {name: array.shape for name, array in params.items()})
    tensors: dict[str, np.ndarray] = {}
    for rule in rules:
        written = rule.write(*(np.asarray(params[name], np.float32) for name in rule.ours))
        tensors |= dict(zip(rule.theirs, written, strict=True))
    return {name: np.array(tensor, np.float32, order="C") for name, tensor in tensors.items()}


def tensor_shapes(rules: Sequence[Rule], shapes: Shapes) -> dict[str, tuple[int, ...]]:
    """The shapes of their tensors, by name, for parameters of these shapes."""
    wanted: dict[str, tuple[int, ...]] = {}
    for rule in rules:
        # One zero, seen as an array of the right shape: nothing of its size is allocated.
        zeros = (np.broadcast_to(np.float32(0), shapes[name]) for name in rule.ours)
        wanted |= dict(zip(rule.theirs, (x.shape for x in rule.write(*zeros)), strict=True))
    return wanted


def check_shapes(tensors: Arrays, wanted: Shapes) -> None:
    """Compares names and shapes, from headers where the tensors are lazy.

    Raises:
        ValueError: names the first tensor that is missing, too many or of another shape.
    """
    source = getattr(tensors, "source", "the file")
    missing = [name for name in wanted if name not in tensors]
    unknown = [name for name in tensors if name not in wanted]
    if missing:
        instead = f" (it has others, such as {unknown[0]})" if unknown else ""
        raise ValueError(
            f"{source} must hold all {len(wanted)} tensors of its architecture, {len(missing)} are "
            f"missing, such as {missing[0]}{instead}; is this the whole model, and the right "
            "configuration?"
        )
    found = {name: _shape(tensors, name) for name in wanted}
    wrong = [name for name in wanted if found[name] != wanted[name]]
    if wrong:
        name = wrong[0]
        raise ValueError(
            f"{name} must have shape {wanted[name]} by the configuration, {source} has "
            f"{found[name]}{f' (and {len(wrong) - 1} more differ)' if len(wrong) > 1 else ''}; "
            "put the configuration of these weights beside them"
        )
    if unknown:
        raise ValueError(
            f"{source} must hold nothing that its architecture does not have, found {len(unknown)} "
            f"such tensors, first {unknown[0]}; the configuration may belong to other weights"
        )


def _stacked(rule: Rule, ours: str, theirs: str, numbers: range) -> Rule:
    each = len(rule.theirs)

    def read(*tensors: np.ndarray) -> list[np.ndarray]:
        found = [rule.read(*tensors[i : i + each]) for i in range(0, len(tensors), each)]
        return [stacked(arrays) for arrays in zip(*found, strict=True)]

    def write(*arrays: np.ndarray) -> list[np.ndarray]:
        return [x for i in range(len(numbers)) for x in rule.write(*(array[i] for array in arrays))]

    names = [theirs.format(i) + name for i in numbers for name in rule.theirs]
    return Rule(tuple(f"{ours}/{name}" for name in rule.ours), tuple(names), read, write)


def _places(tensor: np.ndarray, count: int) -> list[int]:
    """Where to cut `[3 w, ...]` into the first w and the rest, or into three, by `count`."""
    width = tensor.shape[0] // 3
    return [width * i for i in range(1, count)]


def _check_complete(rules: Sequence[Rule], shapes: Shapes) -> None:
    ruled = [name for rule in rules for name in rule.ours]
    without = sorted(set(shapes).symmetric_difference(ruled))
    if without:
        raise ValueError(
            f"this format must have a place for every parameter of the model and no other, "
            f"{', '.join(without[:3])} do not fit; choose another format"
        )


def _shape(tensors: Arrays, name: str) -> tuple[int, ...]:
    shapes = getattr(tensors, "shapes", None)
    return tuple(shapes[name]) if shapes is not None else tensors[name].shape


def _finite(tensors: Arrays, name: str) -> np.ndarray:
    tensor = np.asarray(tensors[name])
    if tensor.dtype.kind in "iub":
        raise ValueError(
            f"weights must be floating-point numbers, {name} in "
            f"{getattr(tensors, 'source', 'the file')} is {tensor.dtype}, as in quantised models; "
            "take the model that is not quantised"
        )
    tensor = tensor.astype(np.float32, copy=False)
    with np.errstate(over="ignore", invalid="ignore"):
        total = np.sum(tensor)
    # The sum of finite numbers may overflow, so only a suspicion is looked at closely.
    if not np.isfinite(total) and not np.isfinite(tensor).all():
        count = int(np.size(tensor) - np.count_nonzero(np.isfinite(tensor)))
        raise ValueError(
            f"weights must be finite numbers, {name} in "
            f"{getattr(tensors, 'source', 'the file')} holds {count} NaN or infinite ones; "
            "take an earlier checkpoint"
        )
    return tensor
