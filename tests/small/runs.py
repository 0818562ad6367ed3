"""Tiny data and a tiny config for whole runs."""

import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vlp.cli.main import main

SMALL = Path(__file__).parent
TINY = SMALL / "config.py"
COLOURS = {"red": (220, 40, 40), "green": (40, 180, 60), "blue": (50, 70, 220)}
SHAPES = ("square", "bar", "dot", "frame")


def add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    """Adds one file."""
    info = tarfile.TarInfo(name)
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))


def picture(colour: str, shape: str, *, shift: int = 0) -> bytes:
    """A PNG, 20x20, of a coloured shape."""
    pixels = np.full((20, 20, 3), 255, np.uint8)
    at = slice(4 + shift, 14 + shift)
    pixels[at, at if shape != "bar" else slice(8, 11)] = COLOURS[colour]
    if shape == "frame":
        pixels[7:11, 7:11] = 255
    if shape == "dot":
        pixels[4:7] = 255
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def write_pairs(path: Path, *, copies: int = 3, replace: dict[str, bytes] | None = None) -> Path:
    """A WebDataset tar of coloured shapes; `replace` overrides members by name."""
    with tarfile.open(path, "w") as tar:
        for copy in range(copies):
            for colour in COLOURS:
                for shape in SHAPES:
                    key = f"{colour}-{shape}-{copy}"
                    files = {
                        f"{key}.png": picture(colour, shape, shift=copy),
                        f"{key}.txt": f"a {colour} {shape}".encode(),
                        f"{key}.json": json.dumps({"kind": colour}).encode(),
                    }
                    for name, data in files.items():
                        add(tar, name, (replace or {}).get(name, data))
    return path


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    """Compiled programs of one test session are shared, and nothing is left in the home folder."""
    root = tmp_path_factory.getbasetemp().parent / "vlp-cache"
    monkeypatch.setenv("VLP_CACHE", str(root))


@pytest.fixture
def pairs(tmp_path) -> Path:
    """36 coloured shapes in a tar."""
    return write_pairs(tmp_path / "pairs.tar")


@pytest.fixture
def train(pairs, tmp_path):
    """Runs `vlp train` on the pairs in this process: (exit code, workdir)."""

    def run(*flags: str, arg: str = "", workdir: str = "run", data: Path = pairs):
        config = f"{TINY}:data={data}" + (f",{arg}" if arg else "")
        folder = tmp_path / workdir
        return main(["train", f"--config={config}", f"--workdir={folder}", *flags]), folder

    return run


def last_of_each(*flags: str) -> list[str]:
    """The flags without those that a later one of the same name takes the place of."""
    return list({flag.partition("=")[0]: flag for flag in flags}.values())


def command(*arguments: str, devices: int = 1) -> tuple[list[str], dict[str, str]]:
    """A `vlp` command line and environment for a process of its own."""
    environment = os.environ | {
        "JAX_PLATFORMS": "cpu",
        "JAX_NUM_CPU_DEVICES": str(devices),
        "COLUMNS": "200",
    }
    return [sys.executable, "-m", "vlp.cli.main", *arguments], environment


def run_command(*arguments: str, devices: int = 1) -> subprocess.CompletedProcess[str]:
    """Runs `vlp` in a process of its own."""
    line, environment = command(*arguments, devices=devices)
    return subprocess.run(line, env=environment, capture_output=True, text=True, timeout=300)


def losses(workdir: Path) -> dict[int, float]:
    """The loss of every step in metrics.jsonl; a step that occurs twice is an error."""
    rows = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    found = {row["step"]: row["train/loss"] for row in rows}
    assert len(found) == len(rows)
    return found


def resumes_to_the_bit(file: Path, tmp_path: Path):
    """Asserts that four steps are the same in one go ("whole") and in two; runs the file further.

    Returns:
        Runs it in a workdir with flags; returns its losses.
    """

    def run(workdir: str, *flags: str) -> dict[int, float]:
        places = [f"--config={file}", f"--workdir={tmp_path / workdir}"]
        assert main(["train", *places, *flags]) == 0
        return losses(tmp_path / workdir)

    whole = run("whole")
    run("parts", "--config.train.total=2 steps")
    assert run("parts", "--accept-config-changes") == whole and len(whole) == 4
    return run
