"""Fingerprints: a changed file of equal size is seen, a copy is not; earlier ones are known."""

import errno
import os
import shutil

import numpy as np
import pytest
from data_makers import encoded, write_tar
from PIL import Image

from data_pipelines.io import retries
from data_pipelines.opening import open_source
from data_pipelines.sources import ConcatSource, LabelSource, files
from data_pipelines.sources.fingerprints import same_data
from data_pipelines.sources.part import PartSource


def drawing(top: int, size: int = 64) -> bytes:
    """A bitmap whose size and first and last bytes are equal for all places of its square."""
    canvas = np.full((size, size, 3), 255, np.uint8)
    canvas[top : top + size // 3, size // 4 : -size // 4] = 9
    return encoded(Image.fromarray(canvas), "BMP")


def made(kind, folder, picture, text=b"a dog"):
    """A spec of one sample in each kind of place."""
    folder.mkdir(parents=True, exist_ok=True)
    if kind == "tar":
        return write_tar(folder / "a.tar", [("0.bmp", picture), ("0.txt", text)])
    (folder / "0.bmp").write_bytes(picture)
    if kind == "pictures":
        (folder / "0.txt").write_bytes(text)
    else:
        (folder / "captions.csv").write_bytes(b"image,caption\n0.bmp," + text)
    return folder


@pytest.mark.parametrize("size", [64, 500])
@pytest.mark.parametrize("kind", ["tar", "pictures", "table"])
def test_a_picture_that_changes_and_keeps_its_size_and_end_is_seen(tmp_path, kind, size):
    first = open_source(made(kind, tmp_path / "d", drawing(10, size))).fingerprint
    shutil.copytree(tmp_path / "d", tmp_path / "copy")
    assert open_source(made(kind, tmp_path / "copy", drawing(10, size))).fingerprint == first
    assert open_source(made(kind, tmp_path / "d", drawing(size // 3, size))).fingerprint != first


@pytest.mark.parametrize("kind", ["tar", "pictures", "table"])
def test_one_letter_anywhere_in_a_long_caption_is_seen(tmp_path, kind):
    texts = [b"a dog" + b" and so on" * 10_000, b"a cat" + b" and so on" * 10_000]
    found = [open_source(made(kind, tmp_path, drawing(0), text)).fingerprint for text in texts]
    assert found[0] != found[1]


@pytest.mark.parametrize("kind", ["pictures", "table"])
def test_a_file_that_cannot_be_read_now_is_not_taken_for_a_missing_one(tmp_path, monkeypatch, kind):
    place, real = made(kind, tmp_path, drawing(0)), os.open
    whole = open_source(place).fingerprint

    def after(count):
        """The fingerprint, where so many tries to open the picture fail."""
        failing = iter(range(count))

        def opened(path, *how, **more):
            if str(path).endswith(".bmp") and next(failing, None) is not None:
                raise OSError(errno.EIO, "Input/output error")
            return real(path, *how, **more)

        monkeypatch.setattr(files.os, "open", opened)
        return open_source(place).fingerprint

    monkeypatch.setattr(retries, "FIRST_WAIT_S", 0.0)
    assert after(retries.TRIES - 1) == whole
    with pytest.raises(ValueError, match="0.bmp must be read .*: Input/output error; try again"):
        after(retries.TRIES)
    source = open_source(place)
    (tmp_path / "0.bmp").unlink()
    assert source.fingerprint != whole  # what is not there is other data


def test_a_file_that_may_not_be_read_stops_nothing_and_is_other_data(tmp_path, monkeypatch):
    place, real = made("pictures", tmp_path, drawing(0)), os.open
    whole = open_source(place).fingerprint

    def forbidden(path, *how, **more):
        if str(path).endswith(".bmp"):
            raise PermissionError(errno.EACCES, "Permission denied")
        return real(path, *how, **more)

    monkeypatch.setattr(files.os, "open", forbidden)
    assert open_source(place).fingerprint != whole


def earlier(folder):
    """Sources of each kind over bytes that never change."""
    picture, text = bytes(range(256)) * 200, b"word " * 50
    tar, pictures, table = (
        open_source(made(kind, folder / kind, picture, text))
        for kind in ("tar", "pictures", "table")
    )
    labels = LabelSource(tar, field="", templates=("a {}",))
    both = ConcatSource([tar, pictures])
    return [tar, pictures, table, labels, both, PartSource(both, 0, 1)]


# What earlier versions stored, which saw names, sizes and last bytes alone.
STORED = [
    "7003b0d349d84e7b276bde3e5a1966ca69234792f3cf3b79fd30620d701faa60",
    "83ea3e79ce0d3ea93c5938c90ba770ce78f322bf7b070d5115b355edbfff04ea",
    "f09f80e5ea7bb3d7ab2c5039e824cc48932f5e429df04ff9ce6f29c987b61465",
    "7003b0d349d84e7b276bde3e5a1966ca69234792f3cf3b79fd30620d701faa60[labels: '', templates "
    "9a4487ccbedf68e5]",
    "700d9502b2c7aeeb987c2f246b1fc2b2d11ee639bfeacd256810b28b41c8fa0f",
    "700d9502b2c7aeeb987c2f246b1fc2b2d11ee639bfeacd256810b28b41c8fa0f[0:1]",
]


def test_what_an_earlier_version_stored_is_known_as_the_same_data(tmp_path):
    for stored, source in zip(STORED, earlier(tmp_path), strict=True):
        assert source.fingerprint != stored and same_data(stored, source.fingerprint)
        assert not same_data("0" + stored[1:], source.fingerprint)
        assert not same_data(source.fingerprint, stored)
