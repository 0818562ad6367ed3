"""Hands a run's encoders to another stack: written aside, compared, and only then put in place."""

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from vlp.interop import parity
from vlp.interop.hf import write as hf
from vlp.interop.load import Run, load_run
from vlp.interop.hf.reference import ReferenceModel

TARGETS = ("hf",)
CHECKS = ("auto", "transformers", "numpy")


def export(
    source: str | os.PathLike | Run,
    out: str | os.PathLike,
    *,
    to: str = "hf",
    weights: str = "auto",
    check: str = "auto",
    metrics: Mapping[str, float] | None = None,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Writes the encoders of a run for another stack and returns the parity report.

    The folder `out` appears whole and verified, or not at all; `parity.json` in it is the report.

    Args:
        source: the folder of a run, of one of its checkpoints, or a loaded run.
        out: folder to make.
        to: "hf": for transformers' `CLIPModel` or `SiglipModel`.
        weights: "ema", "params" or "auto", see `vlp.interop.load.load`.
        check: which implementation to compare with: "transformers" (needs PyTorch), "numpy" (a
            second one of ours, reading nothing but the folder), or "auto": transformers where it
            can be imported.
        metrics: figures for the model card, by name.
        overwrite: replace `out` if it is an earlier export.

    Raises:
        ValueError: the target cannot express the model, the two sides differ, or `out` is taken.
    """
    if to not in TARGETS:
        raise ValueError(f"to must be one of {', '.join(TARGETS)}, got {to!r}")
    open_folder = _reader(check)
    out = Path(out).resolve()
    _check_free(out, overwrite)
    run = source if isinstance(source, Run) else load_run(source, weights=weights)
    partial = out.with_name(f".{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)  # of an export that was killed
    partial.mkdir(parents=True)
    try:
        hf.write_folder(run, partial, metrics=metrics or {})
        report = parity.check(run, open_folder(partial))
        parity.write_report(report, partial)
        _put_in_place(partial, out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return report


def _reader(check: str) -> Callable[[Path], parity.Reader]:
    if check not in CHECKS:
        raise ValueError(f"check must be one of {', '.join(CHECKS)}, got {check!r}")
    if check == "numpy":
        return ReferenceModel
    try:
        from vlp.interop.hf.reader import TransformersReader  # PyTorch: only where installed
    except (ImportError, RuntimeError) as error:  # RuntimeError: a torchvision for another torch
        if check == "transformers":
            raise ValueError(
                f"check='transformers' needs torch and transformers, got {error}; "
                'pip install "vlp[export]", or use check="numpy"'
            ) from error
        return ReferenceModel
    return TransformersReader


def _check_free(out: Path, overwrite: bool) -> None:
    """Raises ValueError where `out` holds what must not be lost."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not overwrite:
        raise ValueError(f"{out} must not exist yet; give another folder, or --overwrite")
    if not (out / parity.FILE).is_file():
        raise ValueError(
            f"only an earlier export is overwritten, and {out} holds no {parity.FILE}; "
            "give another folder"
        )


def _put_in_place(partial: Path, out: Path) -> None:
    """Renames `partial` to `out`; what was there is removed only once the new one stands."""
    earlier = out.with_name(f".{out.name}.earlier")
    shutil.rmtree(earlier, ignore_errors=True)
    if out.exists():
        os.rename(out, earlier)
    try:
        os.rename(partial, out)
    except OSError:
        if earlier.exists():
            os.rename(earlier, out)
        raise
    shutil.rmtree(earlier, ignore_errors=True)
