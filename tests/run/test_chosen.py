"""What is used of training data, by config: lists, kinds of captions, labels as one more set."""

import itertools
from collections import Counter

import numpy as np
import pytest

from tests.small.runs import TINY
from vlp.cli.config import load_config
from vlp.run.inputs import open_inputs
from vlp.run.workdir import Workdir

CONFIG = """
from ml_collections import ConfigDict
from tests.small.config import get_config as tiny

def get_config(arg=""):
    config = tiny("data=pairs.tar")
    config.data.update({data})
    return config
"""


@pytest.fixture
def inputs(pairs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "words.txt").write_text("something {}\n")
    (tmp_path / "reds.txt").write_text("\n".join(f"red-bar-{n}" for n in range(3)))

    def opened(data, *flags):
        (tmp_path / "config.py").write_text(CONFIG.format(data=data))
        config = load_config("config.py", ["--config.tokenizer.length=16", *flags])
        return open_inputs(config, Workdir(tmp_path / "run"))

    return opened


def texts(inputs, batches=6):
    found = [batch["text"] for batch in itertools.islice(inputs.loader, batches)]
    inputs.loader.close()
    return Counter(inputs.tokenizer.decode(np.concatenate(found)))


def test_sets_have_lists_kinds_and_labels_of_their_own(inputs):
    made = inputs(
        'train="", sets=ConfigDict(dict('
        'kinds=dict(data="pairs.tar", captions=dict(own=1.0, kind=3.0), share=0.5), '
        'labels=dict(data="pairs.tar", label="kind", label_templates="words.txt", '
        'subset="reds.txt", share=0.5)))'
    )
    assert len(made.source) == 36 + 3
    found = texts(made)
    assert found["something red"] == 48
    kinds = found["red"] + found["green"] + found["blue"]
    assert 26 <= kinds <= 46  # three quarters of 48


def test_the_pairs_of_a_run_have_them_as_well(inputs):
    made = inputs("captions=ConfigDict(dict(kind=1.0))", "--config.data.subset=reds.txt")
    assert len(made.source) == 3 and set(texts(made, 1)) == {"red"}
    names = {part.name for part in made.source.survey()}
    assert names == {"pairs", "pairs in reds.txt"}


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ('subset="reds.txt", sets=ConfigDict(dict(a=dict(data="pairs.tar")))', "take the place of"),
        ('train="", labelled="pairs.tar", label_field="kind", subset="reds.txt"', "without it"),
        (
            'train="", sets=ConfigDict(dict(a=dict(data="pairs.tar", label="kind", '
            "captions=dict(own=1.0))))",
            "leave one out",
        ),
        ('train="", sets=ConfigDict(dict(a=dict(data="pairs.tar", sub="x")))', "sub"),
    ],
)
def test_what_has_no_effect_is_refused(inputs, data, said):
    with pytest.raises(ValueError, match=said):
        inputs(data)


def test_a_flag_that_names_a_kind_is_a_weight(pairs):
    config = load_config(f"{TINY}:data={pairs}", ["--config.data.captions.kind=2"])
    assert config.data.captions.to_dict() == {"kind": 2.0}
    with pytest.raises(ValueError, match="config.data.captions.kind"):
        load_config(f"{TINY}:data={pairs}", ["--config.data.captions.kind=often"])
