"""Zero-shot classification against loops in numpy."""

import numpy as np
import pytest

from vlp.evals.classification import check_prompts, class_embeddings, classification


def fake_embed(texts):
    """A vector a string, of lengths other than one."""
    seeds = [sum(map(ord, text)) for text in texts]
    return np.stack([np.random.default_rng(s).normal(size=6) * (1 + s % 5) for s in seeds])


def test_class_embeddings_normalise_each_prompt_and_their_mean():
    names, templates = ["cat", "dog", "bee"], ["{}", "a photo of a {}."]
    rows = []
    for name in names:
        prompts = [fake_embed([template.replace("{}", name)])[0] for template in templates]
        mean = np.mean([p / np.linalg.norm(p) for p in prompts], axis=0)
        rows.append(mean / np.linalg.norm(mean))
    np.testing.assert_allclose(class_embeddings(names, templates, fake_embed), rows, rtol=1e-5)


def test_braces_in_a_class_name_stay_as_they_are():
    asked = []

    def embed(texts):
        asked.extend(texts)
        return fake_embed(texts)

    class_embeddings(["{0.__class__}", "{"], ["a {} b"], embed)
    assert asked == ["a {0.__class__} b", "a { b"]


@pytest.mark.parametrize(("names", "templates"), [([], ["{}"]), (["cat"], [])])
def test_class_embeddings_without_names_or_templates_are_refused(names, templates):
    with pytest.raises(ValueError, match="needs names and templates"):
        class_embeddings(names, templates, fake_embed)


def test_scores_equal_a_loop():
    rng = np.random.default_rng(0)
    zimg = rng.integers(-2, 3, (50, 4)).astype(np.float32)
    zclass = rng.integers(-2, 3, (8, 4)).astype(np.float32)
    labels = rng.choice([0, 1, 1, 1, 5, 7], 50)
    logits = zimg @ zclass.T
    pairs = zip(logits, labels, strict=True)
    ranks = np.array([sum(row[j] >= row[y] for j in range(8) if j != y) for row, y in pairs])
    result = classification(zimg, zclass, labels)
    recalls = [(ranks[labels == k] == 0).mean() for k in (0, 1, 5, 7)]
    assert result["metrics"] == pytest.approx(
        {
            "top1": (ranks == 0).mean(),
            "top5": (ranks < 5).mean(),
            "mean_per_class_recall": np.mean(recalls),
        }
    )
    assert result["chance"] == pytest.approx(
        {
            "top1": 1 / 8,
            "top5": 5 / 8,
            "mean_per_class_recall": 1 / 8,
            "majority_share": (labels == 1).mean(),
        }
    )
    assert result["counts"] == {"images": 50, "classes": 8}


def test_top5_of_five_classes_is_left_out():
    z = np.eye(5, dtype=np.float32)
    result = classification(z, z, np.arange(5))
    assert result["metrics"] == {"top1": 1.0, "mean_per_class_recall": 1.0}


def test_classes_that_look_all_the_same_score_nothing():
    zimg = np.random.default_rng(0).normal(size=(30, 4)).astype(np.float32)
    result = classification(zimg, np.ones((6, 4), np.float32), np.arange(30) % 6)
    assert set(result["metrics"].values()) == {0.0}


def test_labels_without_a_class_are_refused():
    z = np.eye(3, dtype=np.float32)
    with pytest.raises(ValueError, match=r"lie in 0..2, got 0..3"):
        classification(z, z, np.array([0, 1, 3]))
    with pytest.raises(ValueError, match="at least one image"):
        classification(z[:0], z, np.zeros(0, int))


def words(length, *, left=False):
    """A tokenizer of words: ids from 2 on, the end token 1, padding 0."""

    def tokenize(texts):
        rows = [
            [2 + sum(map(ord, word)) % 9999 for word in text.split()][: length - 1]
            for text in texts
        ]
        padded = [np.pad([*row, 1], (0, length - 1 - len(row))) for row in rows]
        return np.asarray([np.roll(row, (row == 0).sum()) for row in padded] if left else padded)

    return tokenize


def test_classes_whose_names_are_cut_off_are_refused():
    names = ["sea", "a very old tree", "a very old house"]
    with pytest.raises(ValueError, match="'a very old tree' and 'a very old house' .* 2 of 3 cl"):
        check_prompts(names, ["{}", "{} here"], words(4))
    with pytest.raises(ValueError, match="same 4 tokens .* 3 of 3 .* take shorter templates"):
        check_prompts(names, ["a photo of {}"], words(4))
    assert check_prompts(names, ["a photo of {}", "{}", "of {}"], words(9)) == []


@pytest.mark.parametrize("left", [False, True])
def test_prompts_that_fill_their_row_are_counted(left):
    tokenize = words(4, left=left)
    said = check_prompts(["red", "light blue"], ["{}", "a {}", "some {} thing"], tokenize)
    assert said == ["3 of 6 prompts fill all 4 tokens: longer ones were cut"]
    assert check_prompts(["red", "blue"], ["{}", "a {}"], tokenize) == []
