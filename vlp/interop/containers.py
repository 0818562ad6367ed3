"""Which of the weights in a training checkpoint are meant, by the names that trainers give them."""

import logging
import re
from collections.abc import Iterator, Mapping
from typing import Any

_log = logging.getLogger("vlp")
# In the order of preference.
_USUAL = ("", "state_dict", "model_state_dict", "model", "module", "net", "network")
_AVERAGE = re.compile(r"(^|[._])(ema|averaged?|shadow)([._]|$)")
_NO_WEIGHTS = re.compile(r"(^|[._])(optim\w*|\w*scheduler|scaler|rng\w*|random\w*)([._]|$)")
_DEEPEST = 4
Found = dict[str, Any]


def choose(
    loaded: Any, kind: type, *, weights: str, source: str
) -> tuple[Found, str, dict[str, str]]:
    """The state dict that is meant, which it is, and what else the checkpoint holds.

    Where a checkpoint holds several, the choice is logged.

    Args:
        loaded: the content of the checkpoint.
        kind: the class of tensors.
        weights: "params", "ema", "auto", or what the weights are called, such as
            "state_dict_ema" or "model.teacher".
        source: what messages call the file.

    Returns:
        Tensors by name; "ema" if they are an average, else "params"; names of what is left out, and
        why.

    Raises:
        ValueError: no weights, not those that are asked for, or several that could be meant.
    """
    everything = {path: part for path, part in _parts(loaded, kind, "") if part}
    models = {path: part for path, part in everything.items() if not _NO_WEIGHTS.search(path)}
    largest = max(map(len, models.values()), default=0)
    candidates = {path: part for path, part in models.items() if 2 * len(part) > largest}
    if not candidates:
        held = list(map(str, loaded))[:5] if isinstance(loaded, Mapping) else type(loaded).__name__
        raise ValueError(f"{source} must be a state dict of tensors, found {held}; save one")
    path = _chosen(candidates, weights, source=source)
    if len(candidates) > 1:
        others = ", ".join(_said(other) for other in candidates if other != path)
        _log.warning(
            "%s: took %s, not %s; weights=NAME (--weights) takes another",
            source,
            _said(path),
            others,
        )
    left = {
        ".".join(filter(None, (other, name))): "beside the weights"
        for other, part in everything.items()
        if other != path
        for name in part
    }
    return candidates[path], "ema" if _AVERAGE.search(path) else "params", left


def _parts(value: Any, kind: type, path: str, depth: int = 0) -> Iterator[tuple[str, Found]]:
    """Every mapping with the tensors that lie directly in it."""
    if not isinstance(value, Mapping) or depth > _DEEPEST:
        return
    yield path, {str(name): x for name, x in value.items() if isinstance(x, kind)}
    for name, inner in value.items():
        yield from _parts(inner, kind, ".".join(filter(None, (path, str(name)))), depth + 1)


def _chosen(candidates: Mapping[str, Found], weights: str, *, source: str) -> str:
    averages = [path for path in candidates if _AVERAGE.search(path)]
    plain = [path for path in candidates if path not in averages]
    pools = {"auto": averages or plain, "ema": averages, "params": plain}
    pool = pools.get(weights, [path for path in candidates if path == weights])
    usual = [path for path in _USUAL if path in pool]
    if len(pool) != 1 and not usual:
        raise ValueError(
            f"weights must be one of those in {source}, {', '.join(map(_said, candidates))}, got "
            f"{weights!r}; give its name by weights=NAME (--weights=NAME)"
        )
    return pool[0] if len(pool) == 1 else usual[0]


def _said(path: str) -> str:
    return path or "the weights at its top"
