"""Matching: which pairs are asked about, and what the answers score."""

import numpy as np
import pytest

from vlp.evals.matching import matching, mined_pairs


def slow_pairs(zimg, ztxt, *, image_of_text, text):
    """All pairs by loops."""
    n, m = len(zimg), len(ztxt)
    equal = [[(text[a] == text[b]).all() for b in range(m)] for a in range(m)]
    belongs = [
        [any(image_of_text[u] == i and equal[u][t] for u in range(m)) for t in range(m)]
        for i in range(n)
    ]
    pairs = [(int(image_of_text[t]), t, 0) for t in range(m)]
    for i in sorted(set(image_of_text.tolist())):
        wrong = [t for t in range(m) if not belongs[i][t]]
        if wrong:
            pairs.append((i, max(wrong, key=lambda t: zimg[i] @ ztxt[t]), 1))
    for t in range(m):
        wrong = [i for i in range(n) if not belongs[i][t]]
        if wrong:
            pairs.append((max(wrong, key=lambda i: zimg[i] @ ztxt[t]), t, 2))
    return pairs


@pytest.mark.parametrize("seed", range(4))
def test_wrong_partners_are_the_nearest_that_are_no_match_as_by_loops(seed):
    rng = np.random.default_rng(seed)
    zimg, ztxt = rng.normal(size=(8, 4)), rng.normal(size=(15, 4))
    owners, text = rng.integers(0, 7, 15), rng.integers(0, 2, (15, 3))  # many equal captions
    found = mined_pairs(zimg, ztxt, image_of_text=owners, text=text)
    assert sorted(zip(*map(np.ndarray.tolist, found), strict=True)) == sorted(
        slow_pairs(zimg, ztxt, image_of_text=owners, text=text)
    )


def test_an_equal_caption_is_never_a_wrong_one():
    z = np.eye(3, dtype=np.float32)
    text = np.array([[5, 6], [5, 6], [7, 8]])
    found = mined_pairs(z, z + z[[1, 0, 2]], image_of_text=np.arange(3), text=text)
    wrong = found.kind > 0
    for image, caption in zip(found.images[wrong], found.texts[wrong], strict=True):
        assert (text[image] != text[caption]).any()


def test_who_has_no_wrong_partner_is_not_asked():
    z = np.eye(2, dtype=np.float32)
    owners, text = np.array([0, 0, 1]), np.array([[5], [6], [5]])
    found = mined_pairs(z, np.ones((3, 2), np.float32), image_of_text=owners, text=text)
    # Both images have caption 5, so that only caption 6 and image 1 make a wrong pair.
    wrong = list(zip(*(part[found.kind > 0].tolist() for part in found), strict=True))
    assert wrong == [(1, 1, 1), (1, 1, 2)]
    with pytest.raises(ValueError, match="two different captions"):
        mined_pairs(z, z, image_of_text=np.arange(2), text=np.array([[5], [5]]))


def test_scores_of_known_answers():
    odds = np.array([2.0, 1.0, -1.0, 3.0, -2.0, 1.5, -1.0, 0.0])
    kind = np.array([0, 0, 0, 0, 1, 1, 2, 2])
    result = matching(odds, kind)
    # AUC by counting: of 16 (true, wrong) pairs 11 in order, and -1 twice.
    counted = np.mean([(a > b) + 0.5 * (a == b) for a in odds[:4] for b in odds[4:]])
    assert result["metrics"] == pytest.approx(
        {
            "all/accuracy": 5 / 8,  # 0 is no answer
            "all/balanced": (3 / 4 + 2 / 4) / 2,
            "all/auc": counted,
            "true_pairs/accuracy": 3 / 4,
            "wrong_captions/accuracy": 1 / 2,
            "wrong_images/accuracy": 1 / 2,
        }
    )
    assert result["chance"] == {"all/accuracy": 0.5, "all/balanced": 0.5, "all/auc": 0.5}
    assert result["counts"]["wrong_images/queries"] == 2 and result["counts"]["all/queries"] == 8


def test_a_model_that_says_the_same_of_all_is_no_better_than_chance():
    kind = np.array([0, 0, 1, 1, 2, 2])
    for constant in (-1.0, 0.0, 1.0, np.nan):
        result = matching(np.full(6, constant), kind)
        for name, chance in result["chance"].items():
            assert result["metrics"][name] <= chance
