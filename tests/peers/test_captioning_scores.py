"""CIDEr and BLEU-4 of the package, and a model that writes captions judged from end to end."""

import json
import math
from collections import Counter

import numpy as np
import pytest
from flax import nnx

from data_pipelines.images import ImagePreprocess
from data_pipelines.text import train_sentencepiece
from tests.filled import filled
from tests.small.runs import SMALL, write_pairs
from vlp.cli.main import main
from vlp.evals.captioning import captioning, measures, words
from vlp.evals.embed import Encoder
from vlp.jobs.evaluator import Evaluator
from vlp.jobs.tasks import evaluate
from vlp.models.build import model_class

TRUTHS = [
    ["a red heart on a white ground", "Red heart."],
    ["a cat's face that is smiling", "the smiling face of a cat"],
    ["the flag of japan", "white flag with a red dot: Japan"],
    ["a man who raises his hand", "man, hand raised"],
    ["a house beside a tree"],
]
WRITTEN = ["a red heart", "a smiling cat's face", "the flag of japan", "a red flag", "tree"]


def grams(text, n):
    parts = words(text).split()
    return Counter(tuple(parts[i : i + n]) for i in range(len(parts) - n + 1))


def slow_cider(written, truths):
    """CIDEr-D by its paper's formulas: tf-idf of n-grams, clipped, with a penalty of lengths."""
    total = []
    for said, wanted in zip(written, truths, strict=True):
        of_n = []
        for n in range(1, 5):
            known = [set().union(*(grams(t, n) for t in texts)) for texts in truths]

            def weights(text, n=n, known=known):
                rarity = {
                    g: math.log(len(truths)) - math.log(max(1, sum(g in k for k in known)))
                    for g in grams(text, n)
                }
                return {g: count * rarity[g] for g, count in grams(text, n).items()}

            ours = weights(said)
            scores = []
            for truth in wanted:
                theirs = weights(truth)
                dot = sum(min(w, theirs.get(g, 0)) * theirs.get(g, 0) for g, w in ours.items())
                norm = math.hypot(*ours.values()) * math.hypot(*theirs.values())
                # The package takes the number of pairs of words as the length.
                gap = sum(grams(said, 2).values()) - sum(grams(truth, 2).values())
                scores.append((dot / norm if norm else dot) * math.exp(-(gap**2) / 72))
            of_n.append(np.mean(scores))
        total.append(10 * np.mean(of_n))
    return np.mean(total)


def test_cider_equals_the_formulas_of_its_paper():
    scores = captioning(WRITTEN, TRUTHS)["metrics"]
    assert scores["captions/CIDEr"] == pytest.approx(slow_cider(WRITTEN, TRUTHS), abs=1e-5)


def test_the_truth_itself_scores_full_and_captions_of_other_images_little():
    texts = [["a red heart on white"], ["the flag of far japan"], ["one man who waves hands"]]
    result = captioning([t[0] for t in texts], texts)
    assert result["metrics"]["captions/CIDEr"] == pytest.approx(10.0)
    assert result["metrics"]["captions/BLEU-4"] == pytest.approx(1.0)
    assert result["chance"]["captions/CIDEr"] < 0.5
    assert result["counts"] == {"captions/queries": 3}


def test_case_and_punctuation_do_not_count_and_nothing_written_scores_nothing():
    plain, loud = (captioning(said, TRUTHS)["metrics"] for said in (
        WRITTEN, [f"{text.upper()} !" for text in WRITTEN]
    ))  # fmt: skip
    assert plain == loud
    assert captioning([""] * 5, TRUTHS)["metrics"]["captions/CIDEr"] == 0


@pytest.mark.parametrize("rows", [[0, 1, 2, 3, 4], [1, 1, 4, 0, 1], [4, 4]])
def test_bleu_is_that_of_the_package_however_often_a_caption_counts(rows):
    from pycocoevalcap.bleu.bleu import Bleu

    said = {place: [words(WRITTEN[row])] for place, row in enumerate(rows)}
    wanted = {place: [words(text) for text in TRUTHS[row]] for place, row in enumerate(rows)}
    want, _ = Bleu(4).compute_score(wanted, said, verbose=0)
    often = np.bincount(rows, minlength=5).astype(float)
    assert measures(WRITTEN, TRUTHS)["captions/BLEU-4"].of(often) == pytest.approx(want[3])


def test_a_model_that_writes_is_judged_with_examples(tmp_path):
    data = write_pairs(tmp_path / "pairs.tar", copies=1, replace={"red-dot-0.png": b"<html>"})
    lines = [f"a {colour} {shape}" for colour in ("red", "green", "blue") for shape in "abcdefgh"]
    tokenizer = train_sentencepiece(lines, vocab_size=300, begin=True)
    sizes = dict(width=16, depth=1, num_heads=2)
    queries = dict(width=16, num_queries=3, num_heads=2)
    kwargs = dict(
        image=dict(image_size=16, patch_size=8, pool="queries", queries=queries, **sizes),
        text=dict(vocab_size=300, length=8, pool="cls_last", causal=True, **sizes),
        decoder=dict(depth=1, num_heads=2),
        embed_dim=16,
        begin_id=tokenizer.begin_id,
    )
    model = filled(lambda: model_class(kwargs)(**kwargs, rngs=nnx.Rngs(0)))
    encoder = Encoder(*nnx.split(model))
    tokenize = lambda texts: tokenizer.encode(texts, 8)  # noqa: E731
    evaluator = Evaluator(encoder, ImagePreprocess(16), tokenize, tokenizer.decode, 0, "float32")
    result = evaluate(evaluator, "captioning", data=str(data), num_beams=2)
    assert set(result["metrics"]) == set(result["chance"]) == {"captions/CIDEr", "captions/BLEU-4"}
    assert result["counts"]["captions/queries"] == len(result["examples"]) == 11
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    samples = {example["sample"]: example for example in result["examples"]}
    assert samples[0]["truth"] == "a red square" and 2 not in samples
    led = evaluate(evaluator, "captioning", data=str(data), num_beams=2, prompt="a red")
    assert [one["written"] for one in led["examples"]] != [
        one["written"] for one in result["examples"]
    ]
    assert not any(one["written"].startswith("a red") for one in led["examples"])


def test_a_bridge_to_a_frozen_tower_is_judged_by_what_it_writes(tmp_path):
    pairs, clip, blip2 = (tmp_path / name for name in ("pairs.tar", "clip", "blip2"))
    write_pairs(pairs)
    of_clip, of_blip2 = f"data={pairs},steps=2", f"data={pairs},image={clip},steps=2,captions=1"
    for config, arg, workdir in (("config.py", of_clip, clip), ("blip2.py", of_blip2, blip2)):
        assert main(["train", f"--config={SMALL / config}:{arg}", f"--workdir={workdir}"]) == 0
    result = json.loads((blip2 / "results" / "captions.json").read_text())
    assert set(result["metrics"]) == {"captions/CIDEr", "captions/BLEU-4"}
    assert all(isinstance(example["written"], str) for example in result["examples"])
