"""The name of a run where several runs meet: unique, legal, and the same after a restart."""

import hashlib
import json
import re
from pathlib import Path

from vlp.files import write_json
from vlp.remote import Name, Place, place, resolved

FILE = "run.json"


def run_identity(folder: Path, *, address: Name | None = None) -> str:
    """The identity of the run in a folder, made and kept there if it has none.

    A folder that was moved keeps it, a copy of one that is still there gets its own.

    Args:
        folder: with its files.
        address: of the run, if it is another folder.
    """
    where, file = resolved(address or folder), folder / FILE
    here, known = str(where), _read(file)
    if known and known["path"] != here and _read(place(known["path"]) / FILE) == known:
        known = {}  # this is the copy
    if not known:
        name = re.sub(r"[^A-Za-z0-9]+", "-", where.name).strip("-")[:40] or "run"
        known = {"id": f"{name}-{hashlib.sha256(here.encode()).hexdigest()[:10]}", "path": here}
        write_json(file, known)
    return known["id"]


def display_name(folder: Name) -> str:
    """What a person calls the run: its folder, and the one that is in."""
    return "/".join(resolved(folder).parts[-2:]).lstrip("/")


def _read(file: Place) -> dict[str, str]:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
