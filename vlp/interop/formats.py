"""What a path or a "format:path" holds, and which module reads it."""

import os
from collections.abc import Callable
from pathlib import Path

from vlp.interop.albef import read as albef
from vlp.interop.big_vision import read as big_vision
from vlp.interop.blip import read as blip
from vlp.interop.foreign import Foreign
from vlp.interop.hf import read as hf
from vlp.interop.open_clip import read as open_clip
from vlp.interop.runs import is_run
from vlp.interop.timm import read as timm
from vlp.interop.weights import read_json_object

READERS: dict[str, Callable[..., Foreign]] = {
    "hf": hf.open_path,
    "open_clip": open_clip.open_path,
    "timm": timm.open_path,
    "big_vision": big_vision.open_path,
    "albef": albef.open_path,
    "blip": blip.open_path,
}
RUN = "run"


def detect(source: str | os.PathLike) -> tuple[str, Path]:
    """The format of a model and its path.

    Args:
        source: a path, or one with the format in front, such as "open_clip:models/b32".

    Returns:
        "run" or a key of `READERS`, and the path.

    Raises:
        ValueError: nothing is there, or nothing that is known.
    """
    prefix, colon, rest = str(source).partition(":")
    if colon and prefix in (RUN, *READERS):
        return prefix, Path(rest).expanduser().resolve()
    path = Path(source).expanduser().resolve()
    found = _format_of(path)
    if found is None:
        where = f"{path} {'is none of these' if path.exists() else 'is not there'}"
        raise ValueError(
            f"a model must be a run of vlp (its --workdir, with card.json and checkpoints/), a "
            "folder of transformers or timm (config.json), of open_clip (open_clip_config.json) or "
            f"an npz of big_vision; {where}; put the format in front where it cannot be seen: "
            f"{', '.join(READERS)}"
        )
    return found, path


def _format_of(path: Path) -> str | None:
    if is_run(path):
        return RUN
    if path.suffix == ".npz":
        return "big_vision"
    if path.is_file() and (path.parent / "open_clip_config.json").is_file():
        return "open_clip"
    if (path / "open_clip_config.json").is_file():
        return "open_clip"
    if (path / "config.json").is_file():
        return "timm" if "architecture" in read_json_object(path / "config.json") else "hf"
    return None
