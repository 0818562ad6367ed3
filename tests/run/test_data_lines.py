"""The lines of docs/data.md for the formats that people have: each opens, and each trains."""

import itertools
import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from tests.small import formats
from vlp.cli.config import load_config
from vlp.cli.main import main
from vlp.cli.overrides import split_overrides
from vlp.run.inputs import open_inputs
from vlp.run.workdir import Workdir

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/data.md").read_text()
BLOCK = re.search(r"one line each:\n\n```sh\n(.*?)```", PAGE, re.DOTALL)[1]
LINES = [line for line in BLOCK.splitlines() if not line.startswith("#")]
# Of a model that takes seconds; the data and what is said of them are the page's.
SMALL = [
    "--config.preprocess.size=32",
    "--config.model.image.depth=1",
    "--config.model.text.depth=1",
    "--config.tokenizer.vocab_size=300",
    "--config.tokenizer.length=32",
    "--config.train.global_batch_size=8",
    "--config.train.total=3 steps",
]
LEFT_OUT = {"pool/kept.npy": 2}


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with all data that the page names."""
    formats.img2dataset_tars(tmp_path / "laion")
    formats.img2dataset_parquet(tmp_path / "laion_parquet")
    formats.img2dataset_files(tmp_path / "laion_files")
    formats.hf_parquet(tmp_path / "hub")
    formats.hf_saved(tmp_path / "saved")
    formats.class_folders(tmp_path / "classes" / "train")
    formats.tfds_prepared(tmp_path / "tfds")
    formats.datacomp(tmp_path / "pool")
    (tmp_path / "experiments").symlink_to(ROOT / "experiments")
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tfds"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def arguments(line):
    program, command, *rest = shlex.split(line)
    assert (program, command) == ("vlp", "train")
    return [*rest, *SMALL]


def test_the_page_has_a_line_for_every_format():
    assert len(LINES) == 9


@pytest.mark.parametrize("line", LINES)
def test_a_line_opens_its_data_and_every_sample_of_it_can_be_used(here, line):
    others, overrides = split_overrides(arguments(line))
    (config,) = [item.removeprefix("--config=") for item in others if "--config=" in item]
    inputs = open_inputs(load_config(config, overrides), Workdir(here / "run"))
    left_out = sum(count for file, count in LEFT_OUT.items() if file in line)
    assert len(inputs.source) == len(formats.PAIRS) - left_out
    batches = list(itertools.islice(inputs.loader, 3))
    inputs.loader.close()
    assert all((batch["weight"] == 1).all() for batch in batches)
    keys = {inputs.source.key(index) for index in range(len(inputs.source))}
    assert len(keys) == len(inputs.source)
    texts = inputs.tokenizer.decode(np.concatenate([batch["text"] for batch in batches]))
    assert all(any(colour in text for colour in formats.COLOURS) for text in texts)


@pytest.mark.slow
@pytest.mark.parametrize("line", LINES)
def test_a_line_trains(here, line):
    assert main(["train", *arguments(line)]) == 0
    (rows,) = (here / "runs").glob("*/metrics.jsonl")
    assert rows.read_text().count('"train/loss"') == 3
