"""Segmentation on masks of a few pixels, worked out by hand, and beside other resizes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vlp.evals import segmentation
from vlp.evals.measures import intervals
from vlp.evals.overlap import overlap_scores
from vlp.evals.segmentation import IGNORED, Areas, Found, areas, upsampled

NAMES = ("sky", "cat", "dog")


def scored(said, k):
    """Scores by which each patch is of one class."""
    return np.eye(k, dtype=np.float32)[np.asarray(said)]


def together(*found):
    parts = zip(*found, strict=True)
    return Found(
        *(Areas(*(np.stack(columns) for columns in zip(*own, strict=True))) for own in parts)
    )


def values(*pictures, k=3, hit=False):
    """The metrics of pictures, each what is said of its pixels and its mask."""
    found = together(*(areas(scored(said, k), np.uint8(mask)) for said, mask in pictures))
    once = np.ones(len(pictures))
    measures = overlap_scores(found, NAMES[:k])
    return {name: (m.if_hit if hit else m.of)(once) for name, m in measures.items()}


def test_scores_of_a_tiny_mask_are_those_worked_out_by_hand():
    found = values(([[0, 0], [1, 2]], [[0, 1], [1, 1]]))
    # sky: 1 of 2 pixels in the union; cat: 1 of 3; dog is in no mask and is said once.
    assert found["IoU/sky"] == pytest.approx(1 / 2) and found["IoU/cat"] == pytest.approx(1 / 3)
    assert "IoU/dog" not in found
    assert found["mIoU"] == pytest.approx((1 / 2 + 1 / 3) / 2)
    assert found["mIoU_either"] == pytest.approx((1 / 2 + 1 / 3 + 0) / 3)
    assert found["pixel_accuracy"] == pytest.approx(2 / 4)
    assert found["mean_class_accuracy"] == pytest.approx((1 + 1 / 3) / 2)


def test_a_class_that_is_nowhere_has_no_part_in_either_mean():
    found = values(([[0, 0], [1, 1]], [[0, 0], [1, 1]]))
    assert found["mIoU"] == found["mIoU_either"] == 1


def test_ignored_pixels_count_neither_as_right_nor_in_a_union():
    ignored = values(([[0, 2], [1, 1]], [[0, IGNORED], [1, IGNORED]]))
    assert ignored["mIoU"] == ignored["mIoU_either"] == ignored["pixel_accuracy"] == 1


def test_pixels_of_all_pictures_are_counted_together_not_picture_by_picture():
    one, other = ([[0, 0]], [[0, 1]]), ([[1, 1]], [[1, 1]])
    one, other = (tuple(np.repeat(x, 2, axis=0) for x in each) for each in (one, other))
    found = values(one, other)
    assert found["IoU/sky"] == pytest.approx(1 / 2)
    assert found["IoU/cat"] == pytest.approx(4 / 6)  # the mean over pictures would be 1 / 2


def test_one_class_is_right_everywhere():
    found = values(([[0, 0], [0, 0]], [[0, 0], [0, IGNORED]]), k=1)
    assert found["mIoU"] == found["pixel_accuracy"] == 1


def test_a_picture_whose_pixels_are_all_ignored_adds_nothing():
    whole = ([[0, 0], [1, 2]], [[0, 1], [1, 1]])
    empty = ([[2, 2], [2, 2]], np.full((2, 2), IGNORED))
    assert values(whole, empty) == values(whole)


def test_without_a_pixel_that_counts_there_is_no_score():
    empty = areas(scored([[0]], 3), np.full((2, 2), IGNORED, np.uint8))
    measures = overlap_scores(together(empty), NAMES)
    assert np.isnan(measures["mIoU"].of(np.ones(1))) and measures["mIoU"].chance is None
    assert np.isnan(measures["pixel_accuracy"].of(np.ones(1)))


def test_scores_that_are_all_the_same_are_lost_and_won_as_ties():
    same = areas(np.ones((2, 2, 3), np.float32), np.uint8([[0, 1], [1, 2]]))
    measures = overlap_scores(together(same), NAMES)
    assert measures["mIoU"].of(np.ones(1)) == measures["pixel_accuracy"].of(np.ones(1)) == 0
    assert measures["mIoU"].if_hit(np.ones(1)) == 1
    assert measures["IoU/cat"].if_hit(np.ones(1)) == 1


def test_scores_that_are_no_numbers_are_never_right():
    found = areas(np.full((2, 2, 3), np.nan, np.float32), np.uint8([[0, 1], [1, 2]]))
    assert found.lost.hits.sum() == found.won.hits.sum() == 0


def test_a_label_that_is_no_class_is_refused_with_the_number_of_its_pixels():
    with pytest.raises(ValueError, match=r"3 classes, 0 to 2, or 255 .* 2 have others, up to 7"):
        areas(scored([[0]], 3), np.uint8([[0, 7], [7, IGNORED]]))


def test_chance_is_what_a_class_drawn_for_each_pixel_gives():
    rng = np.random.default_rng(0)
    labels = rng.choice(3, p=[0.7, 0.2, 0.1], size=(300, 300)).astype(np.uint8)
    drawn = scored(rng.integers(3, size=(300, 300)), 3)
    measures = overlap_scores(together(areas(drawn, labels)), NAMES)
    for name, measure in measures.items():
        assert measure.of(np.ones(1)) == pytest.approx(measure.chance, abs=0.01), name


def test_intervals_are_those_of_pictures_drawn_again_and_again():
    rng = np.random.default_rng(0)
    found = together(
        *(
            areas(scored(rng.integers(3, size=(4, 4)), 3), rng.integers(3, size=(4, 4), dtype="u1"))
            for _ in range(20)
        )
    )
    measures = overlap_scores(found, NAMES)
    spread = intervals(measures, samples=20, draws=50)
    drawn = np.random.default_rng(0)
    means, cats = [], []
    for _ in range(50):
        rows = drawn.integers(20, size=20)
        hits, there = found.lost.hits[rows].sum(axis=0), found.lost.there[rows].sum(axis=0)
        union = found.lost.said[rows].sum(axis=0) + there - hits
        means.append(np.mean(hits / union))
        cats.append(hits[1] / union[1])
    assert spread["mIoU"] == pytest.approx(np.percentile(means, [2.5, 97.5]))
    assert spread["IoU/cat"] == pytest.approx(np.percentile(cats, [2.5, 97.5]))


@pytest.mark.parametrize("shape", [(7, 9), (16, 16), (3, 2), (1, 5), (50, 4)])
def test_scores_are_resized_as_jax_does_it_without_antialiasing(shape):
    scores = np.random.default_rng(0).normal(size=(4, 4, 3)).astype(np.float32)
    own = np.concatenate([*upsampled(scores, shape)])
    other = jax.image.resize(jnp.asarray(scores), (*shape, 3), "linear", antialias=False)
    np.testing.assert_allclose(own, np.asarray(other), atol=1e-5)


def test_a_score_between_patches_is_what_one_works_out_by_hand():
    (found,) = upsampled(np.float32([[[0], [1]], [[2], [3]]]), (4, 4))
    row = [0, 0.25, 0.75, 1]
    assert found[:, :, 0].tolist() == [[x + y for x in row] for y in (0, 0.5, 1.5, 2)]


def test_pixels_that_lie_in_no_patch_have_the_scores_of_the_last():
    # Two patches of 4 pixels, and a ninth pixel.
    (found,) = upsampled(np.float32([[[0], [8]], [[0], [8]]]), (9, 9), patches=9 / 4)
    assert found[0, :, 0].tolist() == pytest.approx([0, 0, 1, 3, 5, 7, 8, 8, 8])


def test_parts_of_a_picture_give_the_areas_of_the_whole(monkeypatch):
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(4, 4, 3)).astype(np.float32)
    labels = rng.integers(3, size=(23, 31)).astype(np.uint8)
    labels[5] = IGNORED
    whole = areas(scores, labels)
    monkeypatch.setattr(segmentation, "_HELD", 4 * 31 * 3)
    assert len([*upsampled(scores, labels.shape)]) > 5
    parts = areas(scores, labels)
    for a, b in zip(jax.tree.leaves(whole), jax.tree.leaves(parts), strict=True):
        assert a.tolist() == b.tolist()
    assert whole.lost.there.sum() == 22 * 31 and whole.lost.said.sum() == 22 * 31
