"""Texts of flags become values of the type that the setting has, or are refused in one line."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from vlp.run.values import NAMES, kinds_of, parse_value

NONE = type(None)


@pytest.mark.parametrize(
    ("text", "annotation", "value"),
    [
        ("true", bool, True),
        ("False", bool, False),
        ("12", int, 12),
        ("65_536", int, 65536),
        ("1e6", int, 1_000_000),
        ("-1", int, -1),
        ("3", float, 3.0),
        ("none", int | None, None),
        ("None", float | None, None),
        ("none", str, "none"),
        ("none", str | None, None),
        ("7", str, "7"),
        ("", str, ""),
        ("(0.5, 1)", tuple[float, float], (0.5, 1)),
        ("[3, 4]", Sequence[int], (3, 4)),
        ("0.5, 1.0", tuple[float, float] | None, (0.5, 1.0)),
        ("('image/.*',)", Sequence[str], ("image/.*",)),
        ("()", Sequence[str], ()),
        ("{'width': 3}", Mapping[str, int], {"width": 3}),
        ("500 steps", int | str, "500 steps"),
        ("500", int | str, 500),
        ("true", Any, True),
        ("x", Any, "x"),
    ],
)
def test_a_text_is_read_by_the_type(text, annotation, value):
    read = parse_value(text, kinds_of(annotation))
    assert read == value and type(read) is type(value)


@pytest.mark.parametrize(
    ("text", "annotation", "said"),
    [
        ("yes", bool, "true or false"),
        ("1", bool, "true or false"),
        ("1.5", int, "a whole number"),
        ("many", float, "a number"),
        ("nan", float, "a number"),
        ("inf", float, "a number"),
        ("-inf", int, "a whole number"),
        ("nan", int, "a whole number"),
        ("none", int, "a whole number"),
        ("image/.*", Sequence[str], "a list such as"),
        ("(1, 1e999)", tuple[float, float], "a list such as"),
        ("(1, b'x')", Sequence[int], "a list such as"),
        ("{1: 2}", dict[str, int], "a dict such as"),
        ("__import__('os').getcwd()", Sequence[int], "a list such as"),
        ("(" * 10_000, Sequence[int], "a list such as"),
    ],
)
def test_what_is_of_no_such_type_is_refused(text, annotation, said):
    with pytest.raises(ValueError, match=said):
        parse_value(text, kinds_of(annotation))


def test_what_is_written_is_read_again():
    values = (True, False, 0, -7, 1.25, 1e-9, (), (1, 2.5, "a"), {"a": [1, None]}, "x/.*", None)
    for value in values:
        assert parse_value(str(value), tuple(NAMES)) == value
