"""BLIP of transformers, random weights made there: equal here, and back to the byte."""

import dataclasses
import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import transformers
from safetensors.numpy import load_file
from safetensors.torch import save_file

from tests.interop.tiny import make_run
from tests.models.following import following
from tests.peers.copied import assert_same, randomised
from vlp.generation import greedy
from vlp.interop.export import export
from vlp.interop.load import load_run
from vlp.interop.loaded import model_of, param_shapes, params_of
from vlp.interop.save import save_run
from vlp.models import dual_encoder_preset

LENGTH, SIZE, DECODE, ENCODE, END = 12, 32, 66, 67, 3
_SIZES = dict(intermediate_size=48, num_hidden_layers=2, num_attention_heads=4)
_TEXT = dict(
    **_SIZES, hidden_size=32, vocab_size=68, max_position_embeddings=LENGTH, bos_token_id=DECODE,
    sep_token_id=END, eos_token_id=END,
)  # fmt: skip
_VISION = dict(**_SIZES, hidden_size=24, image_size=SIZE, patch_size=8)
CLASSES = {
    "retrieval": transformers.BlipForImageTextRetrieval,
    "captions": transformers.BlipForConditionalGeneration,
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """What transformers saves of each class, with BERT's tokenizer and BLIP's processor."""
    found = {}
    for name, make in CLASSES.items():
        config = transformers.BlipConfig(
            text_config=_TEXT, vision_config=_VISION, image_text_hidden_size=16
        )
        model = randomised(make(config), seed=len(name))
        folder = tmp_path_factory.mktemp(name)
        model.save_pretrained(folder)
        words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghijklmnopqrstuvwxyz"]
        (folder / "vocab.txt").write_text("\n".join([*words, *(f"##{w}" for w in words[5:])]))
        transformers.BertTokenizer(str(folder / "vocab.txt")).save_pretrained(folder)
        size = {"height": SIZE, "width": SIZE}
        transformers.BlipImageProcessor(size=size).save_pretrained(folder)
        found[name] = folder, model
    return found


@pytest.fixture(scope="module")
def runs(folders):
    return {name: load_run(f"hf:{folder}") for name, (folder, _) in folders.items()}


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (3, SIZE, SIZE, 3), dtype=np.uint8)


def pixels(run, images):
    normalised = run.model.normalise(jnp.asarray(images))
    return torch.tensor(np.array(normalised).transpose(0, 3, 1, 2))


def texts(*, first):
    """Three rows, padded; what begins them."""
    ids = np.random.default_rng(1).integers(5, 60, (3, LENGTH)).astype(np.int32)
    ids[:, 0] = first
    ids[0, 6:], ids[2, 9:] = 0, 0
    return ids


def torch_text(ids):
    ids = torch.tensor(ids).long()
    return dict(input_ids=ids, attention_mask=(ids != 0).long())


def test_embeddings_and_cosines_are_those_of_the_retrieval_class(runs, folders, images):
    run, (_, model) = runs["retrieval"], folders["retrieval"]
    ids, x = texts(first=2), pixels(run, images)
    image, caption = run.model.encode_image(images), run.model.encode_text(ids)
    with torch.no_grad():
        theirs = model(pixel_values=x, use_itm_head=False, **torch_text(ids))
        tokens = model.vision_model(x).last_hidden_state
        zimg = torch.nn.functional.normalize(model.vision_proj(tokens[:, 0]))
        ztxt = torch.nn.functional.normalize(model.text_proj(theirs.question_embeds[:, 0]))
    assert_same(image.tokens, tokens)
    assert_same(caption.tokens, theirs.question_embeds)
    assert_same(image.embedding, zimg)
    assert_same(caption.embedding, ztxt)
    assert_same(image.embedding @ caption.embedding.T, theirs.itm_score)


def test_matching_is_that_of_the_retrieval_class_with_the_token_it_was_trained_by(
    runs, folders, images
):
    run, (_, model) = runs["retrieval"], folders["retrieval"]
    ids = texts(first=2)
    image, caption = run.model.encode_image(images), run.model.encode_text(ids)
    ours = run.model.match(image, caption, ids)
    x = pixels(run, images)
    with torch.no_grad():
        theirs = model(pixel_values=x, **torch_text(texts(first=ENCODE))).itm_score
        other = model(pixel_values=x, **torch_text(ids)).itm_score
    assert_same(ours, theirs)
    assert np.abs(np.asarray(ours) - other.numpy()).max() > 1e-3


def test_caption_logits_are_those_of_the_generating_class(runs, folders, images):
    run, (_, model) = runs["captions"], folders["captions"]
    ids = texts(first=DECODE)
    ours = following(run.model, run.model.encode_image(images), None, texts(first=2))
    with torch.no_grad():
        theirs = model(pixel_values=pixels(run, images), **torch_text(ids)).logits
    assert_same(ours, theirs)


def test_greedy_captions_are_those_of_generate(runs, folders, images):
    run, (_, model) = runs["captions"], folders["captions"]
    image = run.model.encode_image(images)
    ours = np.asarray(jax.jit(lambda image: greedy(run.model, image))(image).ids)
    theirs = model.generate(
        pixel_values=pixels(run, images), num_beams=1, do_sample=False, max_length=LENGTH
    ).numpy()
    assert len(np.unique(ours)) > 4
    np.testing.assert_array_equal(ours[:, : theirs.shape[1]], theirs)
    assert (ours[:, theirs.shape[1] :] == 0).all()


def test_greedy_captions_behind_a_prompt_are_those_of_generate(runs, folders, images):
    run, (_, model) = runs["captions"], folders["captions"]
    image, prompt = run.model.encode_image(images), (5, 9)
    write = jax.jit(lambda image: greedy(run.model, image, prefix=prompt))
    ours = np.asarray(write(image).ids)
    given = torch.tensor([[DECODE, *prompt, run.model.end_id]] * len(images))  # it drops the last
    theirs = model.generate(
        pixel_values=pixels(run, images),
        input_ids=given,
        suppress_tokens=[0],  # padding, which ours never writes
        num_beams=1,
        do_sample=False,
        max_length=LENGTH,
    ).numpy()
    assert len(np.unique(ours)) > 4
    np.testing.assert_array_equal(ours[:, : theirs.shape[1]], theirs)
    assert (ours[:, theirs.shape[1] :] == 0).all()


@pytest.mark.parametrize("name", CLASSES)
def test_exported_again_every_tensor_is_the_same_to_the_byte(name, runs, folders, tmp_path):
    folder, _ = folders[name]
    report = export(runs[name], tmp_path / "out", check="transformers")
    assert report["verified_with"] == "transformers" and report["token_ids"]["unequal"] == []
    before, after = (load_file(path / "model.safetensors") for path in (folder, tmp_path / "out"))
    assert before.keys() == after.keys()
    for key, tensor in before.items():
        assert tensor.tobytes() == after[key].tobytes(), key
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["architectures"] == [CLASSES[name].__name__]


@pytest.mark.parametrize("name", CLASSES)
def test_a_run_made_of_it_is_the_same_model(name, runs, images, tmp_path):
    run = runs[name]
    again = load_run(save_run(run, tmp_path / "run"))
    assert again.model.kwargs == run.model.kwargs
    np.testing.assert_array_equal(
        again.model.encode_image(images).tokens, run.model.encode_image(images).tokens
    )


@pytest.fixture(scope="module")
def both(runs):
    """A model of both modes with other numbers in what each has of its own."""
    kwargs = dict(runs["retrieval"].model.kwargs, modes=["encode", "decode"])
    rng, own = np.random.default_rng(5), params_of(runs["retrieval"].model)
    params = {
        name: own.get(name, rng.normal(size=shape).astype(np.float32) * 0.2)
        for name, shape in param_shapes(kwargs).items()
    }
    params["log_scale"] = np.float32(1.25)
    run = runs["retrieval"]
    return dataclasses.replace(
        run, model=model_of(kwargs, params), card=run.card | {"model": kwargs}
    )


@pytest.mark.parametrize("mode", ["encode", "decode"])
def test_of_both_modes_one_is_exported(both, mode, images, tmp_path):
    report = export(both, tmp_path / "out", mode=mode, check="transformers")
    names = {"encode": {"image_embeds", "text_embeds", "logits", "match"}}
    assert set(report["outputs"]) == names.get(mode, {"caption_logits"})
    again = load_run(tmp_path / "out").model
    assert list(again.modes) == [mode] and again.kwargs["text"]["causal"] == (mode == "decode")
    image, ids = again.encode_image(images), texts(first=2)
    if mode == "decode":
        assert_same(
            following(again, image, None, ids),
            torch.tensor(np.array(following(both.model, image, None, ids))),
        )
    else:
        np.testing.assert_allclose(again.log_scale[...], 1.25, atol=1e-6)


def test_both_modes_at_once_and_a_mode_of_another_model_are_refused(both, runs, tmp_path):
    with pytest.raises(ValueError, match="a class for each mode of a BLIP and none for both"):
        export(both, tmp_path / "out")
    with pytest.raises(ValueError, match="one that the model has, encode, got 'decode'"):
        export(runs["retrieval"], tmp_path / "out", mode="decode")
    with pytest.raises(ValueError, match="which is no BLIP, got 'decode'"):
        export(make_run("clip"), tmp_path / "out", mode="decode")


def test_pictures_are_squashed_and_captions_read_as_there(runs, folders):
    run, (folder, _) = runs["retrieval"], folders["retrieval"]
    settings = run.preprocess.to_dict()
    assert (settings["resize"], settings["interpolation"]) == ("squash", "bicubic")
    assert settings["size"] == SIZE and settings["mean"][0] == 0.48145466
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    captions = ["a cat", "Bad cab!", ""]
    theirs = tokenizer(captions, padding="max_length", truncation=True, max_length=LENGTH)
    np.testing.assert_array_equal(run.tokenize(captions), theirs["input_ids"])


def test_a_model_for_questions_is_refused_by_name(tmp_path):
    config = transformers.BlipConfig(text_config=_TEXT, vision_config=_VISION)
    transformers.BlipForQuestionAnswering(config).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="got both text models, as for questions"):
        load_run(f"hf:{tmp_path}")


@pytest.mark.parametrize(("name", "mode"), [("retrieval", "encode"), ("captions", "decode")])
def test_the_base_model_has_as_many_parameters_as_there(name, mode):
    text = transformers.BlipTextConfig(num_attention_heads=12)
    with torch.device("meta"):
        theirs = CLASSES[name](transformers.BlipConfig(text_config=text.to_dict()))
    theirs.tie_weights()
    kwargs = dual_encoder_preset("blip/ViT-B/16", image_size=384, text_length=512)
    kwargs["modes"] = [mode]
    if mode == "decode":
        kwargs["text"]["causal"] = True
        kwargs |= dict(embed_dim=768, image_projection="none")
    ours = sum(int(np.prod(shape)) for shape in param_shapes(kwargs).values())
    scale = mode == "encode"  # which their class has not
    assert ours - scale == sum(p.numel() for p in theirs.parameters())


@pytest.mark.parametrize("tie", [True, False])
@pytest.mark.parametrize("apart", ["nothing", "the table", "the bias", "both"])
def test_the_output_layer_is_the_class_s_own(tie, apart, folders, images, tmp_path):
    """transformers computes with what the file says, whatever `tie_word_embeddings` says."""
    head = "text_decoder.cls.predictions.decoder"
    state = dict(folders["captions"][1].state_dict())
    if apart in ("the table", "both"):
        state[f"{head}.weight"] = 2 * state[f"{head}.weight"] + 0.1
    if apart in ("the bias", "both"):
        state[f"{head}.bias"] = state[f"{head}.bias"] + torch.linspace(-1, 1, 68)
    shutil.copytree(folders["captions"][0], tmp_path / "in")
    tensors = {name: tensor.clone().contiguous() for name, tensor in state.items()}
    save_file(tensors, tmp_path / "in" / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((tmp_path / "in" / "config.json").read_text())
    (tmp_path / "in" / "config.json").write_text(json.dumps({**config, "tie_word_embeddings": tie}))
    run = load_run(tmp_path / "in")
    assert run.card["model"].get("tied_head", True) is (apart in ("nothing", "the bias"))
    export(run, tmp_path / "out", check="transformers")
    ids = texts(first=DECODE)
    ours = following(run.model, run.model.encode_image(images), None, ids)
    for folder in ("in", "out"):
        theirs = CLASSES["captions"].from_pretrained(tmp_path / folder).eval()
        with torch.inference_mode():
            got = theirs(pixel_values=pixels(run, images), **torch_text(ids)).logits
        assert_same(ours, got)
