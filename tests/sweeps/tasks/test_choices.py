"""Questions with candidates of their own, worked out by hand."""

import numpy as np
import pytest

from tests.sweeps.tasks.given import chances, given, values
from vlp.evals.measures import intervals
from vlp.sweeps.sets import Choices
from vlp.sweeps.tasks.choices import associations, candidates, pairs
from vlp.sweeps.tasks.table import tasks_of

EYE = np.eye(2, dtype=bool)


def asked(scores, pictures, texts, right, kinds=(), bad=(), words=None):
    """A view of questions; `scores` are of all pictures with all texts."""
    words = words or [f"text {i}" for i in range(np.shape(scores)[1])]
    choices = Choices(
        [np.asarray(p) for p in pictures],
        [np.asarray(t) for t in texts],
        [np.asarray(r, bool) for r in right],
        kinds,
    )
    return given(scores, bad=bad, texts=words, choices=choices)


def winoground(*blocks, kinds=(), bad=()):
    """Questions of two pictures and two texts each, the scores of each a block."""
    n = len(blocks)
    scores = np.zeros((2 * n, 2 * n))
    for i, block in enumerate(blocks):
        scores[2 * i : 2 * i + 2, 2 * i : 2 * i + 2] = block
    places = [[2 * i, 2 * i + 1] for i in range(n)]
    return asked(scores, places, places, [EYE] * n, kinds, bad)


BLOCKS = (
    [[0.9, 0.1], [0.2, 0.8]],  # all right
    [[0.9, 0.1], [0.8, 0.85]],  # the texts and the images are right too, but barely
    [[0.9, 0.1], [0.8, 0.2]],  # image 1 goes to text 0: the texts are wrong, the images right
    [[0.5, 0.9], [0.4, 0.95]],  # image 0 goes to text 1, text 0 to image 0, text 1 to image 1
    [[0.9, 0.8], [0.1, 0.7]],  # text 1 goes to image 0: the images are wrong
    [[0.5, 0.5], [0.5, 0.5]],  # ties everywhere
)


def test_the_scores_of_winoground_by_hand():
    found = pairs(winoground(*BLOCKS))
    assert values(found) == pytest.approx(
        {
            "text_score": 3 / 6,
            "text_score_argmax": 3 / 6,  # of all ties image 1 goes to text 0, too
            "image_score": 4 / 6,
            "image_score_argmax": 4 / 6,
            "group_score": 2 / 6,
            "group_score_argmax": 2 / 6,
        }
    )
    assert values(found, hit=True) == pytest.approx(
        {"text_score": 4 / 6, "image_score": 5 / 6, "group_score": 3 / 6}
    )
    assert chances(found)["text_score"] == chances(found)["image_score"] == 1 / 4
    assert chances(found)["group_score"] == pytest.approx(1 / 6)
    assert found.counts == {"questions": 6, "left_out": 0, "pictures": 12}
    assert found.samples == 6 and found.said["question"].tolist() == list(range(6))


def caption_pairs(*rows, kinds=(), bad=()):
    """Questions of one picture and several captions, the first of which is right."""
    scores = np.zeros((len(rows), sum(map(len, rows))))
    texts, at = [], 0
    for i, row in enumerate(rows):
        texts.append(list(range(at, at + len(row))))
        scores[i, texts[-1]] = row
        at += len(row)
    right = [[[True, *[False] * (len(row) - 1)]] for row in rows]
    return asked(scores, [[i] for i in range(len(rows))], texts, right, kinds, bad)


def test_a_tie_is_right_by_argmax_where_the_right_caption_stands_first():
    found = pairs(caption_pairs([0.5, 0.5], [0.9, 0.1], [0.1, 0.9]))
    assert values(found) == pytest.approx(
        {
            "text_score": 1 / 3, "text_score_argmax": 2 / 3,
            "group_score": 1 / 3, "group_score_argmax": 2 / 3,
        }
    )  # fmt: skip
    assert values(found, hit=True)["text_score"] == pytest.approx(2 / 3)
    assert chances(found)["text_score"] == chances(found)["group_score"] == 1 / 2


def test_scores_by_kind_and_their_mean():
    found = pairs(
        caption_pairs([0.9, 0.1], [0.9, 0.1], [0.1, 0.9], [0.9, 0.1, 0.2, 0.3],
                      kinds=("swap", "swap", "swap", "order"))
    )  # fmt: skip
    assert values(found)["text_score"] == 3 / 4
    assert values(found)["swap/text_score"] == pytest.approx(2 / 3)
    assert values(found)["order/text_score"] == 1
    assert values(found)["mean_of_kinds/text_score"] == pytest.approx((2 / 3 + 1) / 2)
    assert chances(found)["order/text_score"] == 1 / 4
    assert chances(found)["mean_of_kinds/text_score"] == pytest.approx((1 / 2 + 1 / 4) / 2)
    spread = intervals(found.measures, samples=4, draws=60)
    assert spread.keys() == found.measures.keys()


def test_a_question_with_a_picture_that_cannot_be_read_is_left_out_and_said():
    found = pairs(winoground(*BLOCKS, kinds=list("aabbcc"), bad=(3,)))
    assert found.counts == {"questions": 5, "left_out": 1, "pictures": 11}
    assert found.said["question"].tolist() == [0, 2, 3, 4, 5]
    assert found.notes[-1] == "1 questions have a picture that cannot be read"
    assert values(found)["a/group_score"] == 1


def test_constant_and_broken_embeddings_win_nothing():
    for value in (1.0, np.nan):
        found = values(pairs(winoground(*[np.full((2, 2), value)] * 3)))
        assert found["text_score"] == found["image_score"] == found["group_score"] == 0


@pytest.mark.parametrize("task", [pairs, candidates, associations])
def test_a_set_without_questions_is_refused(task):
    with pytest.raises(ValueError, match="given must have questions with candidates"):
        task(given(np.eye(2), texts=["a", "b"]))
    with pytest.raises(ValueError, match="a question whose pictures can all be read"):
        task(winoground(BLOCKS[0], bad=(0,)))
    with pytest.raises(ValueError, match=r"question 0 of given has 0 right ones of \(1, 2\)"):
        task(asked(np.eye(2), [[0]], [[0, 1]], [[[False, False]]]))


def test_only_what_asks_about_one_thing_has_candidates():
    for task in (candidates, associations):
        with pytest.raises(ValueError, match="question 0 of given has 2 pictures and 2 texts"):
            task(winoground(BLOCKS[0]))


def test_candidates_are_won_by_the_right_one_alone():
    found = candidates(caption_pairs([0.9, 0.1, 0.2], [0.5, 0.5, 0.1], [0.1, 0.2], [0.3]))
    assert values(found) == {"P@1": 2 / 4, "P@1_argmax": 3 / 4}
    assert values(found, hit=True) == {"P@1": 3 / 4}
    assert chances(found)["P@1"] == pytest.approx((1 / 3 + 1 / 3 + 1 / 2 + 1) / 4)


def test_a_candidate_that_is_the_right_one_again_is_right():
    words = ["a dog", "a cat", "a dog"]
    scores = [[0.5, 0.1, 0.5]]
    found = candidates(asked(scores, [[0]], [[0, 1, 2]], [[[True, False, False]]], words=words))
    assert values(found)["P@1"] == 1 and chances(found)["P@1"] == 1 / 2
    # A text that is asked about, and pictures as candidates, one of them twice.
    found = candidates(asked([[0.5], [0.1]], [[0, 1, 0]], [[0]], [[[True], [False], [False]]]))
    assert values(found)["P@1"] == 1 and chances(found)["P@1"] == 1 / 2


def associated(*rows):
    """Questions of one text and several pictures, the first two of which are right."""
    scores = np.zeros((sum(map(len, rows)), len(rows)))
    pictures, at = [], 0
    for i, row in enumerate(rows):
        pictures.append(list(range(at, at + len(row))))
        scores[pictures[-1], i] = row
        at += len(row)
    right = [[[place < 2] for place in range(len(row))] for row in rows]
    return asked(scores, pictures, [[i] for i in range(len(rows))], right)


def test_jaccard_by_hand_and_by_the_number_of_candidates():
    five, ten = [0.9, 0.1, 0.8, 0.0, 0.0], [0.9, 0.8, *[0.1] * 8]
    found = associations(associated(five, five, [0.5] * 6, ten))
    assert values(found) == pytest.approx(
        {
            "jaccard": (1 / 3 + 1 / 3 + 0 + 1) / 4,
            "jaccard_argsort": (1 / 3 + 1 / 3 + 0 + 1) / 4,
            "5/jaccard": 1 / 3, "5/jaccard_argsort": 1 / 3,
            "6/jaccard": 0, "6/jaccard_argsort": 0,
            "10/jaccard": 1, "10/jaccard_argsort": 1,
            "5-6/jaccard": 2 / 9, "5-6/jaccard_argsort": 2 / 9,
            "10-12/jaccard": 1, "10-12/jaccard_argsort": 1,
        }
    )  # fmt: skip
    assert values(found, hit=True)["6/jaccard"] == 1
    both, one = 1 / 10, 6 / 10  # of the ten choices of two among five
    assert chances(found)["5/jaccard"] == pytest.approx(both + one / 3)


def test_what_a_set_is_asked_when_nobody_says():
    labels = np.zeros(2, int)
    assert tasks_of(winoground(BLOCKS[0]).set) == ("pairs",)
    assert tasks_of(given(np.eye(2), labels=labels).set) == ("classification",)
    assert tasks_of(given(np.eye(2), labels=np.eye(2, dtype=bool)).set) == ("multilabel",)
    both = given(np.eye(2), labels=labels, texts=["a"], picture_of_text=labels[:1]).set
    assert tasks_of(both) == ("classification", "retrieval")


def test_one_picture_is_looked_for_among_others_and_texts_beside_pictures_are_added():
    found = given(
        [[1, 0, 0], [0.8, 0.6, 0], [0, 0, 1]],
        texts=["first axis", "second axis", "third axis"],
        choices=Choices(
            [np.array([0, 1, 2]), np.array([0, 1, 2])],
            [np.array([], int)] * 2,
            [np.array([[True], [False]]), np.array([[False], [True]])],
            beside=[np.array([-1, -1, -1]), np.array([2, -1, -1])],
        ),
    )
    # Alone picture 0 is nearest to picture 1, with the third axis beside it, to picture 2, whose
    # cosine is 0.707 against 0.566.
    assert values(candidates(found)) == {"P@1": 1.0, "P@1_argmax": 1.0}
    assert chances(candidates(found))["P@1"] == 0.5


def test_equal_pictures_with_other_texts_beside_them_are_other_candidates():
    found = given(
        [[0.6, 0.8]],
        texts=["one axis", "another"],
        choices=Choices(
            [np.array([0, 0])], [np.array([1])], [np.array([[True], [False]])],
            beside=[np.array([1, 0])],
        ),
    )  # fmt: skip
    assert chances(candidates(found))["P@1"] == 0.5
    assert values(candidates(found))["P@1"] == 1.0
