"""Tasks that read pictures and texts together give what `vlp eval` gives."""

import dataclasses

import pytest

from data_pipelines.evaluation import eval_captions
from data_pipelines.images import ImagePreprocess
from data_pipelines.opening import open_source
from tests.interop import tiny
from tests.small.runs import write_pairs
from tests.sweeps.tasks.given import chances, values
from vlp.evals.embed import Encoder
from vlp.jobs.evaluator import Evaluator
from vlp.jobs.tasks import evaluate
from vlp.sweeps.embedding import Opened, embed_pictures
from vlp.sweeps.models import ModelRef
from vlp.sweeps.sets import EvalSet
from vlp.sweeps.tasks.captioning import captioning
from vlp.sweeps.tasks.matching import matching
from vlp.sweeps.tasks.retrieval import retrieval
from vlp.sweeps.vectors import VectorStore
from vlp.sweeps.view import SetView

SETTINGS = dict(
    image=dict(image_size=16, patch_size=8, width=16, depth=1, num_heads=2, pool="cls"),
    text=dict(kind="bert", vocab_size=tiny.VOCABULARY, length=8, width=16, depth=1, num_heads=2,
              pooler=False),
    embed_dim=12,
    fusion=dict(num_heads=2, depth=1),
)  # fmt: skip


WRITER = dict(
    image=SETTINGS["image"],
    text=dict(vocab_size=tiny.VOCABULARY, length=8, width=16, depth=1, num_heads=2,
              pool="cls_last", causal=True),
    embed_dim=12,
    decoder=dict(depth=1, num_heads=2),
    begin_id=3,
)  # fmt: skip


def opened_model(settings):
    """A model with weights everywhere."""
    plain = tiny.make_run("clip")
    model = tiny.model(settings)
    card = plain.card | {"model": settings}
    card["tokenizer"] = card["tokenizer"] | {"length": 8}
    run = dataclasses.replace(plain, model=model, preprocess=ImagePreprocess(16), card=card)
    return Opened(ModelRef("tiny", "tiny"), run, Encoder.from_model(model))


@pytest.fixture(scope="module")
def opened():
    return opened_model(SETTINGS)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """24 pairs, two of each caption, one without a readable image."""
    path = tmp_path_factory.mktemp("data") / "pairs.tar"
    return str(write_pairs(path, copies=2, replace={"red-dot-0.png": b"<html>"}))


def viewed(opened, data, folder):
    """The set with the captions that vlp eval takes."""
    source = open_source(data)
    found = eval_captions(source, captions="all")
    pairs = EvalSet("pairs", source, texts=found.texts, picture_of_text=found.ids)
    store = VectorStore(folder)
    embed_pictures([opened], pairs, store=store, rule="upright")
    return SetView(opened, pairs, store, "upright", 0)


@pytest.fixture(scope="module")
def view(opened, data, tmp_path_factory):
    return viewed(opened, data, tmp_path_factory.mktemp("vectors"))


@pytest.fixture(scope="module")
def evaluator(opened):
    return Evaluator.of(opened.run, opened.encoder, step=3, dtype="float32")


def test_reranked_retrieval_is_that_of_vlp_eval(view, evaluator, data):
    ours = retrieval(view, rerank=3)
    theirs = evaluate(evaluator, "retrieval", data=data, captions="all", rerank=3)
    assert values(ours) == pytest.approx(theirs["metrics"])
    assert chances(ours) == pytest.approx(theirs["chance"])
    changed = [name for name in theirs["metrics"] if f"reranked/{name}" in theirs["metrics"]]
    assert any(values(ours)[name] != values(ours)[f"reranked/{name}"] for name in changed)
    assert not any("reranked" in name for name in values(ours, hit=True))


def test_matching_is_that_of_vlp_eval(view, evaluator, data):
    ours = matching(view)
    theirs = evaluate(evaluator, "matching", data=data, captions="all")
    assert values(ours) == pytest.approx(theirs["metrics"])
    assert ours.samples == theirs["counts"]["all/queries"] == len(ours.said["log_odds"])
    assert {k: v for k, v in chances(ours).items() if v is not None} == theirs["chance"]


def test_captioning_is_that_of_vlp_eval(data, tmp_path):
    pytest.importorskip("pycocoevalcap")
    opened = opened_model(WRITER)
    ours = captioning(viewed(opened, data, tmp_path), num_beams=2)
    evaluator = Evaluator.of(opened.run, opened.encoder, step=3, dtype="float32")
    theirs = evaluate(evaluator, "captioning", data=data, num_beams=2)
    assert values(ours) == pytest.approx(theirs["metrics"])
    assert chances(ours) == pytest.approx(theirs["chance"])
    written = dict(zip(ours.ids.tolist(), ours.said["written"].tolist(), strict=True))
    assert all(written[one["sample"]] == one["written"] for one in theirs["examples"])
    assert ours.counts == {"pictures": 23, "without_caption": 0} and ours.samples == 23


@pytest.mark.parametrize(
    ("task", "settings", "said"),
    [
        (matching, {}, "task matching needs a model that tells whether"),
        (retrieval, {"rerank": 2}, "rerank needs a model that tells whether"),
        (captioning, {}, "task captioning needs a model that writes captions"),
    ],
)
def test_a_model_that_cannot_do_it_is_refused(view, monkeypatch, task, settings, said):
    monkeypatch.setattr("vlp.evals.captioning.check_scores", lambda: None)
    run = tiny.make_run("clip")
    plain = Opened(ModelRef("clip", "clip"), run, Encoder.from_model(run.model))
    with pytest.raises(ValueError, match=said):
        task(dataclasses.replace(view, opened=plain), **settings)
