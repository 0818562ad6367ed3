"""Names of parameters, and dividing a tree of them into what trains and what is frozen."""

import difflib
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
from flax import traverse_util

Path = tuple[Any, ...]
# Arrays called so are matrices; all others are biases, norms, positions, class tokens or the
# temperature. The rank does not tell: stacked layers put a layer axis before every array.
MATRICES = ("kernel", "tokens")


def path_name(path: Path) -> str:
    """The name of a parameter, as patterns and messages say it: `image/blocks/mlp/up/kernel`."""
    return "/".join(str(part) for part in path)


def by_path(tree: Any, function: Callable[[Path, Any], Any]) -> Any:
    """A nested dict of what a function of path and array gives for every array."""
    flat = traverse_util.flatten_dict(tree)
    return traverse_util.unflatten_dict({path: function(path, leaf) for path, leaf in flat.items()})


def leaf_names(tree: Any) -> list[str]:
    """The name of every array of any pytree, in the order of its leaves."""
    return [path_name(path) for path, _ in leaf_paths(tree)]


def select(params: Any, patterns: Sequence[str]) -> frozenset[Path]:
    """The paths of the parameters whose whole name matches one of the regular expressions.

    Args:
        params: nested dict of arrays.
        patterns: regular expressions, such as `image/.*`.

    Raises:
        ValueError: when a pattern is no regular expression or matches nothing.
    """
    named = {path: path_name(path) for path in traverse_util.flatten_dict(params)}
    chosen: set[Path] = set()
    for pattern in patterns:
        try:
            compiled = re.compile(pattern)
        except re.error as error:
            raise ValueError(
                f"patterns of parameters must be regular expressions, got {pattern!r}: {error}; "
                "such as image/.*"
            ) from None
        matched = {path for path, name in named.items() if compiled.fullmatch(name)}
        if not matched:
            raise ValueError(_no_match(pattern, named.values()))
        chosen |= matched
    return frozenset(chosen)


def _no_match(pattern: str, names: Iterable[str]) -> str:
    tops = sorted({name.split("/", 1)[0] for name in names})
    nearest = difflib.get_close_matches(pattern.split("/", 1)[0], tops, n=1)
    hint = f'; did you mean "{nearest[0]}/.*"?' if nearest else f'; try "{tops[0]}/.*"'
    return (
        f"a pattern of parameters must match at least one whole name, got {pattern!r}; "
        f"the names begin with {', '.join(tops)}{hint}"
    )


def partition(params: Any, chosen: frozenset[Path]) -> tuple[Any, Any]:
    """Two nested dicts: the parameters that are not in `chosen`, and those that are."""
    if not chosen:
        return params, {}
    flat = traverse_util.flatten_dict(params)
    rest = {path: leaf for path, leaf in flat.items() if path not in chosen}
    picked = {path: leaf for path, leaf in flat.items() if path in chosen}
    return traverse_util.unflatten_dict(rest), traverse_util.unflatten_dict(picked)


def join(left: Any, right: Any) -> Any:
    """One nested dict of the arrays of both; the opposite of `partition`."""
    if not right:
        return left
    both = traverse_util.flatten_dict(left) | traverse_util.flatten_dict(right)
    return traverse_util.unflatten_dict(both)


def leaf_paths(tree: Any) -> list[tuple[tuple[str, ...], Any]]:
    """Every array of any pytree with the parts of its name."""

    def parts(path: Any) -> tuple[str, ...]:
        return tuple(jax.tree_util.keystr((key,), simple=True) for key in path)

    return [(parts(path), leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(tree)]
