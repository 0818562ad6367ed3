"""The papers' configs begin with a BERT as transformers saves it, and read by its tokenizer."""

import logging

import jax
import numpy as np
import pytest
import timm
from timm.models._hub import save_for_hf
from transformers import BertConfig, BertModel, ViTConfig, ViTModel

from experiments import albef, blip
from vlp.run.build import plan
from vlp.run.init_from import given_params
from vlp.run.inputs import open_inputs
from vlp.run.workdir import Workdir

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


@pytest.fixture(scope="module")
def vits(tmp_path_factory):
    """The image tower of DeiT as timm saves it, and another as transformers does."""
    root = tmp_path_factory.mktemp("vits")
    sizes = dict(embed_dim=32, depth=1, num_heads=2, mlp_ratio=2, img_size=48)
    deit = timm.create_model("deit_base_patch16_224", **sizes)
    save_for_hf(deit, root / "timm", model_args=sizes, safe_serialization=True)
    theirs = ViTModel(
        ViTConfig(
            hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64,
            image_size=48, patch_size=16, layer_norm_eps=1e-6,
        )
    )  # fmt: skip
    theirs.save_pretrained(root / "hf")
    patches = {
        "timm": deit.patch_embed.proj.weight,
        "hf": theirs.embeddings.patch_embeddings.projection.weight,
    }
    return root, {stack: tensor.detach().numpy() for stack, tensor in patches.items()}


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


@pytest.mark.parametrize("stack", ["timm", "hf"])
def test_image_tower_and_text_begin_with_two_sources(bert, vits, stack, caplog):
    (folder, tensors), (root, patches) = bert, vits
    arg = f"data=x,bert={folder},vit={stack}:{root / stack}"
    config = shrunk(albef.get_config(arg), text_depth=1, fused=2)
    with caplog.at_level(logging.INFO, logger="vlp"):
        params = begun(config)
    np.testing.assert_array_equal(query(params["text"]["stack"], 0), theirs(tensors, 0))
    kernel = params["image"]["patches"]["linear"]["kernel"]
    np.testing.assert_array_equal(kernel, patches[stack].transpose(2, 3, 1, 0).reshape(-1, 32))
    assert params["image"]["positions"].shape == (1 + 2 * 2, 32)  # resized from 3 x 3
    said = [message for message in caplog.messages if message.startswith("beginning")]
    assert said[1].startswith("beginning with image/")
    assert f" of {stack}:{root / stack}; " in said[1]
    left = {"timm": "none", "hf": "image/pooler/bias, image/pooler/kernel"}[stack]
    assert said[1].endswith(f"not taken: {left}")
    assert "match_head/.*" in said[2] and "image/" not in said[2] and "text/" not in said[2]
    warned = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    # Beside timm's head, and the pixels of transformers' folder, which has no file of them.
    known = ("left out", "preprocessor_config.json")
    (warned,) = [message for message in warned if not any(word in message for word in known)]
    assert "image_mean" in warned and "norm_eps" not in warned


def test_what_is_wrong_with_either_source_is_said_at_once(bert, vits):
    (folder, _), (root, _) = bert, vits
    wrong = albef.get_config(f"data=x,bert=none,vit=timm:{root}/none")
    with pytest.raises(
        ValueError, match=r"(?s)config.init, hf:none: .*config.init, timm:.*/none: "
    ):
        given_params(shrunk(wrong, text_depth=1, fused=2))
    config = shrunk(blip.get_config(f"data=x,bert={folder},vit=hf:{folder}"), text_depth=DEPTH)
    config.init.image.only = ("text/.*",)
    with pytest.raises(ValueError, match="one source, got text/.* from hf:.*; narrow `only`"):
        given_params(config)


def test_captions_are_read_by_its_tokenizer(bert, tmp_path):
    folder, _ = bert
    config = shrunk(albef.get_config(f"data=emoji:twemoji,bert={folder}"), text_depth=1, fused=2)
    inputs = open_inputs(config, Workdir(tmp_path / "new"))
    assert inputs.tokenize(["w3 w0"])[0, :5].tolist() == [2, 8, 5, 3, 0]
    batch = next(inputs.loader)
    inputs.loader.close()
    assert np.all(batch["text"][:, 0] == 2) and np.all(np.any(batch["text"] == 3, axis=1))
