"""Example queries: seeded, varied, with failures, marked truthfully."""

import numpy as np
import pytest

from vlp.evals.examples import choose, image_queries, text_queries


def gallery(n=20, d=6, seed=0):
    rng = np.random.default_rng(seed)
    zimg = rng.normal(size=(n, d)).astype(np.float32)
    image_of_text = np.concatenate([np.arange(n), np.arange(0, n, 2)])  # even images have two
    ztxt = (zimg[image_of_text] + rng.normal(size=(len(image_of_text), d))).astype(np.float32)
    return dict(
        zimg=zimg,
        ztxt=ztxt,
        image_of_text=image_of_text,
        captions=[f"caption {i}" for i in range(len(image_of_text))],
        image_at=lambda i: np.full((2, 2, 3), i, np.uint8),
    )


@pytest.mark.parametrize(
    ("hits", "fails", "expected"), [(90, 10, 3), (100, 0, 0), (5, 95, 7), (2, 1, 1), (0, 50, 12)]
)
def test_a_choice_has_as_many_failures_as_asked_where_it_can(hits, fails, expected):
    ranks = np.array([0] * hits + [50] * fails)
    chosen = choose(ranks, count=12, misses=3, top=6)
    assert len(chosen) == len(set(chosen)) == min(12, hits + fails)
    assert sum(ranks[i] >= 6 for i in chosen) == expected


def test_the_same_seed_makes_the_same_choice():
    ranks = np.arange(100) % 9
    assert choose(ranks, seed=1) == choose(ranks, seed=1) != choose(ranks, seed=2)


def test_kinds_take_turns():
    kinds = ["face"] * 95 + ["flag", "food", "tool", "sign", "bird"]
    chosen = choose(np.zeros(100, int), count=6, misses=0, kinds=kinds)
    assert {kinds[i] for i in chosen} == set(kinds)


def test_found_images_are_the_nearest_and_only_the_right_one_is_marked():
    data = gallery()
    for text, query in zip((3, 22), text_queries([3, 22], top=5, **data), strict=True):
        scores = data["zimg"] @ data["ztxt"][text]
        order = np.argsort(-scores)
        own = data["image_of_text"][text]
        assert query["query"] == f"caption {text}"
        assert [item["image"][0, 0, 0] for item in query["found"]] == order[:5].tolist()
        assert [item["right"] for item in query["found"]] == (order[:5] == own).tolist()
        assert [item["score"] for item in query["found"]] == pytest.approx(np.sort(scores)[:-6:-1])
        assert query["rank"] == order.tolist().index(own)
        assert query["answer"]["image"][0, 0, 0] == own
        assert query["candidates"] == 20


def test_found_captions_are_the_nearest_and_all_own_ones_are_right():
    data = gallery()
    for image, query in zip((4, 7), image_queries([4, 7], top=30, **data), strict=True):
        scores = data["ztxt"] @ data["zimg"][image]
        order = np.argsort(-scores)
        own = data["image_of_text"] == image
        assert [item["caption"] for item in query["found"]] == [f"caption {i}" for i in order]
        assert [item["right"] for item in query["found"]] == own[order].tolist()
        best = int(np.argmax(np.where(own, scores, -np.inf)))
        assert query["rank"] == sum(scores[~own] >= scores[best])
        assert query["caption"] == f"caption {image}"


def test_the_right_one_comes_last_among_equals():
    data = gallery() | dict(zimg=np.ones((20, 6), np.float32), ztxt=np.ones((30, 6), np.float32))
    (query,) = text_queries([0], top=6, **data)
    assert not any(item["right"] for item in query["found"])
    assert query["rank"] == 19
