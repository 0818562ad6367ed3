"""BLIP-2 as a whole run: it reads the tower of another one, wherever its own weights are read."""

import json
import shutil

import numpy as np
import pytest

from tests.small.runs import SMALL, losses, write_pairs
from vlp.cli.main import main
from vlp.interop.load import load_run
from vlp.interop.loaded import params_of
from vlp.training.checkpoint.checkpoints import load_params

pytestmark = pytest.mark.slow


def train(config, workdir, *flags):
    return main(["train", f"--config={SMALL / config}", f"--workdir={workdir}", *flags])


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The pairs, the run whose tower is read, and the run that reads it."""
    root = tmp_path_factory.mktemp("blip2")
    pairs = write_pairs(root / "pairs.tar")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VLP_CACHE", str(tmp_path_factory.getbasetemp().parent / "vlp-cache"))
        assert train(f"config.py:data={pairs},steps=2", root / "clip") == 0
        assert train(f"blip2.py:data={pairs},image={root / 'clip'}", root / "blip2") == 0
    return pairs, root / "clip", root / "blip2"


def test_the_tower_is_the_other_run_s_but_for_its_last_block(runs):
    _, clip, blip2 = runs
    ours, theirs = (params_of(load_run(folder).model) for folder in (blip2, clip))
    for name in (name for name in theirs if name.startswith("image/")):
        cut = theirs[name][:1] if "/blocks/" in name else theirs[name]
        np.testing.assert_array_equal(ours[name], cut, err_msg=name)
    saved = load_params(blip2 / "checkpoints" / "4")
    assert "image" not in saved and "image_norm" in saved
    reference = json.loads((blip2 / "card.json").read_text())["frozen"]["image"]
    assert reference["source"] == f"run:{clip}" and reference["settings"]["drop_blocks"] == 1


def test_it_was_judged_as_it_is_when_loaded(runs, tmp_path):
    pairs, _, blip2 = runs
    results = {path.stem for path in (blip2 / "results").glob("*.json")}
    assert results == {"same", "matching", "kinds"}
    out = tmp_path / "result.json"
    flags = [f"--model={blip2}", f"--data={pairs}", "--task=retrieval", f"--out={out}"]
    assert main(["eval", *flags]) == 0
    before = json.loads((blip2 / "results" / "same.json").read_text())["metrics"]
    after = json.loads(out.read_text())["metrics"]
    assert {name: before[name] for name in after} == after


def test_taken_up_from_its_second_step_it_ends_with_the_same_losses(runs, tmp_path):
    pairs, clip, blip2 = runs
    half = shutil.copytree(blip2, tmp_path / "half")
    shutil.rmtree(half / "checkpoints" / "4")
    assert train(f"blip2.py:data={pairs},image={clip}", half) == 0
    assert losses(half) == losses(blip2)


def test_a_tower_that_is_gone_or_another_is_refused_by_name(runs, capsys):
    pairs, clip, blip2 = runs
    away = clip.with_name("away")
    clip.rename(away)
    try:
        with pytest.raises(ValueError, match="of config.frozen.image, which must be at run:"):
            load_run(blip2)
        assert train(f"config.py:data={pairs},steps=3", clip) == 0
        with pytest.raises(ValueError, match="as config.frozen.image .* put them back"):
            load_run(blip2)
        assert train(f"blip2.py:data={pairs},image={clip}", blip2) != 0
        assert "must be what the run has looked at so far" in capsys.readouterr().err
    finally:
        if clip.exists():
            clip.rename(clip.with_name("other"))
        away.rename(clip)
