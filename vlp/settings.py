"""Settings that constructors and functions hand on, and name in their signatures; and choices."""

import functools
import inspect
import itertools
from collections.abc import Callable, Collection, Mapping
from typing import Any


def handing_on(*makes: Any, leaving: Collection[str] = ()) -> Callable[[Any], Any]:
    """The decorator of an `__init__` or function whose `**settings` are for other callables.

    Its signature names the keyword arguments of these, with their defaults, as if they were written
    out, and it refuses others as Python does. Of several with one name the first is named, the
    decorated one's own before all.

    Args:
        makes: the classes or functions that get the settings.
        leaving: their keyword arguments that are no settings here.

    References:
        fastcore's `delegates`, https://fastcore.fast.ai/meta.html#delegates.
    """

    def decorate(function: Any) -> Any:
        own = inspect.signature(function)
        named = {p.name: p for p in own.parameters.values() if p.kind is not p.VAR_KEYWORD}
        for p in itertools.chain.from_iterable(_parameters(make).values() for make in makes):
            if p.kind is p.KEYWORD_ONLY and p.name not in leaving:
                named.setdefault(p.name, p)

        @functools.wraps(function)
        def checked(*arguments: Any, **settings: Any) -> Any:
            for name in settings.keys() - named.keys():
                raise TypeError(
                    f"{function.__qualname__}() got an unexpected keyword argument {name!r}"
                )
            return function(*arguments, **settings)

        signature = own.replace(parameters=list(named.values()))
        hints = {name: p.annotation for name, p in named.items() if p.annotation is not p.empty}
        vars(checked).update(__signature__=signature)
        checked.__annotations__ = hints | {"return": own.return_annotation}
        return checked

    return decorate


def settings_for(make: Any, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the settings that a constructor or function takes."""
    return {name: settings[name] for name in settings.keys() & _parameters(make).keys()}


def check_choice(name: str, value: Any, known: Collection[str]) -> None:
    """Raises ValueError, with those known, when a setting is none of them."""
    if value not in known:
        raise ValueError(f"{name} must be one of {', '.join(known)}, got {value!r}")


def _parameters(make: Any) -> Mapping[str, inspect.Parameter]:
    function = make.__init__ if isinstance(make, type) else make  # type: ignore[misc]
    return inspect.signature(function).parameters
