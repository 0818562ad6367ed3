"""Hands encoders to another stack: written aside, compared there, and only then put in place."""

import importlib.util
import inspect
import logging
import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

from vlp.files import whole_folder, write_json
from vlp.interop import parity
from vlp.interop.big_vision import write as big_vision
from vlp.interop.hf import write as hf
from vlp.interop.inventory import inventory
from vlp.interop.load import load_run
from vlp.interop.loaded import Run, abstract_model
from vlp.interop.of_many import is_of_many, run_alone, tower_alone
from vlp.interop.onnx import write as onnx
from vlp.interop.open_clip import write as open_clip
from vlp.interop.samples import write_example
from vlp.interop.stablehlo import write as stablehlo
from vlp.interop.tensorflow import savedmodel, tflite
from vlp.interop.timm import write as timm
from vlp.remote import Place, resolved

TARGETS: dict[str, ModuleType] = {
    "hf": hf,
    "open_clip": open_clip,
    "timm": timm,
    "big_vision": big_vision,
    "onnx": onnx,
    "stablehlo": stablehlo,
    "savedmodel": savedmodel,
    "tflite": tflite,
}
TOWERS = ("both", "image", "text")
_log = logging.getLogger("vlp")


def export(
    source: str | os.PathLike | Run,
    out: str | os.PathLike,
    *,
    to: str = "hf",
    towers: str = "both",
    weights: str = "auto",
    check: str = "auto",
    metrics: Mapping[str, float] | None = None,
    overwrite: bool = False,
    **settings: Any,
) -> dict[str, Any]:
    """Writes encoders for another stack and returns the parity report.

    The folder `out` appears whole, or not at all; `parity.json` in it is the report. Where the
    target's stack is installed the folder is read by it and compared, and appears only if both
    sides agree; elsewhere the report says that it is not verified, and why.

    Args:
        source: anything that `vlp.load` reads, or a loaded run.
        out: folder to make, here or in an object store.
        to: the target, a key of `TARGETS`.
        towers: "image" or "text" for one of them alone.
        weights: of a run, see `vlp.load`.
        check: which implementation to compare with, where a target has several: "auto" for the
            target's own where it can be imported; for "hf" also "transformers" (needs PyTorch) and
            "numpy" (a second one of ours, reading nothing but the folder).
        metrics: figures for the README that is written, by name.
        overwrite: replace `out` if it is an earlier export.
        **settings: further ones of the target, such as `opset` of "onnx".

    Raises:
        ValueError: the target cannot express the model, has no such setting, the two sides differ,
            or `out` is taken.
    """
    check_request(out, to=to, towers=towers, check=check, overwrite=overwrite, **settings)
    target, out = TARGETS[to], resolved(out)
    accept = partial(check_model, to=to, towers=towers, **settings)
    run = source if isinstance(source, Run) else load_run(source, weights=weights, accept=accept)
    _check_queries(run.model.kwargs, to)
    towers = _asked(target, towers)
    if is_of_many(run.model):
        run = run_alone(run, towers=towers)
    towers = _present(run, towers)
    with whole_folder(out, last=parity.FILE) as aside:
        _log.info("writing for %s", to)
        target.write(run, aside, towers=towers, metrics=metrics or {}, **settings)
        if towers != "text":
            write_example(run, aside)
        part = towers != _present(run, "both") or settings.get("mode") is not None
        tensors = inventory(run, aside, to=to, part=part)
        report = _compared(target, run, aside, towers=towers, check=check)
        report["tensors"] = tensors
        write_json(aside / parity.FILE, report)
    return report


def check_request(
    out: str | os.PathLike,
    *,
    to: str = "hf",
    towers: str = "both",
    check: str = "auto",
    overwrite: bool = False,
    **settings: Any,
) -> None:
    """Raises ValueError where it is known before a model is loaded that `export` would refuse it:
    something is unknown, `out` is taken, or a package is missing.

    Args:
        out, to, towers, check, overwrite, **settings: as in `export`.
    """
    target = _target(to, towers, settings)
    _choice(dict.fromkeys(getattr(target, "CHECKS", ("auto",))), check, name="check")
    _check_installed(getattr(target, "CHECK_NEEDS", {}).get(check, {}), what=f"check={check!r}")
    _check_free(resolved(out), overwrite)


def check_model(
    kwargs: Mapping[str, Any], *, to: str = "hf", towers: str = "both", **settings: Any
) -> None:
    """Raises ValueError where it is known without its weights that `export` would refuse a model.

    Args:
        kwargs: keyword arguments of the model.
        to, towers, **settings: as in `export`.
    """
    target = _target(to, towers, settings)
    _check_queries(kwargs, to)
    # As the model itself says them: a class may settle what is not given, such as ids.
    model = abstract_model(kwargs)
    whole = model.kwargs
    if is_of_many(model):
        whole = tower_alone(whole, towers=_asked(target, towers))
    target.check_model(whole, towers=towers, **settings)


def _target(to: str, towers: str, settings: Mapping[str, Any]) -> ModuleType:
    """The module of a target, which can be written here and with these settings."""
    target = _choice(TARGETS, to, name="to")
    _choice(dict.fromkeys(TOWERS), towers, name="towers")
    _check_settings(target, settings)
    _check_installed(getattr(target, "NEEDS", {}), what=f"an export to {to}")
    return target


def _check_queries(kwargs: Mapping[str, Any], to: str) -> None:
    """Raises ValueError where a target would have to hold several embeddings an image."""
    if "num_queries" in kwargs and to != "hf":
        raise ValueError(
            f"a BLIP-2 has an embedding for each of its {kwargs['num_queries']} queries, and {to} "
            "holds one an image; export to hf"
        )


def _check_installed(packages: Mapping[str, str], *, what: str) -> None:
    """Raises ValueError for a package that is not here; names the extra that has it."""
    for package, extra in packages.items():
        if importlib.util.find_spec(package) is None:
            raise ValueError(
                f"{what} needs {package}, which is not installed; pip install 'vlp[{extra}]'"
            )


def _choice(known: Mapping[str, Any], given: str, *, name: str) -> Any:
    if given not in known:
        raise ValueError(f"{name} must be one of {', '.join(known)}, got {given!r}")
    return known[given]


def _asked(target: ModuleType, towers: str) -> str:
    """The towers that are asked for: of both the one of a target that knows no other."""
    return getattr(target, "TOWER", towers) if towers == "both" else towers


def _present(run: Run, towers: str) -> str:
    """The towers to write: those that are asked for and there."""
    there = [name for name in ("image", "text") if run.model.kwargs[name] is not None]
    if towers == "both":
        return towers if len(there) == 2 else there[0]
    if towers not in there:
        raise ValueError(f"towers must be of the model, which has {there[0]} alone, got {towers!r}")
    return towers


def _check_settings(target: ModuleType, settings: Mapping[str, Any]) -> None:
    """Raises ValueError for settings that a target does not have, or not with such a value."""
    known = inspect.signature(target.write).parameters
    own = sorted(known.keys() - {"run", "folder", "towers", "metrics"})
    unknown = sorted(settings.keys() - set(own))
    if unknown:
        raise ValueError(
            f"{', '.join(unknown)} is no setting of this target, whose own are "
            f"{', '.join(own) or 'none'}; leave it out"
        )
    getattr(target, "check_settings", lambda **given: None)(**settings)


def _compared(
    target: ModuleType, run: Run, folder: Path, *, towers: str, check: str
) -> dict[str, Any]:
    """The parity report; says so where the target's stack is not here to be asked."""
    try:
        reader = target.reader(folder) if check == "auto" else target.reader(folder, check=check)
    except ImportError as error:
        if check != "auto":
            raise ValueError(f"check={check!r} needs what is not here: {error}") from error
        return parity.unverified(run, reason=f"nothing here can read it ({error})")
    _log.info("comparing with %s", reader.name)
    preprocess = getattr(target, "preprocessing", lambda run: None)(run)
    clean = getattr(target, "cleaning", lambda run: None)(run)
    return parity.check(run, reader, towers=towers, preprocess=preprocess, clean=clean)


def _check_free(out: Place, overwrite: bool) -> None:
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
