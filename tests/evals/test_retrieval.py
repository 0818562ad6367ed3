"""Retrieval recall against loops, and chance against counting."""

from itertools import combinations

import numpy as np
import pytest

from vlp.evals.gains import chance_of_recall
from vlp.evals.retrieval import retrieval


def loop_recalls(scores, image_of_text, k):
    """`scores[text, image]`; both ways, a tie counted against the model."""
    m, n = scores.shape
    texts = []
    for t in range(m):
        own = scores[t, image_of_text[t]]
        worse = sum(scores[t, i] >= own for i in range(n) if i != image_of_text[t])
        texts.append(worse < k)
    images = []
    for i in range(n):
        captions = [t for t in range(m) if image_of_text[t] == i]
        if captions:
            best = max(scores[t, i] for t in captions)
            worse = sum(scores[t, i] >= best for t in range(m) if t not in captions)
            images.append(worse < k)
    return np.mean(texts), np.mean(images)


def embeddings(seed=0, *, images=12, texts=30):
    rng = np.random.default_rng(seed)
    zimg = rng.integers(-2, 3, (images, 6)).astype(np.float32)
    image_of_text = rng.integers(0, images - 1, texts)  # the last image has no caption
    ztxt = (zimg[image_of_text] + rng.integers(-1, 2, (texts, 6))).astype(np.float32)
    return zimg, ztxt, image_of_text


@pytest.mark.parametrize("seed", range(3))
def test_recalls_with_several_captions_and_ties_equal_a_loop(seed):
    zimg, ztxt, image_of_text = embeddings(seed)
    result = retrieval(zimg, ztxt, image_of_text, ks=(1, 3))["metrics"]
    for k in (1, 3):
        to_image, to_text = loop_recalls(ztxt @ zimg.T, image_of_text, k)
        assert result[f"text_to_image/R@{k}"] == pytest.approx(to_image)
        assert result[f"image_to_text/R@{k}"] == pytest.approx(to_text)


def test_a_known_small_matrix():
    # Image 0 has captions 0 and 1, image 1 has caption 2. Caption 1 is nearer to image 1.
    zimg = np.eye(2, dtype=np.float32)
    ztxt = np.array([[0.9, 0.1], [0.3, 0.7], [0.4, 0.6]], np.float32)
    result = retrieval(zimg, ztxt, np.array([0, 0, 1]), ks=(1, 2))
    assert result["metrics"] == pytest.approx(
        {
            "text_to_image/R@1": 2 / 3,
            "text_to_image/R@2": 1.0,
            "image_to_text/R@1": 1 / 2,  # image 1 finds caption 1 before its own
            "image_to_text/R@2": 1.0,
        }
    )
    assert result["counts"] == {
        "images": 2,
        "texts": 3,
        "text_to_image/queries": 3,
        "image_to_text/queries": 2,
    }


def test_constant_embeddings_score_no_better_than_chance():
    constant = np.full((40, 8), 8**-0.5, np.float32)
    result = retrieval(constant, constant, np.arange(40))
    assert all(result["metrics"][key] <= chance for key, chance in result["chance"].items())


def test_random_embeddings_score_about_chance():
    rng = np.random.default_rng(0)
    zimg, ztxt = rng.normal(size=(2, 1500, 16)).astype(np.float32)
    result = retrieval(zimg, ztxt, np.arange(1500), ks=(100,))
    assert result["metrics"] == pytest.approx(result["chance"], abs=0.03)


def test_a_group_counts_its_queries_against_the_whole_gallery():
    zimg, ztxt, image_of_text = embeddings()
    groups = ["odd" if i % 2 else "" for i in range(12)]
    result = retrieval(zimg, ztxt, image_of_text, ks=(2,), groups=groups)
    chosen = np.flatnonzero(image_of_text % 2)
    scores = ztxt @ zimg.T
    hits = [
        sum(s >= scores[t, image_of_text[t]] for i, s in enumerate(scores[t])
            if i != image_of_text[t]) < 2
        for t in chosen
    ]  # fmt: skip
    assert result["metrics"]["odd/text_to_image/R@2"] == pytest.approx(np.mean(hits))
    assert result["counts"]["odd/text_to_image/queries"] == len(chosen)
    whole = retrieval(zimg, ztxt, image_of_text, ks=(2,))["metrics"]
    assert {key: result["metrics"][key] for key in whole} == whole


def test_a_group_without_texts_has_a_count_and_no_score():
    zimg, ztxt, image_of_text = embeddings()
    groups = [""] * 11 + ["mute"]
    result = retrieval(zimg, ztxt, image_of_text, groups=groups)
    assert result["counts"]["mute/text_to_image/queries"] == 0
    assert not any(key.startswith("mute/") for key in result["metrics"])


@pytest.mark.parametrize(("hits", "candidates", "k"), [(1, 5, 1), (2, 6, 3), (4, 6, 3), (1, 3, 9)])
def test_chance_equals_counting_all_draws(hits, candidates, k):
    draws = list(combinations(range(candidates), min(k, candidates)))
    lucky = np.mean([any(card < hits for card in draw) for draw in draws])
    assert chance_of_recall(np.array([hits]), candidates, k) == pytest.approx([lucky])


def test_a_text_of_a_missing_image_is_refused():
    z = np.ones((3, 2), np.float32)
    with pytest.raises(ValueError, match="one of 3 images, got values from 0 to 3"):
        retrieval(z, z, np.array([0, 1, 3]))


def test_groups_of_another_length_are_refused():
    z = np.ones((3, 2), np.float32)
    with pytest.raises(ValueError, match="one label an image, got 2 for 3 images"):
        retrieval(z, z, np.arange(3), groups=["a", "b"])
    with pytest.raises(ValueError, match="got 0 images"):
        retrieval(z[:0], z, np.arange(3))


def test_chance_of_an_image_grows_with_its_captions():
    zimg, ztxt, _ = embeddings(images=12, texts=36)
    three_each = np.repeat(np.arange(12), 3)
    chance = retrieval(zimg, ztxt, three_each, ks=(1, 2))["chance"]
    assert chance["image_to_text/R@1"] == pytest.approx(3 / 36)
    assert chance["image_to_text/R@2"] == pytest.approx(1 - 33 * 32 / (36 * 35))
    assert chance["text_to_image/R@2"] == pytest.approx(2 / 12)
