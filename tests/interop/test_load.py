import dataclasses
import subprocess
import sys

import jax
import numpy as np
import pytest
from PIL import Image

import vlp
from tests.interop.tiny import SIZE, make_run, save_run
from vlp.interop.load import load_run


@pytest.fixture(scope="module")
def run():
    return make_run("clip")


@pytest.fixture(scope="module")
def folder(run, tmp_path_factory):
    return save_run(run, tmp_path_factory.mktemp("runs") / "plain", steps=(1, 2))


def test_importing_vlp_does_not_import_jax():
    code = "import sys, vlp; vlp.load; print('jax' in sys.modules, vlp.__version__)"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert printed.stdout.split() == ["False", vlp.__version__], printed.stderr


def test_the_five_lines_of_the_readme_give_cosines(folder, tmp_path):
    Image.new("RGBA", (40, 25), (255, 0, 0, 128)).save(tmp_path / "cat.png")
    model, preprocess, tokenize = vlp.load(folder)
    zimg = model.encode_image(preprocess([str(tmp_path / "cat.png")])).embedding
    ztxt = model.encode_text(tokenize(["a cat face", "a red heart"])).embedding
    cosines = np.asarray(zimg @ ztxt.T)
    assert cosines.shape == (1, 2)
    assert np.all(np.abs(cosines) <= 1 + 1e-6)


def test_preprocess_and_tokenize_take_one_or_several(folder):
    _, preprocess, tokenize = vlp.load(folder)
    image = Image.new("RGB", (30, 50))
    for images, n in ((image, 1), (np.asarray(image), 1), ([image, image], 2)):
        pixels = preprocess(images)
        assert (pixels.shape, pixels.dtype) == ((n, SIZE, SIZE, 3), np.uint8)
    assert tokenize("a cat").shape == (1, 12)
    assert tokenize(["a cat", ""]).dtype == np.int32


def test_the_newest_checkpoint_is_loaded_unless_one_is_named(run, folder):
    # Checkpoint k holds the weights times k.
    scale = run.model.log_scale[...]
    for path, times in ((folder, 2), (folder / "checkpoints", 2), (folder / "checkpoints/1", 1)):
        loaded = load_run(path)
        assert (loaded.step, loaded.weights) == (times, "params")
        np.testing.assert_allclose(loaded.model.log_scale[...], times * scale, rtol=1e-6)


def test_a_loaded_model_computes_what_the_saved_one_did(run, folder):
    model, preprocess, tokenize = vlp.load(folder / "checkpoints/1")
    pixels = np.random.default_rng(0).integers(0, 256, (3, SIZE, SIZE, 3), dtype=np.uint8)
    for ours, theirs in (
        (model.encode_image(pixels), run.model.encode_image(pixels)),
        (model.encode_text(tokenize("a cat")), run.model.encode_text(tokenize("a cat"))),
    ):
        np.testing.assert_array_equal(ours.embedding, theirs.embedding)
        np.testing.assert_array_equal(ours.tokens, theirs.tokens)


def test_a_loaded_model_works_inside_jit_and_under_grad(folder):
    model, preprocess, _ = vlp.load(folder)
    pixels = preprocess(Image.new("RGB", (9, 9), "teal"))
    eager = model.encode_image(pixels).embedding
    np.testing.assert_allclose(
        jax.jit(lambda x: model.encode_image(x).embedding)(pixels), eager, atol=1e-6
    )


def test_the_average_of_the_weights_is_preferred_where_the_run_has_one(run, tmp_path):
    average = make_run("clip", seed=1)
    folder = save_run(run, tmp_path / "ema", average=average)
    for weights, expected, name in (
        ("auto", average, "ema"),
        ("ema", average, "ema"),
        ("params", run, "params"),
    ):
        loaded = load_run(folder, weights=weights)
        assert loaded.weights == name
        np.testing.assert_array_equal(loaded.model.log_scale[...], expected.model.log_scale[...])


def test_asking_for_an_average_that_is_not_there_is_an_error(folder):
    with pytest.raises(ValueError, match="must hold averaged weights"):
        load_run(folder, weights="ema")
    with pytest.raises(ValueError, match="one of auto, params, ema, momentum, got 'best'"):
        load_run(folder, weights="best")


def test_what_is_no_run_is_said_so(tmp_path):
    for path in (tmp_path, tmp_path / "missing"):
        with pytest.raises(ValueError, match="a model must be a run of vlp .*workdir"):
            vlp.load(path)


def test_a_run_without_a_checkpoint_is_said_so(run, tmp_path):
    folder = save_run(run, tmp_path / "young", steps=())
    with pytest.raises(ValueError, match="checkpoint must be at .* found none; train first"):
        vlp.load(folder)


def test_a_damaged_checkpoint_is_passed_over_and_never_used(run, tmp_path):
    folder = save_run(run, tmp_path / "hurt", steps=(1, 2))
    for step, outcome in ((2, 1), (1, None)):
        _flip_a_byte(folder / "checkpoints" / str(step))
        with pytest.raises(ValueError, match="damaged"):
            vlp.load(folder / "checkpoints" / str(step))
        if outcome is None:
            with pytest.raises(ValueError, match="damaged"):
                vlp.load(folder)
        else:
            assert load_run(folder).step == outcome


def test_the_tokenizer_must_be_that_of_the_run(run, tmp_path):
    folder = save_run(run, tmp_path / "swapped")
    (folder / "tokenizer.model").unlink()
    with pytest.raises(ValueError, match="tokenizer must be at .*found none"):
        vlp.load(folder)
    other = bytearray(run.tokenizer.model)
    place = other.index("naïve".encode())
    other[place : place + 1] = b"m"
    (folder / "tokenizer.model").write_bytes(other)
    with pytest.raises(ValueError, match="sha256 must be the card's"):
        vlp.load(folder)


def test_weights_that_do_not_fit_the_card_are_named(run, tmp_path):
    card = run.card | {"model": run.card["model"] | {"embed_dim": 28}}
    folder = save_run(dataclasses.replace(run, card=card), tmp_path / "broken")
    with pytest.raises(ValueError, match="must fit the card's model, 2 arrays do not, such as"):
        vlp.load(folder)


def _flip_a_byte(checkpoint):
    largest = max(
        (path for path in checkpoint.rglob("*") if path.is_file() and "manifest" not in path.name),
        key=lambda path: path.stat().st_size,
    )
    data = bytearray(largest.read_bytes())
    data[len(data) // 2] ^= 1
    largest.write_bytes(data)
