"""`config.data.captions_per_image`: whole runs, their batches, and what is refused at the start."""

import numpy as np
import pytest

from tests.small.runs import COLOURS, SHAPES, TINY, losses, resumes_to_the_bit, write_pairs
from vlp.cli.config import load_config
from vlp.run.build import plan
from vlp.run.fields import batch_shapes
from vlp.run.inputs import open_inputs
from vlp.run.trimming import ShortCaptions
from vlp.run.workdir import Workdir


@pytest.fixture
def data(tmp_path):
    """Shapes with three captions each, those of squares with two."""
    words = {
        f"{colour}-{shape}-{copy}.txt": f"a {colour} {shape}\n{colour} {shape}"
        + "\nsome shape" * (shape != "square")
        for colour in COLOURS
        for shape in SHAPES
        for copy in range(3)
    }
    replace = {name: text.encode() for name, text in words.items()}
    return f"lines:{write_pairs(tmp_path / 'several.tar', replace=replace)}"


def several(data, count, *, objective="clip"):
    flags = [f"--config.data.captions_per_image={count}"]
    return load_config(f"{TINY}:data={data},objective={objective}", flags)


def test_the_loader_makes_what_the_step_is_lowered_for(data, tmp_path):
    config = several(data, 3)
    batch = next(open_inputs(config, Workdir(tmp_path / "run")).loader)
    like = batch_shapes(config, ("text",))["text"]
    assert batch["text"].shape == like.shape == (16, 3, 8) and batch["text"].dtype == like.dtype
    there = (batch["text"] >= 0).all(axis=2)
    assert there[:, :2].all() and 0 < there[:, 2].sum() < 16
    assert (batch["text"][~there] == -1).all()


@pytest.mark.parametrize(
    ("count", "said"),
    [
        (0, "must be a whole number of at least 1, got 0"),
        (4, "got 4, and 36 samples of .* have 3 at most; set it to 3, or name fields"),
    ],
)
def test_a_number_that_no_sample_has_captions_for_is_refused(count, said, data, tmp_path):
    with pytest.raises(ValueError, match=f"captions_per_image .*{said}"):
        open_inputs(several(data, count), Workdir(tmp_path / "run"))


@pytest.mark.parametrize("objective", ["coca", "albef"])
def test_an_objective_that_takes_one_caption_refuses_several(objective):
    config = several("pairs", 2, objective=objective)
    said = f"several captions of an image, clip or siglip, got 2 for {objective}; set it to 1"
    with pytest.raises(ValueError, match=said):
        plan(config, samples_per_epoch=36)


def test_short_captions_are_as_long_as_the_longest_of_those_that_are_there():
    text = np.zeros((4, 40), np.int32)
    for row, length in zip(text, (3, 12, 9), strict=False):
        row[:length] = [7] * (length - 1) + [2]
    text[3] = -1
    text = text.reshape(2, 2, 40)
    short = next(ShortCaptions(iter([{"text": text}]), dict(length=40, eos_id=2, pad_id=0)))
    np.testing.assert_array_equal(short["text"], text[:, :, :16])


@pytest.mark.slow
def test_a_run_goes_on_to_the_bit_and_learns_by_several_captions(data, tmp_path):
    file = tmp_path / "several.py"
    file.write_text(
        "from tests.small import config as small\n\n\n"
        "def get_config(arg=''):\n"
        f"    config = small.get_config('data={data},steps=4,objective=siglip')\n"
        "    config.data.captions_per_image = 3\n"
        "    config.evals, config.report.data = {}, ''\n"
        "    return config\n"
    )
    run = resumes_to_the_bit(file, tmp_path)
    assert run("one", "--config.data.captions_per_image=1") != losses(tmp_path / "whole")
