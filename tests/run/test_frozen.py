"""A frozen model is read by the words and the pictures of the run that looks at it."""

import pytest

from data_pipelines.text import SentencePieceTokenizer, train_sentencepiece
from experiments.common import base_config
from tests.interop import tiny
from tests.interop.tiny import save_run
from vlp.run.frozen import open_frozen, planned_frozen


@pytest.fixture
def config(tmp_path):
    config = base_config()
    config.preprocess.size, config.tokenizer.length = tiny.SIZE, tiny.LENGTH
    config.frozen.teacher = dict(path=str(save_run(tiny.make_run("clip"), tmp_path / "teacher")))
    return config


def test_a_teacher_reads_by_any_tokenizer_of_its_words(config):
    own = tiny.tokenizer()
    # A field that SentencePiece does not know: another file, and the same model.
    copy = SentencePieceTokenizer(own.model + b"\x80\x3e\x01")
    assert copy.sha256 != own.sha256
    found = open_frozen(config, copy)["teacher"]
    assert found.kwargs == tiny.make_run("clip").card["model"]
    assert found.kwargs == planned_frozen(config)["teacher"]


def test_other_words_are_refused_where_texts_are_asked_for(config):
    other = train_sentencepiece(["a b c d e f g"] * 9, vocab_size=tiny.VOCABULARY, name="other")
    with pytest.raises(ValueError, match="config.frozen.teacher: its text tower.*and has tiny"):
        open_frozen(config, other)
    config.frozen.teacher.towers = "image"
    assert open_frozen(config, other)["teacher"].kwargs["text"] is None
