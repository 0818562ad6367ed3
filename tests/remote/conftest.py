"""The fixtures of stores and of whole runs."""

from tests.small.runs import _own_cache, pairs
from tests.small.stores import gcs, gs, s3, store

__all__ = ["_own_cache", "gcs", "gs", "pairs", "s3", "store"]
