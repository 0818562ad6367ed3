"""What a config may say, before anything is made of it: files of others may hold anything."""

import contextlib
import math
from collections.abc import Iterator, Mapping
from typing import Any

_LARGEST = {"depth": 1000, "vocab_size": 10**7}
_LARGEST_OTHER = 10**6
_WHOLE = frozenset((
    "image_size", "patch_size", "num_patches", "width", "depth", "num_heads", "mlp_dim",
    "vocab_size", "length", "num_types", "output_dim", "num_queries", "embed_dim",
    "fused_from", "cross_every", "frames", "n_mels", "stride",
))  # fmt: skip
_OF_SIDES = ("patch_size", "stride")  # of a spectrogram's patches one for each side
_SWITCHES = frozenset((
    "class_token", "pre_norm", "norm_after_pool", "pooler", "patch_bias", "causal", "mask_padding",
    "mlp_between", "tied_head", "writes",
))  # fmt: skip
_IDS = frozenset(("eos_id", "pad_id", "begin_id", "end_id", "encode_id", "decode_id"))
_OPTIONAL = frozenset(("stride", "mlp_dim", "layer_scale", "init_bias", "class_token", "num_types"))
_POSITIVE = frozenset(("norm_eps", "image_norm_eps", "init_scale", "mlp_ratio"))
_REAL = frozenset(("layer_scale", "init_bias", *_POSITIVE))


def check_values(kwargs: Mapping[str, Any]) -> None:
    """Checks numbers and switches among the keyword arguments of a model.

    Raises:
        ValueError: one is of another type, or beyond what a model can have.
    """
    resnet = kwargs.get("kind") == "resnet"
    for name, value in kwargs.items():
        if value is None and (name in _OPTIONAL or (resnet and name == "num_heads")):
            continue
        if name in _WHOLE:
            for each in value if name in _OF_SIDES and isinstance(value, list | tuple) else [value]:
                _check_whole(name, each, _LARGEST.get(name, _LARGEST_OTHER))
        elif name in _IDS:
            if not isinstance(value, int) or isinstance(value, bool):
                raise ValueError(f"{name} must be the id of a token, got {value!r}")
        elif name in _REAL:
            if not isinstance(value, int | float) or not math.isfinite(value):
                raise ValueError(f"{name} must be a finite number, got {value!r}")
            if name in _POSITIVE and value < 0:
                raise ValueError(f"{name} must not be negative, got {value!r}")
        elif name in _SWITCHES:
            if not isinstance(value, bool):
                raise ValueError(f"{name} must be true or false, got {value!r}")
        elif name == "layers":
            for blocks in value:
                _check_whole("layers", blocks, _LARGEST["depth"])
        elif isinstance(value, Mapping):
            check_values(value)


def check_preprocess(ours: Any, wanted: Mapping[str, tuple[Any, ...]], *, stack: str) -> None:
    """Raises ValueError where a stack has no such preprocessing.

    Args:
        ours: what is exported.
        wanted: the values that the stack has, by setting.
        stack: what messages call it.
    """
    for key, values in wanted.items():
        if getattr(ours, key) not in values:
            raise ValueError(
                f"an exported preprocess.{key} must be {' or '.join(map(repr, values))} for "
                f"{stack}, got {getattr(ours, key)!r}; set it so in the card, or train with "
                'resize="squash"'
            )


@contextlib.contextmanager
def understood(source: Any, *, stack: str) -> Iterator[None]:
    """Within it, what a config lacks or has of another type is an error of the file.

    Args:
        source: what messages call the file.
        stack: likewise whoever writes such files.

    Raises:
        ValueError: names the file and what was wrong.
    """
    try:
        yield
    except (KeyError, TypeError, AttributeError, ArithmeticError) as error:
        raise ValueError(
            f"{source} must be as {stack} writes it, but {type(error).__name__}: "
            f"{error}; restore it from where the weights came"
        ) from error


def _check_whole(name: str, value: Any, largest: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= largest:
        raise ValueError(f"{name} must be a whole number from 1 to {largest}, got {value!r}")
