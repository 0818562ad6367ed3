"""Retrieval, worked out by hand."""

import numpy as np
import pytest

from tests.sweeps.tasks.given import chances, given, values
from vlp.evals.measures import intervals
from vlp.sweeps.tasks.retrieval import retrieval
from vlp.sweeps.tasks.table import check_task

# Captions a and b are of picture 0, c of picture 1, d of picture 3; picture 2 has none.
OF = np.array([0, 0, 1, 3])
SCORES = [
    #  a    b    c    d
    [0.9, 0.2, 0.1, 0.0],
    [0.3, 0.6, 0.5, 0.1],
    [0.1, 0.1, 0.1, 0.8],
    [0.2, 0.1, 0.5, 0.7],
]


def judged(scores=SCORES, texts="abcd", of=OF, bad=(), groups=None, **settings):
    view = given(scores, bad=bad, texts=list(texts), picture_of_text=of, groups=groups or {})
    return retrieval(view, ks=(1, 2, 5), **settings)


def test_recalls_are_those_worked_out_by_hand():
    found = judged()
    assert values(found) == pytest.approx(
        {
            # a finds 0; b finds 1 first; c is as near to 3 as to its own; d finds 2 first
            "text_to_image/R@1": 1 / 4,
            "text_to_image/R@2": 4 / 4,
            # 0 finds a; 1 finds b first; 2 has none; 3 finds d
            "image_to_text/R@1": 2 / 4,
            "image_to_text/R@2": 3 / 4,
        }
    )
    assert values(found, hit=True)["text_to_image/R@1"] == 2 / 4
    assert chances(found) == pytest.approx(
        {
            "text_to_image/R@1": 1 / 4,
            "text_to_image/R@2": 2 / 4,
            "image_to_text/R@1": (2 / 4 + 1 / 4 + 0 + 1 / 4) / 4,
            "image_to_text/R@2": (1 - 1 / 6 + 1 / 2 + 0 + 1 / 2) / 4,
        }
    )
    assert found.counts == {"pictures": 4, "texts": 4, "without_caption": 1}
    assert found.notes == [
        "a note",
        "1 pictures without captions count as misses of image to text; those with captions alone: "
        "R@1 0.6667, R@2 1.0000, R@5 1.0000",
        "no R@5 where there are fewer candidates: 4 pictures and 4 captions",
    ]


def test_what_mteb_counts_is_of_the_queries_that_have_a_right_one():
    found = values(judged(also=("hit_rate", "recall", "nDCG")))
    assert found["image_to_text/R@1"] == 2 / 4
    assert found["image_to_text/hit_rate@1"] == pytest.approx(2 / 3)
    # 0 has a and b: a is first, b second; 1 has c second; 3 has d first
    assert found["image_to_text/recall@1"] == pytest.approx((1 / 2 + 0 + 1) / 3)
    assert found["image_to_text/recall@2"] == 1
    second = 1 / np.log2(3)
    assert found["image_to_text/nDCG@2"] == pytest.approx((1 + second + 1) / 3)
    assert found["image_to_text/nDCG@5"] == pytest.approx((1 + second + 1) / 3)
    # a first, b second, c tied with one and so second, d second
    assert found["text_to_image/nDCG@2"] == pytest.approx((1 + 3 * second) / 4)
    assert "image_to_text/recall@5" not in found
    won = values(judged(also=("nDCG",)), hit=True)
    assert won["text_to_image/nDCG@2"] == pytest.approx((2 + 2 * second) / 4)


def test_asking_for_more_changes_no_recall():
    plain, more = judged(), judged(also=("recall",))
    for name, measure in plain.measures.items():
        other = more.measures[name]
        once = np.ones(4)
        assert (measure.of(once), measure.if_hit(once)) == (other.of(once), other.if_hit(once))
        assert measure.chance == other.chance


def test_a_model_that_says_the_same_of_all_finds_nothing_and_with_ties_won_all():
    found = judged(np.ones((4, 4)), also=("hit_rate", "recall", "nDCG"))
    lost, won = values(found), values(found, hit=True)
    assert {name for name, value in lost.items() if value} == {
        "text_to_image/nDCG@5", "image_to_text/nDCG@5"
    }  # fmt: skip
    # text to image: the fourth of four; image to text: behind two others, or behind three
    assert lost["text_to_image/nDCG@5"] == pytest.approx(1 / np.log2(5))
    both = (1 / 2 + 1 / np.log2(5)) / (1 + 1 / np.log2(3))
    assert lost["image_to_text/nDCG@5"] == pytest.approx((both + 2 / np.log2(5)) / 3)
    assert won["image_to_text/R@1"] == 3 / 4 and won["image_to_text/nDCG@5"] == 1
    assert won["text_to_image/R@1"] == 1


def test_captions_of_the_same_words_tie_or_are_one():
    scores = [[0.9, 0.1], [0.8, 0.3], [0.1, 0.6]]  # pictures 0 and 1 are both called a, 2 is b
    apart = judged(scores, "aab", np.arange(3))
    assert apart.counts["texts"] == 3
    assert values(apart)["text_to_image/R@1"] == pytest.approx(2 / 3)  # 1 comes behind 0
    assert values(apart)["image_to_text/R@1"] == pytest.approx(1 / 3)
    assert values(apart, hit=True)["image_to_text/R@1"] == 1
    one = judged(scores, "aab", np.arange(3), equal="one", also=("recall", "nDCG"))
    assert one.counts["texts"] == 2
    found = values(one)
    assert found["text_to_image/R@1"] == 1 == found["image_to_text/R@1"]
    assert found["text_to_image/recall@1"] == pytest.approx((1 / 2 + 1) / 2)
    assert found["text_to_image/recall@2"] == found["text_to_image/nDCG@2"] == 1
    assert chances(one)["text_to_image/R@1"] == pytest.approx((2 / 3 + 1 / 3) / 2)


def test_one_caption_twice_at_one_picture_is_one_right_caption_of_it():
    one = judged(
        [[0.9, 0.1], [0.2, 0.3]], "aab", np.array([0, 0, 1]), equal="one", also=("recall",)
    )
    assert one.counts["texts"] == 2 and values(one)["image_to_text/recall@1"] == 1


def test_nan_is_never_found():
    scores = np.array(SCORES)
    scores[0] = np.nan
    found = judged(scores)
    assert values(found)["image_to_text/R@1"] == 1 / 4
    # the picture without a score ties with what others are asked for, and is not found itself
    assert values(found)["text_to_image/R@1"] == 0
    assert values(found, hit=True)["text_to_image/R@1"] == 1 / 4


def test_pictures_that_cannot_be_read_are_no_candidates_and_their_captions_no_queries():
    found = judged(bad=(2,))
    assert found.counts == {"pictures": 3, "texts": 4, "without_caption": 0}
    assert values(found)["text_to_image/R@1"] == 2 / 4  # now d finds 3
    assert judged(bad=(0,)).counts == {"pictures": 3, "texts": 2, "without_caption": 1}


def test_groups_are_asked_among_all_candidates():
    found = judged(groups={"light": ["day", "night", "day", ""]}, group="light", also=("nDCG",))
    assert values(found)["day/text_to_image/R@1"] == 1 / 2
    assert values(found)["night/text_to_image/R@1"] == 0
    assert values(found)["day/image_to_text/R@1"] == 1 / 2  # picture 2 is asked, too
    assert values(found)["day/image_to_text/nDCG@1"] == 1
    assert chances(found)["night/image_to_text/R@1"] == 1 / 4
    with pytest.raises(ValueError, match="group must be a field of the set, given has none"):
        judged(group="light")


@pytest.mark.parametrize(
    ("known", "said"),
    [
        (dict(of=None), "retrieval needs captions, given has none"),
        (dict(texts=""), "retrieval needs captions, given has none"),
        (dict(bad=(0, 1, 2, 3)), "must hold a picture that can be read"),
        (dict(bad=(0, 1, 3)), "must hold a caption of a picture that can be read"),
        (dict(also=("MRR",)), "also must be one of hit_rate, recall, nDCG, got 'MRR'"),
        (dict(equal="same"), "equal must be one of apart, one, got 'same'"),
        (dict(rerank=2, equal="one"), "rerank needs equal captions 'apart'"),
        (dict(rerank=-1), "rerank must be 1 at least"),
    ],
)
def test_what_cannot_be_judged_is_refused(known, said):
    with pytest.raises(ValueError, match=said):
        judged(**known)


def test_cut_offs_must_be_places():
    with pytest.raises(ValueError, match="ks must be whole numbers from 1 on"):
        check_task("retrieval", {"ks": [0, 5]})
    with pytest.raises(ValueError, match="rerank_by needs rerank"):
        check_task("retrieval", {"rerank_by": "match"})
    check_task("retrieval", {"ks": [1, 5], "also": ["nDCG"], "rerank": 16, "rerank_by": "match"})


def test_every_score_has_an_interval():
    found = judged(also=("recall", "nDCG"), groups={"g": list("aabb")}, group="g")
    spread = intervals(found.measures, samples=4, draws=60)
    assert spread.keys() == found.measures.keys()


def test_the_mean_of_both_ways_is_there_where_it_is_asked_for():
    found = judged(mean=True)
    assert values(found)["mean/R@1"] == pytest.approx((1 / 4 + 2 / 4) / 2)
    assert values(found)["mean/R@2"] == pytest.approx((4 / 4 + 3 / 4) / 2)
    assert chances(found)["mean/R@1"] == pytest.approx((1 / 4 + 1 / 4) / 2)
    assert values(found, hit=True)["mean/R@1"] >= values(found)["mean/R@1"]
