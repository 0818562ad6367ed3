"""Lines and JSON values from the small files that people write by hand."""

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

# A line that was copied out of a program, or an open quote.
_CODE = re.compile(r"""f?(["']).*\1|[^"]*"[^"]*|.*,|lambda\b.*|[\[\]()]+""")


def read_lines(path: Path) -> list[str]:
    """The lines without blanks around them; a byte order mark is no text.

    Raises:
      ValueError: The file is not UTF-8, or a line has a program's quotes or commas around it.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeError as error:
        raise ValueError(f"{path} must be UTF-8 ({error}); save it as UTF-8") from error
    # Not splitlines, which also splits at what may stand within a name, such as U+2028.
    lines = [line.strip() for line in text.removesuffix("\n").split("\n")]
    for number, line in enumerate(lines, start=1):
        if _CODE.fullmatch(line) and not line.startswith("#"):
            raise ValueError(
                f"{path}, line {number}: the words alone are needed, got {line}; leave out the "
                "quotes, commas and brackets around them, or save the whole as a .json file"
            )
    return lines


def read_json(path: Path) -> Any:
    """The JSON value of a file.

    Raises:
      ValueError: The file is not JSON, or an object has a key twice.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"), object_pairs_hook=_each_once)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} must be JSON ({error}); mend it, or write lines") from error


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object; of equal keys the module `json` would keep the last in silence."""
    for key, count in Counter(key for key, _ in pairs).items():
        if count > 1:
            raise ValueError(f"the key {key!r} is there {count} times")
    return dict(pairs)
