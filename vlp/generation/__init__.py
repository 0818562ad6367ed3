"""Writing captions, token by token: with any model that does it."""

from vlp.generation.beam import beam, check_beams
from vlp.generation.contract import Captions, check_writes, form_of
from vlp.generation.greedy import greedy
from vlp.generation.methods import METHODS, Method
from vlp.generation.nucleus import nucleus
from vlp.generation.prompt import prompt_tokens

__all__ = [
    "METHODS",
    "Captions",
    "Method",
    "beam",
    "check_beams",
    "check_writes",
    "form_of",
    "greedy",
    "nucleus",
    "prompt_tokens",
]
