"""Refusals of settings that are out of their range, in words that are the same everywhere."""

from collections.abc import Collection


def check_whole(name: str, value: int) -> None:
    """Raises ValueError for what is no whole number of at least 1."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{name} must be a whole number of at least 1, got {value!r}")


def check_choice(name: str, value: str, known: Collection[str]) -> None:
    """Raises ValueError, with the known names, for another one."""
    if value not in known:
        raise ValueError(f"{name} must be one of {', '.join(known)}; got {value!r}")
