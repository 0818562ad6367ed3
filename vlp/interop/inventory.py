"""The list of tensors of an export beside that of its source: a cosine misses none that has gone.

What computes nothing in a comparison, a head or a part that was passed over, is seen here alone.
"""

from pathlib import Path
from typing import Any

from vlp.interop.big_vision.write import WEIGHTS
from vlp.interop.formats import READERS
from vlp.interop.loaded import Run
from vlp.interop.weights import open_tensors


def inventory(run: Run, folder: Path, *, to: str, part: bool) -> dict[str, Any]:
    """What of the source's files the model does not hold, and how an export of their own format
    differs from them, as JSON data.

    Args:
        run: what was exported.
        folder: what was written.
        to: its format.
        part: whether a part alone was asked for, of the towers or modes that the run has.

    Raises:
        ValueError: the export lacks a tensor of its source, or has one that the source has not.
    """
    left_out: dict[str, list[str]] = {}
    for name, why in run.left_out.items():
        left_out.setdefault(why, []).append(name)
    report: dict[str, Any] = {"left_out": left_out}
    if run.format != to or part:  # another class may have other names for a part
        return report
    path = folder / WEIGHTS if to == "big_vision" else folder
    found = READERS[to](path, read=open_tensors).tensors
    written = {*found, *found.left_out}
    lacking = sorted(run.tensors - written)
    added = sorted(written - run.tensors - run.left_out.keys())
    for names, fault in ((lacking, "lacks"), (added, "has, and its source has not,")):
        if names:
            raise ValueError(
                "an export must hold the tensors of its source and no others, and this one "
                f"{fault} {len(names)}, such as {names[0]}; nothing was written. Please report this"
            )
    return report | {"source": len(run.tensors), "written": len(found)}
