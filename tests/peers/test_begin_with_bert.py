"""The papers' configs begin with a BERT as transformers saves it, and read by its tokenizer."""

import logging

import jax
import numpy as np
import pytest
from transformers import BertConfig, BertModel

from experiments import albef, blip
from vlp.cli.build import given_params, plan
from vlp.cli.inputs import open_inputs
from vlp.cli.workdir import Workdir

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"w{i}" for i in range(35))]
DEPTH, WIDTH, HEADS = 3, 32, 2


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    """A folder with weights, vocabulary and tokenizer settings."""
    folder = tmp_path_factory.mktemp("bert")
    config = BertConfig(
        vocab_size=len(WORDS),
        hidden_size=WIDTH,
        num_hidden_layers=DEPTH,
        num_attention_heads=HEADS,
        intermediate_size=64,
        max_position_embeddings=40,
    )
    model = BertModel(config)
    model.save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(WORDS))
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer"}')
    return folder, {name: tensor.numpy() for name, tensor in model.state_dict().items()}


def shrunk(config, *, text_depth, fused=None):
    """The paper's config with a BERT as small as the fixture's."""
    sizes = dict(width=WIDTH, num_heads=HEADS, mlp_dim=64)
    config.preprocess.size = 32
    config.tokenizer.update(vocab_size=len(WORDS), eos_id=3)
    config.model.update(image=dict(width=32, depth=1, num_heads=2, mlp_dim=64))
    config.model.update(text=dict(depth=text_depth, **sizes))
    if fused:
        config.model.fusion = dict(depth=fused, num_heads=HEADS, mlp_dim=64)
    config.objective.queue_size = 16
    config.train.global_batch_size = 8
    return config


def begun(config):
    """The parameters at step 0."""
    training = plan(config, samples_per_epoch=8000).training
    return jax.tree.map(np.asarray, training.init(given_params(config)).params)


def query(params, layer):
    return params["blocks"]["attention"]["qkv"]["kernel"][layer][:, :WIDTH]


def theirs(tensors, layer):
    return tensors[f"encoder.layer.{layer}.attention.self.query.weight"].T


def test_albef_cuts_it_into_text_tower_and_fusion_encoder(bert, caplog):
    folder, tensors = bert
    config = shrunk(albef.get_config(f"data=x,bert={folder}"), text_depth=1, fused=2)
    with caplog.at_level(logging.WARNING):
        params = begun(config)
    assert "compute something else" not in caplog.text
    np.testing.assert_array_equal(query(params["text"]["stack"], 0), theirs(tensors, 0))
    for layer in (0, 1):
        np.testing.assert_array_equal(query(params["fusion"], layer), theirs(tensors, layer + 1))
    words = tensors["embeddings.word_embeddings.weight"]
    np.testing.assert_array_equal(params["text"]["tokens"], words)


def test_blip_reads_with_all_of_it(bert, caplog):
    folder, tensors = bert
    config = shrunk(blip.get_config(f"data=x,bert={folder}"), text_depth=DEPTH)
    with caplog.at_level(logging.WARNING):
        params = begun(config)
    assert "compute something else" not in caplog.text
    for layer in range(DEPTH):
        np.testing.assert_array_equal(query(params["text"]["stack"], layer), theirs(tensors, layer))


def test_captions_are_read_by_its_tokenizer(bert, tmp_path):
    folder, _ = bert
    config = shrunk(albef.get_config(f"data=emoji:twemoji,bert={folder}"), text_depth=1, fused=2)
    inputs = open_inputs(config, Workdir(tmp_path / "new"))
    assert inputs.tokenize(["w3 w0"])[0, :5].tolist() == [2, 8, 5, 3, 0]
    batch = next(inputs.loader)
    inputs.loader.close()
    assert np.all(batch["text"][:, 0] == 2) and np.all(np.any(batch["text"] == 3, axis=1))
