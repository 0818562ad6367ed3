"""Folders of open_clip both ways: tokenizers, transforms, old names, pickles, the gate."""

import json

import jax.numpy as jnp
import numpy as np
import open_clip
import pytest
import torch
import transformers
from safetensors.torch import save_file

from data_pipelines.tokens import ClipTokenizer
from tests.interop.tiny import make_run
from tests.peers.shrunk import make, save, small
from tests.peers.tokenizing import bert_vocabulary, sentencepiece_model
from vlp.interop.export import export
from vlp.interop.load import load_run
from vlp.interop.samples import TEXTS, sample_images

VIT = small(open_clip.get_model_config("ViT-B-32"))
CLIP = {**VIT, "text_cfg": {**VIT["text_cfg"], "vocab_size": 49408}}


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """A folder whose model reads the ids of CLIP's tokenizer."""
    folder = tmp_path_factory.mktemp("clip")
    save(make(CLIP), CLIP, folder)
    return folder


def test_a_folder_without_tokenizer_files_gets_clip_s_own(clip):
    run = load_run(clip)
    assert isinstance(run.tokenizer, ClipTokenizer)
    theirs = open_clip.get_tokenizer(f"local-dir:{clip}")(list(TEXTS))
    np.testing.assert_array_equal(run.tokenize(TEXTS), theirs.numpy())


@pytest.mark.parametrize("resize", ["shortest", "squash", "longest"])
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
def test_pixels_are_those_of_open_clip_s_transform(resize, interpolation, tmp_path):
    given = dict(resize_mode=resize, interpolation=interpolation, fill_color=99, mean=0.4, std=0.2)
    save(make(VIT), VIT, tmp_path, preprocess=given)
    run = load_run(tmp_path, tokenizer="none")
    _, transform = open_clip.create_model_from_pretrained(f"local-dir:{tmp_path}")
    pictures = list(sample_images(run.preprocess.size))
    theirs = torch.stack([transform(picture) for picture in pictures]).permute(0, 2, 3, 1)
    ours = run.model.normalise(jnp.asarray(run.preprocess(pictures)))
    np.testing.assert_allclose(np.asarray(ours), theirs.numpy(), atol=1e-5)


def test_an_export_is_compared_with_open_clip_s_model_transform_and_tokenizer(clip, tmp_path):
    report = export(clip, tmp_path / "out", to="open_clip")
    assert (report["verified"], report["verified_with"]) == (True, "open_clip")
    assert report["outputs"].keys() == {
        "image_embeds", "text_embeds", "logits", "image_hidden_states", "text_hidden_states",
    }  # fmt: skip
    assert report["pixels"]["max_levels"] < 1e-3
    assert report["token_ids"]["unequal"] == []


@pytest.mark.parametrize("name", ["RN50", "coca_ViT-B-32"])
def test_other_towers_pass_the_gate(name, tmp_path):
    config = small(open_clip.get_model_config(name))
    for tokenizer in ("hf_tokenizer_name", "tokenizer_kwargs"):
        config["text_cfg"].pop(tokenizer, None)
    save(make(config), config, tmp_path / "theirs")
    run = load_run(tmp_path / "theirs", tokenizer="none")
    assert export(run, tmp_path / "out", to="open_clip")["verified"]


def test_a_run_of_ours_passes_with_its_own_tokenizer(tmp_path):
    run = make_run("clip", resize="shortest", **{"text.activation": "quick_gelu"})
    report = export(run, tmp_path / "out", to="open_clip")
    assert report["verified"]
    assert report["token_ids"]["unequal"] == []
    again = load_run(tmp_path / "out")
    np.testing.assert_array_equal(again.tokenize(TEXTS), run.tokenize(TEXTS))
    assert report["pixels"]["max_levels"] < 1e-3
    images = run.preprocess(list(sample_images(24)))
    ours, theirs = (r.model.encode_image(images).embedding for r in (run, again))
    np.testing.assert_array_equal(theirs, ours)
    assert "ftfy" in (tmp_path / "out" / "README.md").read_text()


def test_the_repair_of_a_tokenizer_of_transformers_is_open_clip_s(tmp_path):
    (tmp_path / "spiece.model").write_bytes(sentencepiece_model())
    made = transformers.T5Tokenizer.from_pretrained(tmp_path, extra_ids=0, pad_token="</s>")
    text = dict(hf_tokenizer_name="any", tokenizer_kwargs={"clean": "canonicalize"})
    config = {**VIT, "text_cfg": {**VIT["text_cfg"], **text, "vocab_size": 2000}}
    config["text_cfg"]["pool_type"] = "last"
    folder = tmp_path / "theirs"
    save(make(config), config, folder)
    made.save_pretrained(folder)
    run = load_run(folder)
    theirs = open_clip.get_tokenizer(f"local-dir:{folder}")(list(TEXTS))
    np.testing.assert_array_equal(run.tokenize(TEXTS), theirs.numpy())
    report = export(run, tmp_path / "out", to="open_clip")
    assert report["token_ids"]["unequal"] == []
    assert load_run(tmp_path / "out").tokenizer.clean == "canonicalize"


def test_clipa_s_texts_end_with_padding(tmp_path):
    (tmp_path / "vocab.txt").write_text("\n".join(bert_vocabulary()))
    made = transformers.BertTokenizer.from_pretrained(tmp_path)
    text = dict(hf_tokenizer_name="any", tokenizer_kwargs={"strip_sep_token": True})
    size = len(bert_vocabulary())
    config = {**VIT, "text_cfg": {**VIT["text_cfg"], **text, "vocab_size": size}}
    config["text_cfg"]["pool_type"] = "last"
    folder = tmp_path / "theirs"
    save(make(config), config, folder)
    made.save_pretrained(folder)
    run = load_run(folder)
    texts = [text for text in TEXTS if "[SEP]" not in text]
    theirs = open_clip.get_tokenizer(f"local-dir:{folder}")(texts)
    np.testing.assert_array_equal(run.tokenize(texts), theirs.numpy())
    assert export(run, tmp_path / "out", to="open_clip")["verified"]


def test_names_of_the_older_class_are_read_for_the_newer(tmp_path):
    custom = {**VIT, "custom_text": True}
    save(make(VIT), custom, tmp_path / "old")
    save(make(VIT), VIT, tmp_path / "plain")
    old, plain = (load_run(tmp_path / n, tokenizer="none").model for n in ("old", "plain"))
    np.testing.assert_array_equal(old.text.tokens[...], plain.text.tokens[...])


def test_scales_of_one_axis_are_scalars_here(tmp_path):
    config = {**VIT, "nonscalar_logit_scale": True, "init_logit_bias": -10}
    model = make(config)
    save(model, config, tmp_path)
    ours = load_run(tmp_path, tokenizer="none").model
    assert ours.log_scale[...] == model.logit_scale[0].item()
    assert ours.bias[...] == model.logit_bias[0].item()


@pytest.mark.parametrize("wrap", [lambda s: s, lambda s: {"epoch": 3, "state_dict": s}])
def test_a_pickle_is_read_by_permission_only(wrap, tmp_path):
    model = make(VIT)
    (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": VIT}))
    path = tmp_path / "epoch_3.pt"
    torch.save(wrap({f"module.{n}": tensor for n, tensor in model.state_dict().items()}), path)
    with pytest.raises(ValueError, match="allow-pickle-weights"):
        load_run(path, tokenizer="none")
    run = load_run(path, tokenizer="none", allow_pickle_weights=True)
    theirs = model.state_dict()["token_embedding.weight"].numpy()
    np.testing.assert_array_equal(run.model.text.tokens[...], theirs)


def test_half_precision_is_read_as_its_float32(tmp_path):
    model = make(VIT)
    save(model, VIT, tmp_path)
    half = {name: tensor.half() for name, tensor in model.state_dict().items()}
    save_file(half, tmp_path / "open_clip_model.safetensors")
    run = load_run(tmp_path, tokenizer="none")
    theirs = half["token_embedding.weight"].float().numpy()
    np.testing.assert_array_equal(run.model.text.tokens[...], theirs)
