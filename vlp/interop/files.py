"""Files of JSON, written for people to read as well."""

import json
from pathlib import Path
from typing import Any


def write_json(path: Path, value: Any) -> None:
    """Writes a value, indented and ending with a line break.

    Raises:
        ValueError: NaN or infinity, which JSON has not.
    """
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")
