"""How numbers, and words from anywhere, are written for people."""

import html
import unicodedata

Number = float | int


def percent(share: Number) -> str:
    """A share in 0..1 as percent: one decimal, two below one percent.

    Examples:
      >>> percent(0.3694), percent(0.00264), percent(0.0)
      ('36.9 %', '0.26 %', '0.0 %')
    """
    value = 100 * share
    digits = 2 if 0 < value < 0.995 else 1
    return f"{value:.{digits}f} %"


def count(number: int) -> str:
    """A whole number with thousands apart.

    Examples:
      >>> count(1234567)
      '1,234,567'
    """
    return f"{number:,}"


def short(number: Number) -> str:
    """A number for the axis of a chart: at most about four characters.

    Examples:
      >>> short(12000), short(2500000), short(0.25), short(3.0)
      ('12k', '2.5M', '0.25', '3')
    """
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(number) >= limit:
            return f"{number / limit:.4g}{unit}"
    return f"{number:.4g}"


def plain(text: str) -> str:
    """The text on one line, without control characters and halves of surrogate pairs.

    Captions come from anywhere: a terminal would obey an escape sequence, and no UTF-8 file can
    hold a lone surrogate.

    Examples:
      >>> plain("red\\x1b[2J\\n heart")
      'red [2J heart'
    """
    kept = (" " if unicodedata.category(c) in ("Cc", "Cs") else c for c in text)
    return " ".join("".join(kept).split())


def escape(text: str) -> str:
    """`plain` text that HTML shows as it is, in an element as well as in a quoted attribute."""
    return html.escape(plain(text), quote=True)
