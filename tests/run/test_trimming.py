"""Short captions: fewer columns, the same losses, and a refusal where that would not hold."""

import json

import numpy as np
import pytest

from tests.small.runs import SMALL, losses, write_pairs
from vlp.cli.main import main
from vlp.run.trimming import ShortCaptions

TEXT = dict(length=40, eos_id=2, pad_id=0)


def rows(*lengths):
    text = np.zeros((len(lengths), 40), np.int32)
    for row, length in zip(text, lengths, strict=True):
        row[: length - 1], row[length - 1] = 7, 2
    return {"text": text, "weight": np.ones(len(lengths), np.float32)}


class Loader:
    def __init__(self, *batches):
        self._batches = iter(batches)

    def __next__(self):
        return next(self._batches)

    def get_state(self):
        return {"samples": 5}


def test_a_batch_is_as_long_as_its_longest_caption_and_nothing_else_is_touched():
    first, second = rows(3, 9, 12), rows(40, 2)
    batches = ShortCaptions(Loader(first, second), TEXT)
    assert batches.get_state() == {"samples": 5}
    short, whole = batches
    np.testing.assert_array_equal(short["text"], first["text"][:, :16])
    assert short["weight"] is first["weight"] and first["text"].shape == (3, 40)
    np.testing.assert_array_equal(whole["text"], second["text"])


def train(folder, workdir, *flags, objective="clip"):
    config = f"--config={SMALL / 'config.py'}:data={folder / 'pairs.tar'},objective={objective}"
    long = "--config.tokenizer.length=24"
    return main(["train", config, long, f"--workdir={workdir}", *flags])


@pytest.mark.slow
def test_a_run_with_short_captions_has_the_losses_of_one_without(tmp_path):
    write_pairs(tmp_path / "pairs.tar")
    short, whole = tmp_path / "short", tmp_path / "whole"
    assert train(tmp_path, short, "--config.data.trim_captions=True") == 0
    assert train(tmp_path, whole) == 0
    got, want = losses(short), losses(whole)
    assert list(got) == list(want)
    np.testing.assert_allclose(list(got.values()), list(want.values()), rtol=1e-5)
    assert json.loads((short / "config.json").read_text())["data"]["trim_captions"] is True


@pytest.mark.parametrize(
    ("objective", "flags", "said"),
    [
        ("coca", (), "reads the embeddings of captions alone, clip or siglip, got coca"),
        ("clip", ("--config.model.text.pool=last",), "does not pool its last place"),
    ],
)
def test_short_captions_that_would_change_a_loss_are_refused(
    objective, flags, said, tmp_path, capsys
):
    write_pairs(tmp_path / "pairs.tar")
    flags = ("--config.data.trim_captions=True", *flags)
    assert train(tmp_path, tmp_path / "run", *flags, objective=objective) == 1
    error = capsys.readouterr().err
    assert said in error and "set config.data.trim_captions to False" in error
    assert not (tmp_path / "run").exists()
