"""A sweep that takes seconds: a small model on small sets in CLIP_benchmark's layout."""

import dataclasses
import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.interop import tiny
from tests.small.runs import add
from vlp.interop.save import save_run
from vlp.sweeps.bars import Bars
from vlp.sweeps.log import Log
from vlp.sweeps.models import expand
from vlp.sweeps.plan import Plan
from vlp.sweeps.suites import read_suites
from vlp.sweeps.table import write_tables
from vlp.sweeps.work import Sweep

PICTURES, CLASSES = 70, 5  # no batch of several devices divides them
TIMES = ("seconds", "time")


def made(root: Path) -> Path:
    """A model, two sets and a suite of them in a folder."""
    save_run(tiny.make_run("clip"), root / "model")
    rng = np.random.default_rng(0)
    for kind in ("classification", "retrieval"):
        folder = root / f"wds_{kind}_test"
        (folder / "test").mkdir(parents=True)
        for shard in range(2):
            with tarfile.open(folder / "test" / f"{shard}.tar", "w") as tar:
                for i in range(shard, PICTURES, 2):
                    add(tar, f"s{i:03d}.png", picture(rng) if i != 7 else b"<html>")
                    add(tar, f"s{i:03d}.cls", str(i % CLASSES).encode())
                    words = f"a red heart {i}\nthe blue cat {i % 3} of japan"
                    add(tar, f"s{i:03d}.txt", words.encode())
        (folder / "test" / "nshards.txt").write_text("2")
        (folder / "dataset_type.txt").write_text(kind)
        (folder / "classnames.txt").write_text("heart\ncat\ndog\nface\nflag")
        (folder / "zeroshot_classification_templates.txt").write_text("a {c}\nthe red {c}.\n{c}")
    entries = "".join(f'[[set]]\nname = "{name}"\n' for name in ("classification", "retrieval"))
    (root / "suite.toml").write_text(entries + '[[set]]\nname = "missing"\n')
    return root


def picture(rng: np.random.Generator) -> bytes:
    """Noise as a PNG."""
    out = io.BytesIO()
    Image.fromarray(rng.integers(0, 256, (20, 28, 3), np.uint8)).save(out, "PNG")
    return out.getvalue()


def plan_of(root: Path, out: Path, *, entry: Mapping[str, Any] = {}, **others: Any) -> Plan:
    """The sweep of everything in a folder of `made`, of whose sets `entry` says something else."""
    models = expand([str(root / "model")])
    entries = [dataclasses.replace(e, **entry) for e in read_suites([str(root / "suite.toml")])]
    return Plan(models, entries, out, str(root), **{"draws": 20, **others})


def swept(root: Path, out: Path, **others: Any) -> Log:
    """Carries it out."""
    out.mkdir(exist_ok=True)
    log = Log(out / "log.jsonl")
    with Bars() as bars:
        Sweep(plan_of(root, out, **others), log, bars=bars).carry_out()
    write_tables(out, log.rows.values())
    return log


def table(out: Path) -> list[dict[str, Any]]:
    """The results without how long they took."""
    lines = (out / "results.jsonl").read_text(encoding="utf-8").splitlines()
    return [{k: v for k, v in json.loads(line).items() if k not in TIMES} for line in lines]
