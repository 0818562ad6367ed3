"""The commands on a model of several vectors an image: search finds by them, embed refuses."""

import dataclasses

import pytest

from tests.interop import tiny
from tests.models.test_blip2 import KWARGS
from tests.small.runs import write_pairs
from vlp.cli.main import main
from vlp.interop.save import save_run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A BLIP-2 with the tokenizer and the pictures of the tiny runs."""
    image = KWARGS["image"] | dict(image_size=tiny.SIZE)
    text = KWARGS["text"] | dict(vocab_size=tiny.VOCABULARY, length=tiny.LENGTH)
    model = tiny.model(KWARGS | dict(image=image, text=text))
    made = tiny.make_run("clip")
    made = dataclasses.replace(made, model=model, card=made.card | {"model": model.kwargs})
    return save_run(made, tmp_path_factory.mktemp("runs") / "blip2")


def test_search_finds_by_the_nearest_query_and_embed_refuses_by_name(run, tmp_path, capsys):
    flags = [f"--model={run}", f"--data={write_pairs(tmp_path / 'pairs.tar', copies=1)}"]
    shown = [f"--out={tmp_path / 's.png'}", "--top=3", "a red dot"]
    assert main(["search", *flags, *shown]) == 0
    assert "embedded 12 images" in capsys.readouterr().out
    assert main(["embed", *flags, f"--out={tmp_path / 'out'}"]) != 0
    assert "keeps a vector an image, and this model makes one a query" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
