"""A frozen model is read by the words and the pictures of the run that looks at it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from data_pipelines.text import SentencePieceTokenizer, train_sentencepiece
from experiments.common import base_config
from tests.interop import tiny
from tests.interop.tiny import save_run
from vlp.run.frozen import abstract_frozen, open_frozen, planned_frozen


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


def test_a_teacher_computes_in_the_precision_that_is_said_with_the_weights_that_it_has(config):
    before = open_frozen(config, tiny.tokenizer())["teacher"]
    config.frozen.teacher.precision = "bfloat16"
    found = open_frozen(config, tiny.tokenizer())["teacher"]
    assert found.reference == before.reference
    jax.tree.map(np.testing.assert_array_equal, found.params, before.params)
    assert found.kwargs == planned_frozen(config)["teacher"]
    assert all(found.kwargs[tower]["dtype"] == "bfloat16" for tower in ("image", "text"))
    graphdef, _ = abstract_frozen(found.kwargs)
    text = nnx.merge(graphdef, found.params).encode_text(jnp.ones((1, tiny.LENGTH), jnp.int32))
    assert text.tokens.dtype == "bfloat16"
