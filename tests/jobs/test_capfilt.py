"""CapFilt from end to end: a TINY, its filter and captioner, clean captions, a TINY of these."""

import json
import re

import numpy as np
import pytest

from experiments.capfilt import FREEZE
from tests.small.runs import SMALL, TINY, losses, write_pairs
from vlp.cli.main import main
from vlp.interop.load import load_run
from vlp.interop.loaded import params_of

pytestmark = pytest.mark.slow
TUNED = SMALL / "capfilt.py"


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("capfilt")


@pytest.fixture(scope="module")
def runs(root):
    """The workdirs of the pretraining and of both stages."""
    pairs = write_pairs(root / "pairs.tar")
    made = {"blip": train(f"{TINY}:data={pairs},steps=4,objective=blip", root / "blip")}
    for stage in FREEZE:
        config = f"{TUNED}:stage={stage},data={pairs},init={made['blip']}"
        made[stage] = train(config, root / stage)
    return made


def train(config, workdir, *flags):
    assert main(["train", f"--config={config}", f"--workdir={workdir}", *flags]) == 0
    return workdir


@pytest.mark.parametrize("stage", FREEZE)
def test_a_stage_trains_its_own_part_and_leaves_the_rest_to_the_bit(runs, stage):
    before, after = (
        params_of(load_run(runs[name], weights="params").model) for name in ("blip", stage)
    )
    for name, array in before.items():
        frozen = any(re.fullmatch(pattern, name) for pattern in FREEZE[stage])
        assert np.array_equal(array, after[name]) == frozen, name


def test_filter_and_captioner_make_captions_that_a_blip_trains_on(runs, root):
    data = f"--data={root / 'pairs.tar'}"
    written, clean = root / "synthetic.jsonl", root / "clean"
    flags = [f"--model={runs['captioner']}", "--method=nucleus", f"--out={written}"]
    assert main(["caption", data, *flags]) == 0
    flags = [f"--model={runs['filter']}", f"--captions={written}", f"--out={clean}"]
    assert main(["filter", data, *flags, "--threshold=0.01"]) == 0
    lines = [json.loads(line) for line in (clean / "manifest.jsonl").read_text().splitlines()]
    assert {line["source"] for line in lines} == {"web", "synthetic"}
    config = f"{TINY}:data={clean}/*.tar,steps=2,objective=blip"
    more = "--config.tokenizer.vocab_size=800"  # two steps teach to write all sorts of letters
    again = train(config, root / "again", more)
    assert sorted(losses(again)) == [1, 2]
