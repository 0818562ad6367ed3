"""Settings that are handed on are named by the signature, and others are refused."""

import inspect

import pytest

from vlp.settings import check_choice, handing_on, settings_for


class Inner:
    def __init__(self, width: int, *, depth: int, rate: float = 0.5, quiet: bool = False):
        self.found = (width, depth, rate, quiet)


def inner(*, rate: float = 0.25, names: tuple[str, ...] = ()):
    return rate, names


class Outer(Inner):
    @handing_on(Inner, inner, leaving=("quiet",))
    def __init__(self, *, width: int = 3, **settings):
        super().__init__(width, **settings)


def test_a_signature_names_what_is_handed_on_with_its_defaults():
    found = inspect.signature(Outer.__init__).parameters
    assert list(found) == ["self", "width", "depth", "rate", "names"]
    assert found["depth"].default is inspect.Parameter.empty
    assert (found["width"].default, found["rate"].default, found["names"].default) == (3, 0.5, ())
    assert inspect.get_annotations(Outer.__init__)["rate"] is float


def test_what_is_handed_on_arrives_and_the_rest_is_refused_by_the_outer_name():
    assert Outer(depth=2, rate=1.0).found == (3, 2, 1.0, False)
    for name in ("quiet", "dept"):
        with pytest.raises(TypeError, match=rf"Outer.__init__\(\) got an unexpected .*'{name}'"):
            Outer(depth=2, **{name: True})
    with pytest.raises(TypeError, match="missing 1 required keyword-only argument: 'depth'"):
        Outer()


def test_settings_for_a_constructor_are_those_that_it_takes():
    settings = dict(width=1, depth=2, names=("a",), other=0)
    assert settings_for(Inner, settings) == dict(width=1, depth=2)
    assert settings_for(inner, settings) == dict(names=("a",))
    assert settings_for(Outer, settings) == dict(width=1, depth=2, names=("a",))


def test_a_choice_that_is_unknown_names_those_known():
    check_choice("mode", "a", ("a", "b"))
    with pytest.raises(ValueError, match="mode must be one of a, b, got 'c'"):
        check_choice("mode", "c", {"a": 1, "b": 2})
