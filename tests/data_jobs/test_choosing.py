"""Filters by rules and by score, balancing, labels: against plain Python and numpy."""

from collections import Counter
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from data_pipelines.jobs.balance import by_queries
from data_pipelines.jobs.facts import gather_facts
from data_pipelines.jobs.label import by_nouns, write_vocabulary
from data_pipelines.jobs.rules import Rules, by_rules
from data_pipelines.jobs.scores import Wanted, best_scores, by_score, least_score
from data_pipelines.jobs.verdicts import judge
from data_pipelines.jobs.words import Phrases
from tests.data_jobs.planted import encoded, lines, noise, write_samples

WORDS = ("cat", "dog", "red", "ice cream", "tree", "house", "car", "sea", "sun", "boat")


def judged(work, flags, judging, *, pictures=False):
    gather_facts(work, flags, pictures=pictures)
    judge(work, flags, judging)
    return lines(work.out)


def captions(count, seed=0):
    rng = np.random.default_rng(seed)
    weights = 1 / np.arange(1, len(WORDS) + 1)
    drawn = (rng.choice(WORDS, 1 + i % 3, p=weights / weights.sum()) for i in range(count))
    return ["a " + " and a ".join(words) for words in drawn]


def test_each_rule_finds_what_was_planted_for_it_and_nothing_else(tmp_path, start, flags):
    good = "a photo of a cat on the sofa"
    picture = encoded(noise(1, size=64))
    planted = {
        "": (picture, good),
        "picture small": (encoded(noise(1, size=20)), good),
        "picture narrow": (encoded(noise(1).resize((320, 64))), good),
        "picture empty": (encoded(Image.new("RGB", (64, 64), "white")), good),
        "caption of few words": (picture, "IMG_2041.jpg"),
        "caption of many words": (picture, " ".join(["word"] * 40)),
        "caption of few characters": (picture, "a b c"),
        "caption with a forbidden word": (picture, "buy this cat Free Shipping today"),
        "caption in another language": (picture, "ein Foto von einer Katze auf dem Sofa"),
        "image damaged": (b"\x89PNG\r\n\x1a\n and nothing more", good),
        "caption missing": (picture, ""),
    }
    data = write_samples(tmp_path / "d.tar", planted.values())
    rules = Rules(
        min_side=32, max_aspect=3, min_spread=2, min_words=3, max_words=30, min_characters=6,
        languages=("en",), forbidden=("free shipping",),
    )  # fmt: skip
    work = start(data)
    found = judged(work, flags, partial(by_rules, work=work, rules=rules), pictures=True)
    reasons = [line.get("reason", "") for line in found]
    assert [r.replace("truncated", "damaged") for r in reasons] == list(planted)


def test_a_filter_without_a_rule_is_refused():
    with pytest.raises(ValueError, match="needs a rule"):
        Rules()


def test_phrases_are_whole_words_in_any_case():
    phrases = Phrases(["Cat", "ice cream", "cat food", "c++"])
    assert phrases.found("CAT food and Ice  Cream") == [0, 2]
    assert phrases.found("concatenate, bobcat, cats") == []
    assert phrases.found("ice cream in c++") == [1, 3]


def stored(tmp_path, name, ids, vectors):
    stem = tmp_path / name
    np.save(f"{stem}.npy", vectors)
    pq.write_table(pa.table({"id": ids}), f"{stem}.parquet")
    return str(stem)


@pytest.fixture
def scored(tmp_path):
    """Data of 20 samples in two shards of vectors; sample 4 has no picture, sample 9 no caption."""
    rng = np.random.default_rng(0)
    data = write_samples(tmp_path / "d.tar", [(encoded(noise(i)), "words") for i in range(20)])
    shards, best = [], {}
    for k in range(2):
        ids = np.arange(10 * k, 10 * k + 10)
        of_images, of_captions = ids[ids != 4], np.sort(np.r_[ids[ids != 9], ids[ids % 3 == 0][:2]])
        of_captions = of_captions[of_captions != 9]
        x, y = (rng.standard_normal((len(each), 8)) for each in (of_images, of_captions))
        x, y = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in (x, y))
        x, y = x.astype(np.float32), y.astype(np.float32)
        for place, i in enumerate(of_captions):
            for image in x[of_images == i]:
                best[int(i)] = max(best.get(int(i), -1), float(image @ y[place]))
        shards.append(
            (stored(tmp_path, f"i{k}", of_images, x), stored(tmp_path, f"c{k}", of_captions, y))
        )
    return data, shards, best


@pytest.mark.parametrize("share", [0.1, 0.3, 1.0])
def test_the_best_share_by_score_stays(scored, start, flags, share):
    data, shards, best = scored
    work = start(data)
    least = least_score(work, flags, shards, share)
    found = judged(work, flags, partial(by_score, samples=20, shards=shards, least=least))
    order = sorted(best, key=best.get, reverse=True)
    assert {line["index"] for line in found if line["kept"]} == set(
        order[: int(np.ceil(share * 18))]
    )
    assert all(
        line["score"] == pytest.approx(best[line["index"]], abs=2e-6)
        for line in found
        if "score" in line
    )
    assert {line["index"] for line in found if line.get("reason") == "no score"} == {4, 9}


def test_a_cosine_that_is_kept_is_of_its_share_alone(scored, start, flags):
    data, shards, _ = scored
    work = start(data)
    least = least_score(work, flags, shards, 0.3)
    assert least_score(work, flags, [], 0.3) == least  # not reckoned again
    with pytest.raises(ValueError, match=r"must be of the share 0\.5, it is of 0\.3"):
        least_score(work, flags, shards, 0.5)


def test_scores_from_the_threshold_on_stay(scored, start, flags):
    data, shards, best = scored
    work = start(data)
    found = judged(work, flags, partial(by_score, samples=20, shards=shards, least=0.1))
    assert {line["index"] for line in found if line["kept"]} == {i for i in best if best[i] >= 0.1}


def test_a_score_is_of_the_best_caption():
    x = np.eye(3, dtype=np.float32)
    y = np.array([[0.6, 0.8, 0], [0.8, 0.6, 0], [0, 0, 1]], np.float32)
    ids, scores = best_scores(np.array([0, 1, 5]), x, np.array([0, 0, 5]), y)
    assert ids.tolist() == [0, 5] and scores.tolist() == pytest.approx([0.8, 1.0])


def test_a_filter_by_score_needs_a_threshold_or_a_share():
    for wanted in ({}, {"threshold": 0.3, "share": 0.3}, {"share": 1.5}, {"threshold": 2.0}):
        with pytest.raises(ValueError):
            Wanted(**wanted)


def test_of_each_query_at_most_so_many_pairs_stand_for_it(tmp_path, start, flags):
    texts = captions(60)
    data = write_samples(tmp_path / "d.tar", [(encoded(noise(0)), text) for text in texts])
    queries = ("cat", "dog", "red", "ice cream", "tree", "boat")
    work = start(data, part_size=20)
    how = dict(queries=queries, method="clip", most=5)
    found = judged(work, flags, partial(by_queries, work=work, **how))
    # Brute force: whole words are those between blanks here.
    has = {q: [i for i, text in enumerate(texts) if f" {q} " in f" {text} "] for q in queries}
    stands = Counter(q for line in found for q in line.get("queries", ()))
    assert stands == {q: min(5, len(has[q])) for q in queries}
    assert all(line["index"] in has[q] for line in found for q in line.get("queries", ()))
    none = {i for i in range(60) if not any(i in rows for rows in has.values())}
    assert {line["index"] for line in found if line.get("reason") == "no query"} == none


def test_metaclip_keeps_rare_queries_and_about_so_many_pairs_of_frequent_ones(
    tmp_path, start, flags
):
    texts = ["a cat"] * 400 + ["a boat"] * 10
    data = write_samples(tmp_path / "d.tar", [(encoded(noise(0, size=8)), text) for text in texts])
    work = start(data, part_size=100)
    how = dict(queries=("cat", "boat"), method="metaclip", most=100)
    found = judged(work, flags, partial(by_queries, work=work, **how))
    kept = [line["kept"] for line in found]
    assert all(kept[400:])
    assert abs(sum(kept[:400]) - 100) < 4 * np.sqrt(400 * 0.25 * 0.75)


def write_wordnet(folder):
    """Six nouns as WordNet writes them."""
    folder.mkdir()
    (folder / "index.noun").write_text(
        "  1 This software and database is being provided to you\n"
        "cat n 8 5 @ ~ #m %p - 8 1 02121620 09900153 03608870\n"
        "dog n 7 5 @ ~ #m #p %p 7 1 02084071 10114209\n"
        "domestic_dog n 1 5 @ ~ #m #p %p 1 0 02084071\n"
        "ice n 8 2 @ ~ 8 1 14915184\n"
        "ice_cream n 1 3 @ ~ ; 1 1 07614500\n"
        "woman n 4 2 @ ~ 4 1 10787470\n"
    )
    (folder / "noun.exc").write_text("women woman\n")
    return str(folder)


def test_labels_are_the_frequent_synsets_of_the_captions(tmp_path, start, flags):
    texts = ["two cats", "a cat, a dog", "dogs and domestic dogs", "women", "ice cream", "the sea"]
    data = write_samples(tmp_path / "d.tar", [(encoded(noise(0)), text) for text in texts])
    work = start(data, part_size=2)
    wordnet = write_wordnet(tmp_path / "wn")
    gather_facts(work, flags, pictures=False)
    vocabulary = write_vocabulary(work, flags, wordnet=wordnet, min_count=2)
    found = judged(work, flags, partial(by_nouns, work=work, wordnet=wordnet))
    assert vocabulary.read_text() == "n02084071 dog 2\nn02121620 cat 2\n"
    assert [line.get("meta", {}).get("labels") for line in found] == [
        [1], [0, 1], [0], None, None, None,
    ]  # fmt: skip
    assert {line["reason"] for line in found[3:]} == {"no label"}
