"""What a path, a "format:path" or a "format:name" holds, and which module reads it."""

import logging
import os
from collections.abc import Callable
from pathlib import Path

from vlp.interop import hub
from vlp.interop.albef import read as albef
from vlp.interop.big_vision import read as big_vision
from vlp.interop.blip import read as blip
from vlp.interop.foreign import Foreign
from vlp.interop.hf import read as hf
from vlp.interop.open_clip import read as open_clip
from vlp.interop.runs import RUN, is_run
from vlp.interop.timm import read as timm
from vlp.interop.weights import SUFFIXES, read_json_object
from vlp.remote import Place, fetched, is_remote, reached

READERS: dict[str, Callable[..., Foreign]] = {
    "hf": hf.open_path,
    "open_clip": open_clip.open_path,
    "timm": timm.open_path,
    "big_vision": big_vision.open_path,
    "albef": albef.open_path,
    "blip": blip.open_path,
}
# The formats of models on the Hub, and their files of weights in the order of preference.
_ON_THE_HUB = {"hf": hf.WEIGHTS, "open_clip": open_clip.WEIGHTS, "timm": timm.WEIGHTS}
_log = logging.getLogger("vlp")


def detect(source: str | os.PathLike, *, allow_pickle_weights: bool = False) -> tuple[str, Place]:
    """The format of a model and its path; what is named on the Hub is fetched first, and so is what
    lies in an object store, but for runs of vlp: of those the weights alone are read there.

    Args:
        source: a path, or one with the format in front, such as "open_clip:models/b32"; behind
            "hf:", "open_clip:" and "timm:" also the name of a model on the Hub. A path may be
            gs:// or s3://.
        allow_pickle_weights: fetch pickles too, where there is nothing else.

    Returns:
        "run" or a key of `READERS`, and the path.

    Raises:
        ValueError: nothing is there, or nothing that is known.
    """
    prefix, colon, rest = os.fspath(source).partition(":")
    if not colon or prefix not in (RUN, *READERS):
        return _seen(_absolute(source))
    path = _absolute(rest)
    if prefix not in _ON_THE_HUB:
        return prefix, path
    if path.exists():
        if hub.is_name(rest):
            _log.info("%s is a path here, so the Hub is not asked for it", rest)
        return _of_transformers(prefix, path), path
    folder = hub.fetch_configs(rest)
    kind = _of_transformers(prefix, folder)
    names = _ON_THE_HUB[kind]
    return kind, hub.fetch_weights(rest, folder, names, pickles=allow_pickle_weights)


def _absolute(path: str | os.PathLike) -> Place:
    """Not resolved: in the Hub's cache files are links to others without a suffix."""
    if is_remote(path):
        found = reached(path)
        return found if is_run(found) or not found.exists() else fetched(found)
    return Path(os.path.abspath(Path(path).expanduser()))


def _seen(path: Place) -> tuple[str, Place]:
    found = _format_of(path)
    if found is None:
        where = f"{path} {'is none of these' if path.exists() else 'is not there'}"
        raise ValueError(
            f"a model must be a run of vlp (its --workdir, with card.json and checkpoints/), a "
            "folder of transformers or timm (config.json), of open_clip (open_clip_config.json), a "
            f"file of weights, or an npz of big_vision; {where}; put the format in front where it "
            f"cannot be seen: {', '.join(READERS)}; hf:owner/name is one on the Hub"
        )
    return found, path


def _format_of(path: Place) -> str | None:
    if is_run(path):
        return RUN
    if path.suffix == ".npz":
        return "big_vision"
    folder = path.parent if path.is_file() else path
    if (folder / "open_clip_config.json").is_file():
        return "open_clip"
    if (folder / "config.json").is_file():
        return _of_transformers("hf", folder)
    return "open_clip" if path.is_file() and path.name.endswith(SUFFIXES) else None


def _of_transformers(prefix: str, path: Place) -> str:
    """What a folder of transformers is: "hf:" stands in front of timm's and open_clip's as well."""
    folder = path.parent if path.is_file() else path
    if prefix != "hf":
        return prefix
    if not (folder / "config.json").is_file():
        return "open_clip" if (folder / "open_clip_config.json").is_file() else prefix
    config = read_json_object(folder / "config.json")
    return "timm" if "architecture" in config and "model_type" not in config else prefix
