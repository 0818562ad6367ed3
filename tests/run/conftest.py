"""The fixtures of whole runs."""

from tests.small.runs import _own_cache, pairs, train

__all__ = ["_own_cache", "pairs", "train"]
