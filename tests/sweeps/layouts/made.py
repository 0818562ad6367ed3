"""Small sets in the field's layouts, made on the spot."""

import io
import json
import tarfile
from pathlib import Path

import numpy as np

from data_pipelines.limits import LIMITS
from tests.odd_images import picture, saved
from vlp.sweeps.entry import Entry
from vlp.sweeps.places import LAYOUTS, find, open_whole


def png(seed: int, *, height: int = 6, width: int = 8) -> bytes:
    return saved_array(picture(height, width, seed=seed))


def saved_array(array: np.ndarray) -> bytes:
    from PIL import Image

    return saved(Image.fromarray(array))


def npy(values) -> bytes:
    file = io.BytesIO()
    np.save(file, np.asarray(values))
    return file.getvalue()


def write_tar(path: Path, members: dict[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def put(root: Path, files: dict[str, object]) -> Path:
    """Writes files: bytes, texts, and anything else as JSON."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            text = content if isinstance(content, str) else json.dumps(content)
            path.write_text(text, encoding="utf-8")
    return root


def opened(root: Path, *, layout: str, **values):
    """The set of an entry below a folder, which is found to have that layout."""
    entry = Entry.of("a test", {"name": "birds", **values})
    assert find(entry, str(root))[0] == layout, "another layout was found"
    return open_whole(entry, str(root), limits=LIMITS)


def opens(root: Path, **values):
    """The set of an entry below a folder, whatever its layout."""
    return open_whole(Entry.of("a test", {"name": "birds", **values}), str(root), limits=LIMITS)


__all__ = ["LAYOUTS", "npy", "opened", "opens", "png", "put", "saved_array", "write_tar"]
