"""The tasks beyond retrieval and classification, from a data set to a result."""

import inspect
import json

import pytest
from flax import nnx
from ml_collections import ConfigDict

from data_pipelines.images import ImagePreprocess
from tests.filled import filled
from tests.interop import tiny
from tests.small.runs import TINY, write_pairs
from vlp.cli.config import load_config
from vlp.cli.eval import FLAGS
from vlp.cli.main import main
from vlp.evals.embed import Encoder
from vlp.interop.loaded import abstract_model
from vlp.jobs.evaluator import Evaluator
from vlp.jobs.tasks import TASKS, check_task, evaluate
from vlp.models.build import model_class
from vlp.run.build import plan
from vlp.run.evaluations import Evaluations
from vlp.run.inputs import open_inputs
from vlp.run.workdir import Workdir

TEXT = dict(kind="bert", vocab_size=tiny.VOCABULARY + 1, length=8, width=16, depth=1, num_heads=2)
KWARGS = dict(
    image=dict(image_size=16, patch_size=8, width=16, depth=1, num_heads=2, pool="cls"),
    text=TEXT | dict(pooler=False),
    embed_dim=12,
)
FUSION = KWARGS | dict(fusion=dict(num_heads=2, depth=1))
WRITER = KWARGS | dict(
    text=dict(
        vocab_size=tiny.VOCABULARY, length=8, width=16, depth=1, num_heads=2, pool="cls_last"
    ),
    decoder=dict(num_heads=2, depth=1),
    begin_id=3,
)
EXPECTED = {
    "matching": {"all/accuracy", "all/balanced", "all/auc", "true_pairs/accuracy",
                 "wrong_captions/accuracy", "wrong_images/accuracy"},
    "masked_words": {f"{image}_image/{score}" for image in ("own", "other")
                     for score in ("top1", "top5", "nats")},
}  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """24 pairs, two of each caption, one without a readable image."""
    path = tmp_path_factory.mktemp("data") / "pairs.tar"
    return str(write_pairs(path, copies=2, replace={"red-dot-0.png": b"<html>"}))


@pytest.fixture(scope="module")
def evaluator():
    run = tiny.make_run("clip")
    graphdef, state = nnx.split(filled(lambda: model_class(FUSION)(**FUSION, rngs=nnx.Rngs(0))))
    tokenize = lambda texts: run.tokenizer.encode(texts, 8)  # noqa: E731
    decode = run.tokenizer.decode
    preprocess = ImagePreprocess(16)
    return Evaluator(Encoder(graphdef, state), preprocess, tokenize, decode, 7, "float32")


def test_matching_and_masked_words_are_judged(evaluator, data):
    for task, settings in (("matching", {}), ("masked_words", {"mask_id": tiny.VOCABULARY})):
        result = evaluate(evaluator, task, data=data, **settings)
        assert set(result["metrics"]) == EXPECTED[task]
        assert (result["task"], result["samples"], result["rejected"]) == (task, 23, 1)
        assert json.loads(json.dumps(result, allow_nan=False)) == result


def test_matching_asks_every_caption_and_image_once(evaluator, data):
    counts = evaluate(evaluator, "matching", data=data)["counts"]
    assert counts["all/queries"] == 3 * 23
    assert counts["true_pairs/queries"] == counts["wrong_images/queries"] == 23


def test_reranking_adds_a_second_table_and_leaves_the_first(evaluator, data):
    plain = evaluate(evaluator, "retrieval", data=data, group="kind")
    result = evaluate(evaluator, "retrieval", data=data, group="kind", rerank=3)
    for part in ("metrics", "chance", "counts"):
        assert {k: v for k, v in result[part].items() if "reranked" not in k} == plain[part]
        asked = set(plain[part]) - {"rejected", "captions_left_out"}
        assert {f"reranked/{key}" for key in asked} < set(result[part])
    assert any(
        value != result["metrics"][f"reranked/{key}"] for key, value in plain["metrics"].items()
    )
    assert result["chance"]["reranked/text_to_image/R@5"] == plain["chance"]["text_to_image/R@5"]
    assert result["settings"] == {"group": "kind", "rerank": 3}


def test_one_candidate_reranked_is_as_before(evaluator, data):
    metrics = evaluate(evaluator, "retrieval", data=data, captions="all", rerank=1)["metrics"]
    for key in [key for key in metrics if not key.startswith("reranked/")]:
        assert metrics[key] == metrics[f"reranked/{key}"]


def test_images_are_embedded_once_for_all_tasks(evaluator, data, monkeypatch):
    evaluate(evaluator, "matching", data=data)
    monkeypatch.setattr(Encoder, "embed_images", None)
    evaluate(evaluator, "retrieval", data=data, captions="all")


def test_a_model_that_cannot_is_refused_with_the_remedy():
    plain = abstract_model(KWARGS)
    for task, settings, needed in (
        ("matching", {}, "task matching needs a model that tells whether"),
        ("masked_words", {"mask_id": 3}, "task masked_words needs a model that tells hidden words"),
        ("retrieval", {"rerank": 4}, "rerank needs a model"),
    ):
        with pytest.raises(ValueError, match=f"{needed}.*judge another model"):
            check_task(task, model=plain, settings=settings)
    check_task("retrieval", model=plain, settings={"rerank": 0})


def test_a_run_whose_model_cannot_be_judged_so_is_refused_before_it_begins(pairs, tmp_path):
    config = load_config(f"{TINY}:data={pairs}", [])
    with config.unlocked():
        config.evals.pairs = ConfigDict(dict(task="matching", data=str(pairs), every="0 steps"))
    planned, workdir = plan(config, samples_per_epoch=36), Workdir(tmp_path / "run")
    with pytest.raises(ValueError, match="config.evals.pairs: task matching needs a model that"):
        Evaluations(config, planned, open_inputs(config, workdir), workdir)


def test_settings_are_checked_by_name_and_the_mask_must_be_a_token(evaluator, data):
    with pytest.raises(ValueError, match="group, between, rerank, rerank_by, got 'rerankk'"):
        evaluate(evaluator, "retrieval", data=data, rerankk=3)
    with pytest.raises(ValueError, match="retrieval, classification, .* got 'search'"):
        evaluate(evaluator, "search", data=data)
    with pytest.raises(ValueError, match="needs mask_id"):
        evaluate(evaluator, "masked_words", data=data)
    with pytest.raises(ValueError, match="of the model's 421 tokens, got 421"):
        evaluate(evaluator, "masked_words", data=data, mask_id=421)


@pytest.mark.parametrize(
    ("task", "settings", "message"),
    [
        ("masked_words", {"mask_id": 421}, "of the model's 421 tokens, got 421"),
        ("retrieval", {"rerank": -1}, "rerank must be 1 at least, .* got -1"),
        ("retrieval", {"rerank": 3, "rerank_by": "sum"}, "rerank_by must be one of match, .*'sum'"),
        ("retrieval", {"rerank_by": "match"}, "rerank_by needs rerank"),
        ("matching", {"captions": "some"}, 'captions must be "first" or "all", got \'some\''),
    ],
)
def test_settings_that_cannot_be_are_refused_before_anything_is_embedded(
    evaluator, data, monkeypatch, task, settings, message
):
    monkeypatch.setattr(Encoder, "embed_images", None)
    with pytest.raises(ValueError, match=message):
        evaluate(evaluator, task, data=data, **settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"min_length": 8}, "min_length must be from 0 to 7, .* got 8"),
        ({"length_penalty": float("nan")}, "length_penalty must be a finite number, got nan"),
        ({"num_beams": 0}, "num_beams must be 1 to 1024, got 0"),
    ],
)
def test_settings_of_captions_are_refused_with_the_model_alone(monkeypatch, settings, message):
    monkeypatch.setattr("vlp.evals.captioning.check_scores", lambda: None)
    writer = abstract_model(WRITER)
    with pytest.raises(ValueError, match=message):
        check_task("captioning", model=writer, settings=settings)
    check_task("captioning", model=writer, settings={"num_beams": 2, "prompt": "a picture of"})


def test_a_writer_that_knows_no_first_token_is_refused_before_it_is_asked(monkeypatch):
    monkeypatch.setattr("vlp.evals.captioning.check_scores", lambda: None)
    with pytest.raises(ValueError, match="written from the token that they begin with"):
        check_task("captioning", model=abstract_model(WRITER | {"begin_id": None}), settings={})


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--task=retrieval", "--mask-id=3"], "--mask-id does not belong to --task=retrieval"),
        (["--task=masked_words"], "needs --mask-id=ID"),
        (["--task=retrieval", "--rerank-by=match"], "--rerank-by needs --rerank=K"),
        (["--task=matching", "--beams=2"], "--beams does not belong to --task=matching"),
        (["--task=captioning", "--rerank=3"], "--rerank does not belong to --task=captioning"),
        (["--task=captioning", "--beams=9999"], "num_beams must be 1 to 1024, got 9999"),
    ],
)
def test_flags_of_other_tasks_are_refused(flags, message, capsys):
    assert main(["eval", "--model=nowhere", "--data=nothing", *flags]) == 1
    assert message in capsys.readouterr().err


def test_flags_are_the_settings_of_the_tasks():
    for task, flags in FLAGS.items():
        assert set(flags) == set(list(inspect.signature(TASKS[task].run).parameters)[2:])
