"""The fixtures of stores and of whole runs."""

from tests.small.runs import _own_cache, pairs
from tests.small.stores import gs, s3

__all__ = ["_own_cache", "gs", "pairs", "s3"]
