"""Zero-shot classification: the classes' names, in prompts, are the classifier."""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Bool, Float, Int

from vlp.evals.class_scores import class_scores
from vlp.evals.measures import scores_of
from vlp.evals.ranks import class_ranks
from vlp.evals.unit_norm import unit_norm


def class_embeddings(
    names: Sequence[str],
    templates: Sequence[str],
    embed_texts: Callable[[list[str]], np.ndarray],
) -> Float[np.ndarray, "k d"]:
    """One unit-norm vector a class: the mean of its prompts' unit-norm embeddings, normalised.

    Args:
      names: Class names, in the order of the labels.
      templates: Prompts with one `{}` for the name; see `prompts.templates`.
      embed_texts: Strings to rows `[n,d]`.

    Raises:
      ValueError: If names or templates are missing.

    References:
      Radford et al., Learning Transferable Visual Models, 2021, section 3.1.4.
    """
    if not names or not templates:
        raise ValueError(
            "class_embeddings needs names and templates, got "
            f"{len(names)} names and {len(templates)} templates"
        )
    vectors = unit_norm(np.asarray(embed_texts(_prompts(names, templates)), np.float32))
    return unit_norm(vectors.reshape(len(names), len(templates), -1).mean(axis=1))


def check_prompts(
    names: Sequence[str],
    templates: Sequence[str],
    tokenize: Callable[[list[str]], np.ndarray],
) -> list[str]:
    """Refuses classes that the model cannot tell apart, for the tokens of their prompts are equal.

    Args:
      names, templates: As for `class_embeddings`.
      tokenize: Strings to int32 `[n,l]`.

    Returns:
      A sentence on the prompts that may have been cut, where there are any.

    Raises:
      ValueError: All prompts of two classes have the same tokens.
    """
    ids = tokenize(_prompts(names, templates))
    _, class_of, count = np.unique(
        ids.reshape(len(names), -1), axis=0, return_inverse=True, return_counts=True
    )
    if count.max() > 1:
        alike = np.flatnonzero(class_of.reshape(-1) == count.argmax())
        one, other = (names[place] for place in alike[:2])
        raise ValueError(
            f"classes must differ in their prompts, {one!r} and {other!r} have the same "
            f"{ids.shape[1]} tokens in all of them, as {len(alike):,} of {len(names):,} classes; "
            "take shorter templates, in which the name is not cut off, or write other names"
        )
    full = int(_are_full(ids, tokenize([""])[0]).sum())
    said = f"{full:,} of {len(ids):,} prompts fill all {ids.shape[1]} tokens: longer ones were cut"
    return [said] if full else []


def classification(
    zimg: Float[np.ndarray, "n *q d"],
    zclass: Float[np.ndarray, "k d"],
    labels: Int[np.ndarray, " n"],
) -> dict[str, dict[str, float | int]]:
    """Top-1 and top-5 accuracy and mean per-class recall, a tie counted as a miss.

    Args:
      zimg: Unit-norm image embeddings.
      zclass: `class_embeddings`.
      labels: Index of each image's class.

    Returns:
      `metrics`, `chance`, `low` and `high` (of the 95 % interval) with the keys `top1`, `top5`
      (only where there are more than five classes) and `mean_per_class_recall`, and `counts`
      (`images`, `classes`). Chance is one guess among the classes; `majority_share`, in `chance`,
      is the top-1 score of always answering the commonest class.

    Raises:
      ValueError: If a label is not a class or there are no images.
    """
    n, k = zimg.shape[0], zclass.shape[0]
    if n == 0:
        raise ValueError("classification needs at least one image, got 0")
    if labels.min() < 0 or labels.max() >= k:
        raise ValueError(
            f"labels must lie in 0..{k - 1}, got {labels.min()}..{labels.max()}; "
            "give a name for every class"
        )
    scores = class_scores(class_ranks(zimg, zclass, labels), labels, num_classes=k)
    names = [name for name in ("top1", "top5", "mean_per_class_recall") if name != "top5" or k > 5]
    result = scores_of({name: scores[name] for name in names}, samples=n)
    result["chance"]["majority_share"] = int(np.bincount(labels, minlength=k).max()) / n
    return result | {"counts": {"images": n, "classes": k}}


def _prompts(names: Sequence[str], templates: Sequence[str]) -> list[str]:
    return [template.replace("{}", name) for name in names for template in templates]


def _are_full(ids: Int[np.ndarray, "n l"], blank: Int[np.ndarray, " l"]) -> Bool[np.ndarray, " n"]:
    """Which rows of tokens have no padding; `blank` is the row of no words."""
    if ids.shape[1] < 3:
        return np.ones(len(ids), bool)
    # Beside the end token on the right, or at the left end, where padding stands there.
    column = ids[:, 0] if blank[0] == blank[1] else ids[:, -2]
    return ~np.isin(column, blank)
