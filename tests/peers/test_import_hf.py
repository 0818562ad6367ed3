"""Every family of transformers: random weights made there, equal here, back to the byte."""

import json

import jax.numpy as jnp
import numpy as np
import pytest
import torch
import transformers
from safetensors.numpy import load_file

from tests.peers.tokenizing import bert_vocabulary
from vlp.interop.export import export
from vlp.interop.load import load_run
from vlp.models.naflex import NaflexImages

LENGTH, SIZE = 16, 32
_SIZES = dict(hidden_size=32, intermediate_size=48, num_hidden_layers=3, num_attention_heads=2)
_TEXT = dict(**_SIZES, vocab_size=64, max_position_embeddings=LENGTH)
_IMAGE = dict(**_SIZES, image_size=SIZE, patch_size=8)


def clip(**settings):
    act = {"hidden_act": settings.pop("hidden_act", "quick_gelu")}
    text = transformers.CLIPTextConfig(**{**_TEXT, "eos_token_id": 63, **act, **settings})
    vision = transformers.CLIPVisionConfig(**_IMAGE, **act)
    return transformers.CLIPConfig(
        text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=24
    )


def siglip(**settings):
    return transformers.SiglipConfig(text_config={**_TEXT, **settings}, vision_config=_IMAGE)


def siglip2():
    vision = dict(**_SIZES, num_patches=16, patch_size=8)
    return transformers.Siglip2Config(text_config=_TEXT, vision_config=vision)


def vit():
    return transformers.ViTConfig(**_IMAGE)


def bert():
    return transformers.BertConfig(**_TEXT, pad_token_id=0)


def dual():
    make = transformers.VisionTextDualEncoderConfig.from_vision_text_configs
    return make(vit(), bert(), projection_dim=20)


FAMILIES = {
    "CLIP, quick_gelu": lambda: transformers.CLIPModel(clip()),
    "CLIP, gelu": lambda: transformers.CLIPModel(clip(hidden_act="gelu")),
    "CLIP, legacy end of text": lambda: transformers.CLIPModel(clip(eos_token_id=2)),
    "SigLIP": lambda: transformers.SiglipModel(siglip()),
    "SigLIP, wider embedding": lambda: transformers.SiglipModel(
        transformers.SiglipConfig(
            text_config={**_TEXT, "projection_size": 40},
            vision_config={**_IMAGE, "hidden_size": 40},
        )
    ),
    "SigLIP, a margin behind the patches": lambda: transformers.SiglipModel(
        transformers.SiglipConfig(text_config=_TEXT, vision_config={**_IMAGE, "patch_size": 10})
    ),
    "SigLIP 2, NaFlex": lambda: transformers.Siglip2Model(siglip2()),
    "ViT and BERT": lambda: transformers.VisionTextDualEncoderModel(dual()),
    "ViT": lambda: transformers.ViTModel(vit()),
    "ViT without pooler": lambda: transformers.ViTModel(vit(), add_pooling_layer=False),
    "BERT": lambda: transformers.BertModel(bert()),
    "CLIP, image with projection": lambda: transformers.CLIPVisionModelWithProjection(
        clip().vision_config
    ),
    "CLIP, image": lambda: transformers.CLIPVisionModel(clip().vision_config),
    "CLIP, text with projection": lambda: transformers.CLIPTextModelWithProjection(
        clip().text_config
    ),
    "CLIP, text": lambda: transformers.CLIPTextModel(clip().text_config),
    "SigLIP, image": lambda: transformers.SiglipVisionModel(siglip().vision_config),
    "SigLIP, text": lambda: transformers.SiglipTextModel(siglip().text_config),
}


def saved(make, folder):
    """Random weights, biases and scales included, as transformers saves them."""
    torch.manual_seed(0)
    model = make().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    return model


@pytest.fixture(scope="module", params=FAMILIES)
def family(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("family") / "folder"
    model = saved(FAMILIES[request.param], folder)
    return model, folder, load_run(folder, tokenizer="none")


def given(run):
    """Pictures and captions for ours, and the same for transformers."""
    rng = np.random.default_rng(0)
    ours, theirs = {}, {}
    if run.model.image is not None and run.card["model"]["image"].get("kind") == "naflex":
        grids = np.asarray([[4, 4], [2, 7], [5, 3]], np.int32)
        mask = np.arange(16)[None] < grids.prod(axis=1)[:, None]
        patches = rng.integers(0, 256, (3, 16, 192), dtype=np.uint8)
        ours["images"] = NaflexImages(*map(jnp.asarray, (patches, mask, grids)))
        theirs["pixel_values"] = torch.tensor(np.array(run.model.normalise(ours["images"]).patches))
        theirs["pixel_attention_mask"] = torch.tensor(mask).int()
        theirs["spatial_shapes"] = torch.tensor(grids).long()
    elif run.model.image is not None:
        images = rng.integers(0, 256, (3, SIZE, SIZE, 3), dtype=np.uint8)
        ours["images"] = images
        pixels = np.array(run.model.normalise(jnp.asarray(images)).transpose(0, 3, 1, 2))
        theirs["pixel_values"] = torch.tensor(pixels)
    if run.model.text is not None:
        ids = rng.integers(3, 62, (3, LENGTH)).astype(np.int32)
        ids[[0, 1, 2], [15, 6, 1]] = 63  # the end of text, and the largest id
        if run.card["model"]["text"].get("pool") == "eot":
            ids[0, 15] = 5  # a row without an end
        ids[1, 7:], ids[2, 2:] = run.model.text.pad_id, run.model.text.pad_id
        ours["ids"] = ids
        theirs["input_ids"] = torch.tensor(ids).long()
        if run.card["model"]["text"].get("kind") == "bert":
            theirs["attention_mask"] = (theirs["input_ids"] != 0).long()
    return ours, theirs


def close(ours, theirs, *, where=None):
    ours, theirs = np.asarray(ours), theirs.numpy()
    if where is not None:
        ours, theirs = ours[:, where], theirs[:, where]
    scale = max(1.0, np.abs(theirs).max())
    np.testing.assert_allclose(ours / scale, theirs / scale, atol=1e-5, rtol=0)


def close_pooled(ours, out):
    """The vector before any projection, where their class shows it: in towers alone."""
    if out.get("pooler_output") is not None and "logits_per_image" not in out:
        close(ours, out.pooler_output)


def unit(x):
    return torch.nn.functional.normalize(x)


def test_all_outputs_are_equal(family):
    model, _, run = family
    ours, theirs = given(run)
    with torch.no_grad():
        out = model(**theirs, output_hidden_states=True)
    if "images" in ours:
        encoded = run.model.encode_image(ours["images"])
        states = run.model.image_hidden_states(ours["images"])
        part = getattr(out, "vision_model_output", out)
        mask = theirs.get("pixel_attention_mask")
        real = None if mask is None else mask.numpy().astype(bool)
        close(states, torch.stack(part.hidden_states), where=real)
        close_pooled(encoded.pooled, out)
        if hasattr(out, "logits_per_image"):
            close(encoded.embedding, out.image_embeds)
        else:
            pooled = getattr(out, "image_embeds", out.get("pooler_output"))
            pooled = part.last_hidden_state[:, 0] if pooled is None else pooled
            close(encoded.embedding, unit(pooled))
        if model.config.model_type in ("siglip", "vit"):  # CLIP normalises the pooled token only
            close(encoded.tokens, part.last_hidden_state)
    if "ids" in ours:
        encoded = run.model.encode_text(ours["ids"])
        states = run.model.text_hidden_states(ours["ids"])
        part = getattr(out, "text_model_output", out)
        close(states, torch.stack(part.hidden_states))
        close(encoded.tokens, part.last_hidden_state)
        if model.config.model_type != "siglip_text_model":
            close_pooled(encoded.pooled, out)  # SigLIP calls the projected vector pooled
        if hasattr(out, "logits_per_image"):
            close(encoded.embedding, out.text_embeds)
        else:
            pooled = getattr(out, "text_embeds", out.get("pooler_output"))
            close(encoded.embedding, unit(pooled))
    if hasattr(out, "logits_per_image"):
        zimg = run.model.encode_image(ours["images"]).embedding
        ztxt = run.model.encode_text(ours["ids"]).embedding
        close(run.model.logits(zimg, ztxt), out.logits_per_image)


def plain(tensors):
    """Names without the prefix that a tower alone may have."""
    towers = {name.split(".")[0] for name in tensors} & {"vision_model", "text_model"}
    if len(towers) != 1:
        return dict(tensors)
    return {name.removeprefix(f"{min(towers)}."): tensor for name, tensor in tensors.items()}


def test_exported_back_every_tensor_is_the_same_to_the_byte(family, tmp_path):
    model, folder, run = family
    report = export(run, tmp_path / "out", check="transformers")
    assert report["verified"]
    before = plain(load_file(folder / "model.safetensors"))
    after = plain(load_file(tmp_path / "out" / "model.safetensors"))
    assert before.keys() == after.keys()
    for name, tensor in before.items():
        assert (tensor.shape, tensor.tobytes()) == (after[name].shape, after[name].tobytes()), name
    written = json.loads((tmp_path / "out" / "config.json").read_text())
    assert written["architectures"] == [type(model).__name__]


def test_bert_s_tokenizer_and_vit_s_processor_come_with_their_model(tmp_path):
    words = bert_vocabulary()
    (tmp_path / "vocab.txt").write_text("\n".join(words), encoding="utf-8")
    config = dual()
    config.text_config.vocab_size = len(words)
    model = saved(lambda: transformers.VisionTextDualEncoderModel(config), tmp_path / "folder")
    transformers.VisionTextDualEncoderProcessor(
        transformers.ViTImageProcessor(size={"height": SIZE, "width": SIZE}),
        transformers.BertTokenizer(vocab=str(tmp_path / "vocab.txt")),
    ).save_pretrained(tmp_path / "folder")
    run = load_run(tmp_path / "folder")
    processor = transformers.AutoProcessor.from_pretrained(tmp_path / "folder")
    texts, image = (
        ["a red heart", "", "na\xefve caf\xe9 \u65e5\u672c"],
        np.zeros((40, 30, 3), np.uint8),
    )
    read = processor(
        text=texts, images=image, padding="max_length", max_length=LENGTH, return_tensors="pt"
    )
    with torch.no_grad():
        out = model(**read)
    close(run.model.encode_image(run.preprocess(image)).embedding, out.image_embeds)
    close(run.model.encode_text(run.tokenize(texts)).embedding, out.text_embeds)


@pytest.mark.parametrize(
    "make",
    [
        lambda: transformers.ViTForImageClassification(vit()),
        lambda: transformers.ViTForMaskedImageModeling(
            transformers.ViTConfig(**_IMAGE, encoder_stride=8)
        ),
        lambda: transformers.BertForPreTraining(bert()),
        lambda: transformers.BertForTokenClassification(bert()),
        lambda: transformers.BertForQuestionAnswering(bert()),
    ],
)
def test_the_heads_of_other_tasks_are_passed_over(make, tmp_path):
    model = saved(make, tmp_path)
    run = load_run(tmp_path, tokenizer="none")
    ours, theirs = given(run)
    with torch.no_grad():
        out = model.base_model(**theirs)
    encode = run.model.encode_image if run.model.image is not None else run.model.encode_text
    close(encode(*ours.values()).tokens, out.last_hidden_state)


def test_what_older_configs_repeat_in_a_dict_counts_as_in_transformers(tmp_path):
    model = saved(FAMILIES["CLIP, gelu"], tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    for name in ("text_config", "vision_config"):
        config[f"{name}_dict"] = config[name]
        config[name] = config[name] | {"hidden_act": "quick_gelu", "eos_token_id": 2}
    (tmp_path / "config.json").write_text(json.dumps(config))
    run = load_run(tmp_path, tokenizer="none")
    ours, theirs = given(run)
    with torch.no_grad():
        out = model(**theirs)
    close(run.model.encode_image(ours["images"]).embedding, out.image_embeds)
    close(run.model.encode_text(ours["ids"]).embedding, out.text_embeds)


def test_a_sharded_folder_is_the_same_model(tmp_path):
    model = saved(FAMILIES["CLIP, gelu"], tmp_path / "whole")
    model.save_pretrained(tmp_path / "sharded", max_shard_size="40KB")
    assert (tmp_path / "sharded" / "model.safetensors.index.json").is_file()
    whole, parts = (load_run(tmp_path / x, tokenizer="none") for x in ("whole", "sharded"))
    images = np.random.default_rng(0).integers(0, 256, (2, SIZE, SIZE, 3), dtype=np.uint8)
    np.testing.assert_array_equal(
        whole.model.encode_image(images).embedding, parts.model.encode_image(images).embedding
    )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_weights_are_read_exactly(dtype, tmp_path):
    model = saved(FAMILIES["CLIP, gelu"], tmp_path / "whole").to(dtype)
    model.save_pretrained(tmp_path / "half")
    run = load_run(tmp_path / "half", tokenizer="none")
    np.testing.assert_array_equal(
        np.asarray(run.model.text.tokens[...]),
        model.text_model.embeddings.token_embedding.weight.detach().float().numpy(),
    )


def test_a_pickle_is_read_only_by_permission_and_only_as_tensors(tmp_path):
    folder = tmp_path / "folder"
    model = saved(FAMILIES["CLIP, gelu"], folder)
    expected = load_run(folder, tokenizer="none")
    (folder / "model.safetensors").unlink()
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    with pytest.raises(ValueError, match="must not be a pickle.*--allow-pickle-weights"):
        load_run(folder, tokenizer="none")
    run = load_run(folder, tokenizer="none", allow_pickle_weights=True)
    np.testing.assert_array_equal(run.model.text.tokens[...], expected.model.text.tokens[...])
    torch.save({"x": Evil()}, folder / "pytorch_model.bin")
    with pytest.raises(ValueError, match="must hold tensors and nothing else"):
        load_run(folder, tokenizer="none", allow_pickle_weights=True)
    assert not (tmp_path / "ran").exists()


class Evil:
    """What a hostile pickle would do."""

    def __reduce__(self):
        return (exec, ("raise SystemExit('this ran')",))


def test_a_larger_picture_has_the_positions_that_transformers_would_interpolate(tmp_path):
    saved(FAMILIES["CLIP, gelu"], tmp_path / "folder")
    run = load_run(tmp_path / "folder", tokenizer="none", image_size=48, text_length=8)
    assert run.card["model"]["image"]["image_size"] == run.preprocess.size == 48
    assert run.card["model"]["text"]["length"] == 8
    images = np.zeros((1, 48, 48, 3), np.uint8)
    assert np.isfinite(run.model.encode_image(images).embedding).all()
