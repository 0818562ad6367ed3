"""MTEB judges a model of ours as it judges the same weights by its own wrapper of open_clip."""

import warnings

import mteb
import numpy as np
import open_clip
import pytest
from mteb.models.model_implementations.openclip_models import openclip_loader
from mteb.models.models_protocols import EncoderProtocol
from PIL import Image

import vlp
from tests.odd_images import picture
from tests.sweep_peers import mteb_tasks
from vlp.evals.mteb import MtebEncoder

RNG = np.random.default_rng(3)
WORDS = "red green blue grey small large old new wooden metal cat dog bird fish car bus".split()
IMAGES = [
    Image.fromarray((picture(30 + i, 70 - i, seed=i) * RNG.uniform(0.2, 1, 3)).astype(np.uint8))
    for i in range(24)
]
TEXTS = [" ".join(RNG.choice(WORDS, 4)) for _ in range(48)]
LABELS = [int(label) for label in RNG.permutation(np.arange(24) % 3)]

TASKS = {
    "zero shot": lambda: mteb_tasks.zero_shot(IMAGES, LABELS, TEXTS[:3]),
    "probe": lambda: mteb_tasks.probe(IMAGES, LABELS),
    "text to image": lambda: mteb_tasks.retrieval(
        {"text": TEXTS}, {"image": IMAGES}, [(i, i % 24) for i in range(48)], category="t2i"
    ),
    "image to text": lambda: mteb_tasks.retrieval(
        {"image": IMAGES}, {"text": TEXTS}, [(i % 24, i) for i in range(48)], category="i2t"
    ),
    "both to both": lambda: mteb_tasks.retrieval(
        {"image": IMAGES[:12], "text": TEXTS[:12]},
        {"image": IMAGES[12:], "text": TEXTS[12:24]},
        [(i, i) for i in range(12)],
        category="it2it",
    ),
    "pairs": lambda: mteb_tasks.pairs(
        list(zip(IMAGES[::2], IMAGES[1::2], strict=True)),
        list(zip(TEXTS[:24:2], TEXTS[1:24:2], strict=True)),
    ),
}


@pytest.fixture(scope="module")
def loaded(clip):
    """What `vlp.load` gives of the folder."""
    return vlp.load(clip)


@pytest.fixture(scope="module")
def wrapped(clip, loaded):
    """MTEB's own wrapper, which looks for models on a hub, given the folder."""
    make, tokenizer = open_clip.create_model_and_transforms, open_clip.get_tokenizer
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        patch.setattr(
            open_clip, "create_model_and_transforms", lambda name, **k: make(_local(name), **k)
        )
        patch.setattr(open_clip, "get_tokenizer", lambda name: tokenizer(_local(name)))
        model = openclip_loader(str(clip), revision="none", device="cpu")
    model.mteb_model_meta = MtebEncoder(*loaded, name="a/b").mteb_model_meta
    return model


def _local(name):
    return name.replace("hf-hub:", "local-dir:")


def _scores(model, task):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = mteb.evaluate(model, task, cache=None, co2_tracker=False, show_progress_bar=False)
    (found,) = result.task_results[0].scores["test"]
    return {name: value for name, value in found.items() if isinstance(value, float)}


def test_it_is_an_encoder_of_mteb_s(loaded):
    assert isinstance(MtebEncoder(*loaded, name="me/clip"), EncoderProtocol)


@pytest.mark.parametrize("task", TASKS)
def test_scores_are_those_of_mteb_s_wrapper(task, loaded, wrapped):
    ours = MtebEncoder(*loaded, name="me/clip", normalise=False)
    found, theirs = _scores(ours, TASKS[task]()), _scores(wrapped, TASKS[task]())
    assert found == pytest.approx(theirs, abs=1e-5, nan_ok=True)
    assert 0 < len(theirs)


def test_unit_norm_changes_the_probe_and_not_the_zero_shot_task(loaded):
    plain = MtebEncoder(*loaded, name="me/clip", normalise=False)
    unit = MtebEncoder(*loaded, name="me/clip")
    zero_shot = [_scores(m, TASKS["zero shot"]()) for m in (plain, unit)]
    probes = [_scores(m, TASKS["probe"]()) for m in (plain, unit)]
    assert zero_shot[0] == pytest.approx(zero_shot[1], abs=1e-5, nan_ok=True)
    assert probes[0] != probes[1]


def test_what_it_cannot_embed_is_refused(loaded):
    model, preprocess, tokenize = loaded
    with pytest.raises(ValueError, match='"owner/name"'):
        MtebEncoder(model, preprocess, tokenize, name="clip")
