"""Where image-text pairs come from: `open_source` and what it returns.

A spec names one or several places, joined by commas:

  a.tar                  a WebDataset tar
  dir/*.tar              all that match, in the order of their names
  shard-{0000..0012}.tar a numbered range
  pictures/              a folder with captions.csv or captions.jsonl
  emoji:noto             an embedded data set
"""

import glob
import re
from pathlib import Path

from data_pipelines.sources.base import Sample, Source
from data_pipelines.sources.concat import ConcatSource
from data_pipelines.sources.folder import FolderSource
from data_pipelines.sources.labels import LabelCaptions, LabelSource, label_name, label_names
from data_pipelines.sources.noise import ShuffledCaptions
from data_pipelines.sources.tar import TarSource
from data_pipelines.sources.tar_index import TarIndex, scan
from data_pipelines.sources.tar_sidecar import build_index, index_path, load_index

__all__ = [
    "ConcatSource",
    "FolderSource",
    "LabelCaptions",
    "LabelSource",
    "Sample",
    "ShuffledCaptions",
    "Source",
    "TarIndex",
    "TarSource",
    "build_index",
    "index_path",
    "label_name",
    "label_names",
    "load_index",
    "open_source",
    "scan",
]

_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")


def open_source(spec: str | Path) -> Source:
    """The source that a spec names; several are joined, and ids count through all of them.

    Args:
      spec: see the module's docstring. A path that exists is taken as it stands.

    Raises:
      ValueError: nothing is there, or what is there is damaged.
    """
    text = str(spec)
    parts = [text] if Path(text).exists() else [part.strip() for part in text.split(",")]
    sources: list[Source] = []
    tars: list[Path] = []
    for part in parts:
        if not part:
            raise ValueError(f"a data spec must not have empty parts, got {text!r}")
        if not part.startswith("emoji:") and not Path(part).is_dir():
            tars += _expand(part)
            continue
        _flush(tars, sources)
        sources.append(_emoji(part) if part.startswith("emoji:") else FolderSource(part))
    _flush(tars, sources)
    return sources[0] if len(sources) == 1 else ConcatSource(sources)


def _flush(tars: list[Path], sources: list[Source]) -> None:
    if tars:
        sources.append(TarSource(tars))
        tars.clear()


def _expand(part: str) -> list[Path]:
    """The tars that one part of a spec names, in order."""
    if Path(part).exists():
        return [Path(part)]
    match = _RANGE.search(part)
    if match:
        low, high = match.groups()
        before, after = part[: match.start()], part[match.end() :]
        numbers = [f"{number:0{len(low)}}" for number in range(int(low), int(high) + 1)]
        found = [path for number in numbers for path in _expand(before + number + after)]
    else:
        found = [Path(path) for path in sorted(glob.glob(part))]
    if not found:
        folder = Path(part).parent
        near = sorted(path.name for path in folder.glob("*.tar"))[:5] if folder.is_dir() else []
        raise ValueError(
            f"no data at {part!r}; "
            + (f"{folder} holds {', '.join(near)}" if near else f"{folder} holds no .tar")
        )
    return found


def _emoji(part: str) -> Source:
    # Imported here: building the embedded set is not needed to read other data.
    from data_pipelines.emoji import materialize

    name = part.removeprefix("emoji:")
    folder = Path(materialize())
    known = sorted(path.stem for path in folder.glob("*.tar"))
    if name not in known:
        raise ValueError(f"emoji:NAME must be one of {', '.join(known)}; got {name!r}")
    return TarSource(folder / f"{name}.tar", name=part)
