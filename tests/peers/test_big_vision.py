"""big_vision's npz files in open_clip's converter, LiT's text tower against a BERT of PyTorch."""

import jax.numpy as jnp
import numpy as np
import pytest
import torch
from transformers import BertConfig, BertModel

from tests.interop.big_vision_arrays import DEPTH, LENGTH, MLP, PATCH, SIDE, VOCABULARY, two_towers
from tests.interop.test_big_vision import IDS, images, load, save
from vlp.interop.big_vision.oracle import BigVisionReader
from vlp.interop.export import export
from vlp.interop.load import load_run


@pytest.mark.parametrize("kwargs", [dict(scan=True), dict(pool="gap")], ids=str)
def test_open_clip_s_converter_reads_the_same_model(kwargs, tmp_path):
    model = load(save(tmp_path, two_towers(**kwargs))).model
    (tmp_path / "model.npz").write_bytes((tmp_path / "weights.npz").read_bytes())
    pixels = np.array(model.normalise(jnp.asarray(images()))).transpose(0, 3, 1, 2)
    theirs = BigVisionReader(tmp_path).forward(pixels, IDS)
    image, text = model.encode_image(images()), model.encode_text(IDS)
    ours = {
        "image_embeds": image.embedding,
        "text_embeds": text.embedding,
        "logits": model.logits(image.embedding, text.embedding),
        "image_hidden_states": model.image_hidden_states(images()),
        "text_hidden_states": model.text_hidden_states(IDS),
    }
    assert ours.keys() == theirs.keys()
    for name, array in ours.items():
        np.testing.assert_allclose(array, theirs[name], atol=1e-5, rtol=0, err_msg=name)


def test_an_export_is_compared_by_the_converter(tmp_path):
    run = load(save(tmp_path, two_towers()))
    report = export(run, tmp_path / "out", to="big_vision")
    assert (report["verified"], report["verified_with"]) == (True, "open_clip.convert")


def test_pixels_behind_the_last_patch_are_no_difference(tmp_path):
    path = save(tmp_path, two_towers())
    run = load_run(path, tokenizer="none", image_size=SIDE * PATCH + 1)
    assert export(run, tmp_path / "out", to="big_vision")["verified"]


def test_what_the_converter_cannot_read_is_exported_unverified(tmp_path):
    run = load(save(tmp_path, two_towers(pool="tok", text=None)))
    report = export(run, tmp_path / "out", to="big_vision")
    assert not report["verified"]
    assert "SigLIP" in report["reason"]


def test_the_text_tower_of_lit_is_a_bert(tmp_path):
    arrays = two_towers(pool="tok", head=32, bias=False, text="bert")
    model = load(save(tmp_path, arrays)).model
    bert = BertModel(
        BertConfig(
            vocab_size=VOCABULARY,
            hidden_size=64,
            num_hidden_layers=DEPTH,
            num_attention_heads=1,
            intermediate_size=MLP,
            hidden_act="gelu_pytorch_tanh",
            max_position_embeddings=LENGTH,
        ),
        add_pooling_layer=False,
    ).eval()
    bert.load_state_dict(bert_tensors(arrays))
    ids = np.int32([[5, 9, 27, 0, 0, 0], [5, 4, 3, 2, 6, 1]])
    given = torch.from_numpy(ids).long()
    with torch.no_grad():
        out = bert(given, attention_mask=(given != 0).long(), output_hidden_states=True)
    head = arrays["txt/head/kernel"], arrays["txt/head/bias"]
    ztxt = out.last_hidden_state[:, 0].numpy() @ head[0] + head[1]
    ztxt /= np.linalg.norm(ztxt, axis=1, keepdims=True)
    np.testing.assert_allclose(model.encode_text(ids).embedding, ztxt, atol=1e-5)
    states = np.stack(out.hidden_states)
    np.testing.assert_allclose(model.text_hidden_states(ids), states, atol=1e-5)
    assert model.kwargs["image"]["image_size"] == SIDE * PATCH


def bert_tensors(arrays):
    """The arrays of the text tower under transformers' names."""
    at = "txt/BertEncoder_0"
    names = {
        f"{at}/embedder/embedders_token_ids/embedding": "embeddings.word_embeddings.weight",
        f"{at}/embedder/embedders_position_ids/embedding": "embeddings.position_embeddings.weight",
        f"{at}/embedder/embedders_segment_ids/embedding": "embeddings.token_type_embeddings.weight",
        f"{at}/layer_norm": "embeddings.LayerNorm",
    }
    for i in range(DEPTH):
        layer, theirs = f"{at}/encoder_block/layer_sequence/layers_{i}", f"encoder.layer.{i}"
        attention, mlp = f"{layer}/attention_block", f"{layer}/mlp_block"
        for part in ("query", "key", "value"):
            names[f"{attention}/attention_layer/{part}"] = f"{theirs}.attention.self.{part}"
        names[f"{attention}/dense_layer"] = f"{theirs}.attention.output.dense"
        names[f"{attention}/layer_norm"] = f"{theirs}.attention.output.LayerNorm"
        names[f"{mlp}/mlp/dense_layer"] = f"{theirs}.intermediate.dense"
        names[f"{mlp}/dense_layer"] = f"{theirs}.output.dense"
        names[f"{mlp}/layer_norm"] = f"{theirs}.output.LayerNorm"
    tensors = {}
    for name, array in arrays.items():
        layer, _, leaf = name.rpartition("/")
        if name in names:
            tensors[names[name]] = array
        elif layer in names:
            kernel = leaf == "kernel"
            ending = "bias" if leaf == "bias" else "weight"
            tensors[f"{names[layer]}.{ending}"] = array.T.copy() if kernel else array
    return {name: torch.from_numpy(array) for name, array in tensors.items()}
