"""Text-to-image and image-to-text retrieval: recall@k both ways, beside chance."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from vlp.evals.measures import Measure, scores_of
from vlp.evals.ranks import gallery_ranks
from vlp.evals.ways import HIT, Way

COUNTED = {"image": "images", "text": "texts", "audio": "sounds"}


class Ranks(NamedTuple):
    """Ranks of the right answers, 0 = first.

    Attributes:
      texts: Asked by a text: the rank of its image.
      images: Asked by an image that has a text: the rank of the best of them.
    """

    texts: Int[np.ndarray, " m"]
    images: Int[np.ndarray, " i"]


def retrieval(
    zimg: Float[np.ndarray, "n *q d"],
    ztxt: Float[np.ndarray, "m d"],
    image_of_text: Int[np.ndarray, " m"],
    *,
    ks: Sequence[int] = (1, 5, 10),
    groups: Sequence[str] | None = None,
) -> dict[str, dict[str, float | int]]:
    """Recall@k both ways over the whole gallery, ties counted against the model.

    Text to image: the share of texts whose image is among the first k. Image to text: the share
    of images of which at least one text is among the first k; images without a text are no
    queries, but stay in the gallery.

    Args:
      zimg: Unit-norm image embeddings.
      ztxt: Unit-norm text embeddings; an image may have any number of texts.
      image_of_text: Row of `zimg` each text describes.
      ks: Cut-offs.
      groups: A label for each image, for a result over the queries of one group (an image, or a
        text of that image) against the complete gallery; "" = in no group.

    Returns:
      `metrics`, `chance`, `low` and `high` (of the 95 % interval) and `counts`. All but these share
      their keys: `text_to_image/R@1`, `image_to_text/R@1`, ..., and `GROUP/text_to_image/R@1`, ...;
      the counts are `images`, `texts`, `text_to_image/queries` and so on.

    Raises:
      ValueError: If shapes, rows or groups do not fit together.

    References:
      Karpathy and Fei-Fei, Deep Visual-Semantic Alignments, 2015 (the protocol).
    """
    ranks = both_ranks(zimg, ztxt, image_of_text)
    return recalls(ranks, image_of_text, images=len(zimg), ks=ks, groups=groups)


def both_ranks(
    zimg: Float[np.ndarray, "n *q d"],
    ztxt: Float[np.ndarray, "m d"],
    image_of_text: Int[np.ndarray, " m"],
) -> Ranks:
    """The rank of each text's image, and of the best text of each image that has any."""
    n, m = zimg.shape[0], ztxt.shape[0]
    if n == 0 or m == 0:
        raise ValueError(f"retrieval needs images and texts, got {n} images and {m} texts")
    if image_of_text.min() < 0 or image_of_text.max() >= n:
        raise ValueError(
            f"image_of_text must point at one of {n} images, got values from "
            f"{image_of_text.min()} to {image_of_text.max()}; use embed.match after rejects"
        )
    texts, images = gallery_ranks(zimg, ztxt, image_of_text)
    return Ranks(texts.missed, images.missed[np.unique(image_of_text)])


def recalls(
    ranks: Ranks,
    image_of_text: Int[np.ndarray, " m"],
    *,
    images: int,
    ks: Sequence[int] = (1, 5, 10),
    groups: Sequence[str] | None = None,
    between: str = "image-text",
) -> dict[str, dict[str, float | int]]:
    """Recall@k of ranks, beside chance: what `retrieval` returns, whatever they were found by.

    The keys say `between` which modalities it is: the rows' and the queries'.
    """
    n, m = images, len(image_of_text)
    if groups is not None and len(groups) != n:
        raise ValueError(f"groups must have one label an image, got {len(groups)} for {n} images")
    captions = np.bincount(image_of_text, minlength=n)
    asked = np.flatnonzero(captions)  # images that have a text to be found
    measures: dict[str, Measure] = {}
    row, query = between.split("-")
    counts: dict[str, float | int] = {COUNTED[row]: n, COUNTED[query]: m}
    by_text: Any = dict(lost=ranks.texts, query=np.arange(m), picture=image_of_text)
    by_image: Any = dict(lost=ranks.images, query=asked, picture=np.arange(n))
    ways = {
        f"{query}_to_{row}": Way(
            **by_text, won=None, right=np.ones(m, int), candidates=n, pictures=n
        ),
        f"{row}_to_{query}": Way(**by_image, won=None, right=captions, candidates=m, pictures=n),
    }
    labels = np.asarray([""] * n if groups is None else [str(group) for group in groups])
    for name in sorted({"", *labels.tolist()}):
        member = np.ones(n, bool) if name == "" else labels == name
        for way, of in ways.items():
            prefix = f"{name}/{way}" if name else way
            queries = int((member[of.picture] & (of.right > 0)).sum())
            counts[f"{prefix}/queries"] = queries
            measures |= {f"{prefix}/R@{k}": of.measure(HIT, k, member) for k in ks if queries}
    return scores_of(measures, samples=n) | {"counts": counts}
