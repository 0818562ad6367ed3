"""What was used last, up to a size in all: a cache that several threads share."""

import functools
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, Generic, TypeVar

T = TypeVar("T")
_LOCKS = 16


class Recent(Generic[T]):
    """Values by key; those that were used longest ago make room.

    A value that several threads ask for at once is made once. A copy in another process is empty.

    Args:
      limit: the size of all values together; the one that was asked for last always stays.
      size: of a value; 1 unless given.
    """

    def __init__(self, limit: int, *, size: Callable[[T], int] | None = None) -> None:
        self.limit, self._size = limit, size
        self.total = 0
        self._values: OrderedDict[Hashable, T] = OrderedDict()
        self._lock = threading.Lock()
        self._making = [threading.Lock() for _ in range(_LOCKS)]

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """The value of a key, made where it is not here."""
        with self._making[hash(key) % _LOCKS]:
            with self._lock:
                if key in self._values:
                    self._values.move_to_end(key)
                    return self._values[key]
            value = make()
            with self._lock:
                self._values[key] = value
                self.total += self._measure(value)
                while self.total > self.limit and len(self._values) > 1:
                    self.total -= self._measure(self._values.popitem(last=False)[1])
            return value

    def _measure(self, value: T) -> int:
        return 1 if self._size is None else self._size(value)

    def __reduce__(self) -> tuple[Any, ...]:
        return functools.partial(type(self), self.limit, size=self._size), ()
