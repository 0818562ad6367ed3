"""Exported folders in transformers itself: every class that reads them, and our numpy reading."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import transformers
from PIL import Image

from tests.interop.tiny import LENGTH, SIZE, make_run
from vlp.interop import samples
from vlp.interop.export import export
from vlp.interop.hf import write as hf
from vlp.interop.hf.oracle import TransformersReader
from vlp.interop.hf.reference import ReferenceModel

BATCHES = (1, 5)
TEXTS = list(samples.TEXTS[:5])


@pytest.fixture(scope="module", params=["clip", "siglip"])
def exported(request, tmp_path_factory):
    run = make_run(request.param)
    folder = tmp_path_factory.mktemp(request.param) / "out"
    return run, folder, export(run, folder, check="transformers")


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    run = make_run("clip")
    folder = tmp_path_factory.mktemp("only") / "out"
    export(run, folder, check="transformers")
    return run, folder


def model_class(folder):
    name = json.loads((folder / "config.json").read_text())["architectures"][0]
    return getattr(transformers, name)


def inputs(run, n):
    """n images and captions for us, and the same for transformers."""
    images = np.random.default_rng(n).integers(0, 256, (n, SIZE, SIZE, 3), dtype=np.uint8)
    ids = run.tokenize(TEXTS[:n])
    pixels = np.array(run.model.normalise(jnp.asarray(images)).transpose(0, 3, 1, 2))
    theirs = dict(pixel_values=torch.tensor(pixels), input_ids=torch.tensor(ids).long())
    return images, ids, theirs


def assert_parity(theirs, ours, *, atol=1e-5):
    theirs, ours = theirs.detach().numpy().astype(np.float64), np.asarray(ours, np.float64)
    np.testing.assert_allclose(theirs, ours, atol=atol, rtol=0)
    flat = theirs.reshape(-1, theirs.shape[-1]), ours.reshape(-1, ours.shape[-1])
    norms = np.linalg.norm(flat[0], axis=1) * np.linalg.norm(flat[1], axis=1)
    assert (np.sum(flat[0] * flat[1], axis=1) / norms).min() >= 0.99999


@pytest.mark.parametrize("n", BATCHES)
def test_embeddings_and_logits_are_the_same(exported, n):
    run, folder, _ = exported
    images, ids, theirs = inputs(run, n)
    with torch.no_grad():
        out = model_class(folder).from_pretrained(folder).eval()(**theirs)
    zimg, ztxt = run.model.encode_image(images).embedding, run.model.encode_text(ids).embedding
    assert_parity(out.image_embeds, zimg)
    assert_parity(out.text_embeds, ztxt)
    # Logits are a scale times a cosine; their error is that of the cosine, times the scale.
    scale = float(jnp.exp(run.model.log_scale[...]))
    assert_parity(out.logits_per_image, run.model.logits(zimg, ztxt), atol=1e-5 * max(1, scale))


@pytest.mark.parametrize("n", BATCHES)
def test_hidden_states_are_the_same_layer_by_layer(exported, n):
    run, folder, _ = exported
    images, ids, theirs = inputs(run, n)
    with torch.no_grad():
        model = model_class(folder).from_pretrained(folder).eval()
        vision = model.vision_model(theirs["pixel_values"], output_hidden_states=True)
        text = model.text_model(theirs["input_ids"], output_hidden_states=True)
    towers = (
        (vision, run.model.image, run.model.normalise(jnp.asarray(images))),
        (text, run.model.text, jnp.asarray(ids)),
    )
    for out, tower, x in towers:
        ours = jax.jit(lambda x, tower=tower: tower.stack.hidden_states(tower.embed(x)))(x)
        assert len(out.hidden_states) == len(ours) == 3
        for theirs_layer, our_layer in zip(out.hidden_states, ours, strict=True):
            assert_parity(theirs_layer, our_layer)


@pytest.mark.parametrize("n", BATCHES)
def test_the_projection_classes_read_the_same_folder(clip, n):
    run, folder = clip
    images, ids, theirs = inputs(run, n)
    vision = transformers.CLIPVisionModelWithProjection.from_pretrained(folder).eval()
    text = transformers.CLIPTextModelWithProjection.from_pretrained(folder).eval()
    with torch.no_grad():
        zimg = vision(theirs["pixel_values"]).image_embeds
        ztxt = text(theirs["input_ids"]).text_embeds
    unit = torch.nn.functional.normalize
    assert_parity(unit(zimg), run.model.encode_image(images).embedding)
    assert_parity(unit(ztxt), run.model.encode_text(ids).embedding)


def test_no_tensor_is_missing_or_left_over(exported):
    _, folder, _ = exported
    _, loading = model_class(folder).from_pretrained(folder, output_loading_info=True)
    assert not any(loading.values())


def test_every_processor_class_finds_its_files(exported):
    _, folder, _ = exported
    named = json.loads((folder / "processor_config.json").read_text())["processor_class"]
    for cls in (transformers.AutoProcessor, getattr(transformers, named)):
        processor = cls.from_pretrained(folder)
        assert type(processor).__name__ == named
        read = processor(text=TEXTS, images=Image.new("RGB", (50, 40)), return_tensors="pt")
        # Without a word on padding: the processor knows the length of training.
        assert read["input_ids"].shape == (5, LENGTH)
        assert read["pixel_values"].shape == (1, 3, SIZE, SIZE)
        assert ("attention_mask" in read) == (named == "CLIPProcessor")


def test_files_of_the_older_generation_are_enough(exported, tmp_path):
    run, folder, _ = exported
    for path in folder.iterdir():
        if path.name != "processor_config.json":
            (tmp_path / path.name).write_bytes(path.read_bytes())
    reader = TransformersReader(tmp_path)
    images = list(samples.sample_images(SIZE))
    pixels = np.array(run.model.normalise(jnp.asarray(run.preprocess(images))))
    np.testing.assert_allclose(reader.pixels(images), pixels.transpose(0, 3, 1, 2), atol=1e-5)


@pytest.mark.parametrize("resize", ["squash", "shortest"])
@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_pictures_become_the_same_pixels(kind, resize, tmp_path):
    report = export(make_run(kind, resize=resize), tmp_path / "out", check="transformers")
    assert report["pixels"]["max_levels"] < 1e-3


def test_transparent_pictures_lie_on_white_on_both_sides(exported):
    run, folder, _ = exported
    rgba = np.random.default_rng(0).integers(0, 256, (40, 30, 4), dtype=np.uint8)
    image = Image.fromarray(rgba)
    ours = np.asarray(run.model.normalise(jnp.asarray(run.preprocess(image))))
    theirs = TransformersReader(folder).pixels([image])
    levels = np.abs(theirs - ours.transpose(0, 3, 1, 2)) * 0.5 * 255
    assert levels.max() <= 2  # the blend, and then the resize, may round the other way


def test_captions_get_the_same_ids_also_one_by_one_and_with_a_mask(exported):
    run, folder, _ = exported
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    assert (tokenizer.pad_token_id, tokenizer.eos_token_id, tokenizer.unk_token_id) == (0, 1, 2)
    assert tokenizer.model_max_length == LENGTH
    for text in samples.TEXTS:
        row = tokenizer(text, padding="max_length", truncation=True)["input_ids"]
        assert row == run.tokenize(text)[0].tolist(), text
    assert tokenizer.decode(run.tokenize("a red heart")[0], skip_special_tokens=True) == (
        "a red heart"
    )


def test_padding_to_the_longest_changes_no_clip_embedding(clip):
    run, folder = clip
    model = transformers.CLIPModel.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    texts = ["a cat", "a red heart and a smiling face"]
    with torch.no_grad():
        short = tokenizer(texts, padding="longest", truncation=True, return_tensors="pt")
        features = model.get_text_features(**short).pooler_output
    ours = run.model.encode_text(run.tokenize(texts)).embedding
    assert_parity(torch.nn.functional.normalize(features), ours)


@pytest.mark.parametrize(
    ("kind", "activation"),
    [("clip", "gelu"), ("clip", "relu"), ("clip", "silu"), ("siglip", "quick_gelu")],
)
def test_the_numpy_reading_agrees_with_transformers(kind, activation, tmp_path):
    change = {"image.activation": activation, "text.activation": activation}
    run = make_run(kind, **change)
    hf.write(run, tmp_path, metrics={})
    ours, theirs = ReferenceModel(tmp_path), TransformersReader(tmp_path)
    images = list(samples.sample_images(SIZE))
    np.testing.assert_allclose(ours.pixels(images), theirs.pixels(images), atol=1e-5)
    np.testing.assert_array_equal(ours.ids(samples.TEXTS), theirs.ids(samples.TEXTS))
    pixels, ids = ours.pixels(images), ours.ids(samples.TEXTS)
    found = theirs.forward(pixels, ids)
    for name, array in ours.forward(pixels, ids).items():
        np.testing.assert_allclose(array, found[name], atol=1e-5)


def test_without_being_told_the_check_is_made_in_transformers(exported, tmp_path):
    run, _, told = exported
    report = export(run, tmp_path / "out")
    assert report["verified_with"] == told["verified_with"] == "transformers"
    assert set(report["versions"]) == {"vlp", "torch", "transformers"}


def test_damage_is_seen_in_transformers_too(tmp_path, monkeypatch):
    whole = hf.write_tensors

    def damaged(*given):
        tensors = whole(*given)
        tensors["visual_projection.weight"][:, 0] *= -1
        return tensors

    monkeypatch.setattr(hf, "write_tensors", damaged)
    with pytest.raises(ValueError, match=r"image_embeds have .* \(compared with transformers\)"):
        export(make_run("clip"), tmp_path / "out")
    assert not list(tmp_path.iterdir())
