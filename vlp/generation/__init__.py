"""Writing captions, token by token: with any model that keeps the contract of `CaptionModel`."""

from vlp.generation.beam import beam
from vlp.generation.contract import CaptionModel, Captions, check_writes
from vlp.generation.greedy import greedy
from vlp.generation.nucleus import nucleus

__all__ = ["CaptionModel", "Captions", "beam", "check_writes", "greedy", "nucleus"]
