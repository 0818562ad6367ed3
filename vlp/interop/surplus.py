"""What a file holds beside the parameters of a model: known, looked at, and named.

A reader lists it. Buffers that follow from the architecture must have the value that it gives, a
tensor that is there twice must be the same both times, and what a model here has no place for is
said. All else that a file holds is refused, see `vlp.interop.layout.check_shapes`.
"""

import dataclasses
import logging
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from vlp.interop.tensors import Tensors

_log = logging.getLogger("vlp")
Check = Callable[[Mapping[str, np.ndarray], str], bool]


@dataclasses.dataclass(frozen=True)
class Surplus:
    """Tensors that may be left out.

    Attributes:
        names: a regular expression of their whole names.
        why: why they may.
        known: whether a tensor is what is expected there; None for weights, which are said.
    """

    names: str
    why: str
    known: Check | None = None


def counted(names: str) -> Surplus:
    """Buffers that count places from 0, such as `position_ids`."""

    def known(tensors: Mapping[str, np.ndarray], name: str) -> bool:
        places = tensors[name]
        return np.array_equal(places.reshape(-1), np.arange(places.size))

    return Surplus(names, "places, counted from 0", known)


def causal(names: str) -> Surplus:
    """Buffers that hide from each token those behind it."""

    def known(tensors: Mapping[str, np.ndarray], name: str) -> bool:
        mask = np.asarray(tensors[name], np.float32)
        rows, columns = np.indices(mask.shape[-2:])
        return bool(np.all(mask == np.where(columns > rows, -np.inf, 0).astype(np.float32)))

    return Surplus(names, "a causal mask", known)


POSITIONS = (counted(r"(.*\.)?position_ids"),)


def without_places(tensors: Tensors) -> Tensors:
    """The tensors without buffers that count places."""
    return settle(tensors, POSITIONS)


def without_copies(tensors: Tensors, copies: Mapping[str, str]) -> Tensors:
    """Without tensors that are others once more; one that is there alone takes the other's name.

    Args:
        copies: name -> the name of what it must be equal to.

    Raises:
        ValueError: two of them differ.
    """
    twice = {name: of for name, of in copies.items() if name in tensors and of in tensors}
    for name, of in twice.items():
        if not np.array_equal(tensors[name], tensors[of]):
            raise ValueError(
                f"{name} in {tensors.source} must be {of} again, and is not; a model here has one "
                "of them, so it would compute something else"
            )
    alone = {name: of for name, of in copies.items() if name not in twice}
    kept = tensors.without({name: f"{of} again" for name, of in twice.items()})
    return kept.renamed(lambda name: alone.get(name, name))


def differ(tensors: Tensors, one: str, other: str) -> bool:
    """Whether both are there and not equal."""
    there = one in tensors and other in tensors
    return there and not np.array_equal(tensors[one], tensors[other])


def settle(tensors: Tensors, surplus: Sequence[Surplus]) -> Tensors:
    """The tensors without what may be left out; weights among that are logged.

    Raises:
        ValueError: one of them is not what is expected under its name.
    """
    left: dict[str, str] = {}
    said: Counter[str] = Counter()
    for name in tensors:
        entry = next((entry for entry in surplus if re.fullmatch(entry.names, name)), None)
        if entry is None:
            continue
        left[name] = entry.why
        if entry.known is None:
            said[entry.why] += 1
        elif not entry.known(tensors, name):
            raise ValueError(
                f"{name} in {tensors.source} must be {entry.why}, and is not; a model here has no "
                "place for another one, so it would compute something else"
            )
    for why, count in said.items():
        first = next(name for name in left if left[name] == why)
        _log.warning("%s: left out %d tensors, %s, such as %s", tensors.source, count, why, first)
    return tensors.without(left)
