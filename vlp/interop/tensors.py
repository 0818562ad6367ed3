"""Tensors by name, from whatever file: their shapes first, their values when asked for."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping

import numpy as np

DAMAGED = "copy it again from where it came"


@dataclasses.dataclass(eq=False, repr=False)
class Tensors(Mapping[str, np.ndarray]):
    """Tensors by name; shapes are known from headers, values are read when asked for.

    Attributes:
        source: what messages call the file.
        shapes: of all tensors.
        read: gives the values of one, by name.
        weights: "params", or "ema" where a checkpoint holds an average of them too and this is it.
        left_out: what else the file holds, and why it is not here; by the file's own names.
    """

    source: str
    shapes: Mapping[str, tuple[int, ...]]
    read: Callable[[str], np.ndarray]
    _: dataclasses.KW_ONLY
    weights: str = "params"
    left_out: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self.shapes:
            raise KeyError(name)
        return self.read(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self.shapes)

    def __len__(self) -> int:
        return len(self.shapes)

    def __contains__(self, name: object) -> bool:
        return name in self.shapes

    def renamed(self, rename: Callable[[str], str]) -> "Tensors":
        """The same tensors under other names.

        Raises:
            ValueError: two of them would have one name.
        """
        actual: dict[str, str] = {}
        for name in self:
            new = rename(name)
            if new in actual:
                raise ValueError(
                    f"{self.source} must hold each tensor once, {actual[new]} and {name} are both "
                    f"{new}; save the one that is meant"
                )
            actual[new] = name
        shapes = {new: self.shapes[name] for new, name in actual.items()}
        return dataclasses.replace(self, shapes=shapes, read=lambda new: self[actual[new]])

    def without(self, names: Mapping[str, str]) -> "Tensors":
        """Without some of the tensors.

        Args:
            names: those to leave out, and why.
        """
        shapes = {name: shape for name, shape in self.shapes.items() if name not in names}
        return dataclasses.replace(self, shapes=shapes, left_out={**self.left_out, **names})

    def with_copy(self, name: str, *, of: str) -> "Tensors":
        """With one of the tensors a second time, under another name."""
        shapes = {**self.shapes, name: self.shapes[of]}
        names = {name: of}
        return dataclasses.replace(self, shapes=shapes, read=lambda key: self[names.get(key, key)])
