"""Retrieval between modalities, and the report's spoken queries, by a tiny model that hears."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from data_pipelines.audio import Spectrogram
from data_pipelines.images import ImagePreprocess
from data_pipelines.opening import open_source
from tests.data_pipelines.data_makers import encoded, pixels, write_tar
from tests.data_pipelines.sounds import chirp, sound_file
from tests.filled import filled
from tests.interop import tiny
from vlp.evals.embed import Encoder
from vlp.evals.results import LABELS
from vlp.evals.retrieval import Ranks, both_ranks, recalls
from vlp.jobs.between import check_between
from vlp.jobs.evaluator import Evaluator
from vlp.jobs.gallery import Gallery, Images
from vlp.jobs.search import called
from vlp.jobs.tasks import check_settings, evaluate
from vlp.models.build import make_model
from vlp.run.report_sounds import sound_queries

pytest.importorskip("soundfile")
TOWER = dict(width=16, depth=1, num_heads=2)
HEARS = dict(
    kind="bound",
    image=dict(image_size=16, patch_size=8, **TOWER),
    text=dict(vocab_size=tiny.VOCABULARY, length=8, **TOWER),
    audio=dict(frames=20, n_mels=16, patch_size=(10, 8), **TOWER),
    embed_dim=12,
    pairs=("image-text", "image-audio"),
)
SPECTROGRAM = Spectrogram(frames=20, n_mels=16)
COUNT, MUTE, BLIND = 9, (2, 5), (4,)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Nine drawings with names and sounds; two have no sound, one no picture that can be read."""
    members = []
    for i in range(COUNT):
        picture = b"<html>" if i in BLIND else encoded(pixels(i))
        members += [(f"{i}.png", picture), (f"{i}.txt", b"number %d" % (i // 2))]
        members += [] if i in MUTE else [(f"{i}.flac", sound_file(chirp(i), kind="FLAC"))]
    return str(write_tar(tmp_path_factory.mktemp("data") / "heard.tar", members))


@pytest.fixture(scope="module")
def evaluator():
    tokenizer = tiny.make_run("clip").tokenizer
    graphdef, state = nnx.split(filled(lambda: make_model(HEARS, rngs=nnx.Rngs(0))))
    return Evaluator(
        Encoder(graphdef, state),
        ImagePreprocess(16),
        lambda texts: tokenizer.encode(texts, 8),
        tokenizer.decode,
        7,
        "float32",
        spectrogram=SPECTROGRAM,
    )


def by_hand(evaluator, data, modality, samples):
    """Embeddings of these samples, each encoded by the model itself."""
    model, source = evaluator.encoder.model(), open_source(data)
    if modality == "text":
        given = evaluator.tokenize([called(source, i) for i in samples])
    elif modality == "audio":
        given = np.concatenate([SPECTROGRAM(source.audio(i)) for i in samples])
    else:
        given = np.stack([evaluator.preprocess(source.image(i)) for i in samples])
        given = given.reshape(len(samples), 16, 16, 3)
    return np.asarray(model.encode(modality, jnp.asarray(given)).embedding)


@pytest.mark.parametrize("between", ["audio-text", "image-audio", "audio-image"])
def test_the_scores_are_those_of_retrieval_by_hand(evaluator, data, between):
    result = evaluate(evaluator, "retrieval", data=data, between=between)
    heard = [i for i in range(COUNT) if i not in MUTE]
    both = [i for i in heard if i not in BLIND]
    if between == "audio-text":
        rows, queries, asked, names = heard, heard, "text", ("audio", "text")
    else:
        rows, queries = [i for i in range(COUNT) if i not in BLIND], both
        asked, names = "audio", ("image", "audio")
    row_of_query = np.array([rows.index(i) for i in queries])
    ranks = both_ranks(
        by_hand(evaluator, data, names[0], rows),
        by_hand(evaluator, data, asked, queries),
        row_of_query,
    )
    want = recalls(ranks, row_of_query, images=len(rows), between="-".join(names))
    for part in ("metrics", "chance"):
        assert result[part] == want[part]
    first, second = names
    assert {f"{second}_to_{first}/R@10", f"{first}_to_{second}/R@1"} <= set(result["metrics"])
    assert result["counts"][f"{second}_to_{first}/queries"] == len(queries)
    assert {key.split("/")[0] for key in result["metrics"]} <= set(LABELS)


def test_scores_are_named_by_their_modalities_in_groups_too():
    ranks, row_of_query = Ranks(np.array([0, 3, 1]), np.array([0, 1])), np.array([0, 0, 1])
    how = dict(images=2, ks=(1,), groups=["texts of images", "images"])
    usual = recalls(ranks, row_of_query, **how)
    heard = recalls(ranks, row_of_query, **how, between="image-audio")
    assert heard["counts"]["images"] == 2 and heard["counts"]["sounds"] == 3
    assert heard["metrics"]["audio_to_image/R@1"] == pytest.approx(1 / 3)
    assert heard["metrics"]["texts of images/image_to_audio/R@1"] == 1.0
    assert heard["metrics"]["images/audio_to_image/R@1"] == 0.0
    for part in ("metrics", "chance"):
        named = {
            key.replace("text_to", "audio_to").replace("to_text", "to_audio") for key in usual[part]
        }
        assert named == heard[part].keys()
        assert list(usual[part].values()) == list(heard[part].values())


def test_what_cannot_be_compared_is_refused(evaluator, data):
    for between in ("audio", "audio-audio", "image-smell", "image-text-audio"):
        with pytest.raises(ValueError, match=f"two of image, audio, text, .* got '{between}'"):
            check_between(between)
    with pytest.raises(ValueError, match="rerank is of image-text alone, got between audio-text"):
        check_settings("retrieval", dict(between="audio-text", rerank=4))
    deaf = filled(lambda: make_model(HEARS | dict(audio=None, pairs=[]), rngs=nnx.Rngs(0)))
    with pytest.raises(ValueError, match="needs a model with a tower for audio, .* image, text"):
        check_between("audio-text", model=deaf)


def vectors(count, seed=0):
    z = np.random.default_rng(seed).normal(size=(count, 12)).astype(np.float32)
    return z / np.linalg.norm(z, axis=1, keepdims=True)


def with_vectors(evaluator, data, *, between):
    """An evaluator whose sounds are exactly what they should find, but for one, and a result."""
    evaluator = dataclasses.replace(evaluator, sources={}, _images={}, _galleries={})
    source = evaluator.source(data)
    heard = np.array([i for i in range(COUNT) if i not in MUTE])
    z = vectors(COUNT)
    lost = z[heard].copy()
    lost[0] = -lost[0]
    if between == "audio-text":
        texts = [called(source, i) for i in heard.tolist()]
        found = Gallery(source, None, 1, heard, lost, {}, texts, z[heard], np.arange(7), {})
        evaluator._galleries[data, "first", "audio"] = found
    else:
        seen = np.array([i for i in range(COUNT) if i not in BLIND])
        evaluator._images[data, "image"] = Images(source, None, 1, seen, z[seen], {})
        evaluator._images[data, "audio"] = Images(source, None, 1, heard, lost, {})
    result = dict(data="heard", fingerprint=source.fingerprint, settings=dict(between=between))
    return evaluator, [result, result | dict(settings={})]


def test_sounds_that_ask_for_pictures_have_their_own_marked(evaluator, data):
    evaluator, results = with_vectors(evaluator, data, between="image-audio")
    ((name, queries),) = sound_queries(evaluator, results)
    source = evaluator.source(data)
    assert name == "heard" and len(queries) == 6
    numbers = {source.audio(i): i for i in range(COUNT) if i not in MUTE}
    for query in queries:
        sample = numbers[query["sound"]]
        assert query["query"] == f"number {sample // 2}"
        assert (query["rank"] == 0) == (sample != 0)
        right = [item for item in query["found"] if item["right"]]
        assert sample == 0 or right == [query["found"][0]]
        own = query["answer"]["image"]
        np.testing.assert_array_equal(own[..., :3], pixels(sample))


def test_sounds_that_ask_for_names_are_those_with_a_name_of_their_own(evaluator, data):
    evaluator, results = with_vectors(evaluator, data, between="audio-text")
    ((_, queries),) = sound_queries(evaluator, results)
    source = evaluator.source(data)
    numbers = {query["caption"]: query for query in queries}
    assert set(numbers) == {"number 1", "number 2", "number 4"}  # twice: 0 and 3
    for name, sample in (("number 1", 3), ("number 2", 4), ("number 4", 8)):
        assert numbers[name]["sound"] == source.audio(sample) and numbers[name]["rank"] == 0
        names = [item["caption"] for item in numbers[name]["found"]]
        assert len(names) == len(set(names)) == 5
        assert numbers[name]["found"][0] | dict(score=1) == dict(caption=name, score=1, right=True)
