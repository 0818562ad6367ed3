"""Retrieval: a caption finds its picture among all, a picture one of its captions."""

from collections.abc import Sequence

import numpy as np

from vlp.evals.embed import match
from vlp.evals.measures import Measure, quotient
from vlp.evals.ranks import Ranks, gallery_ranks
from vlp.evals.retrieval import chance_of_recall
from vlp.sweeps.judged import Judged, View

TO_IMAGE, TO_TEXT = "text_to_image", "image_to_text"


def retrieval(view: View, *, ks: Sequence[int] = (1, 5, 10), group: str = "") -> Judged:
    """Recall@k both ways, over pictures and all of their captions.

    Text to image: the share of captions whose picture is among the first k. Image to text: the
    share of pictures of which one caption at least is. A picture without captions is a miss there,
    as in CLIP_benchmark; a note says what the others alone give.

    Args:
        view: of a set with captions.
        ks: cut-offs; those beyond the candidates are left out, and said.
        group: a field of the set, for each of whose values the recalls are given as well, of its
            queries among all candidates.

    Raises:
        ValueError: the set has no captions.

    References:
        Karpathy and Fei-Fei, 2015; clip_benchmark.metrics.zeroshot_retrieval.
    """
    found = view.set
    if found.picture_of_text is None or not len(found.texts):
        raise ValueError(f"retrieval needs captions, {found.name} has none")
    rows = view.pictures()
    kept, image_of_text = match(rows.ids, found.picture_of_text)
    if not len(kept):
        raise ValueError(f"{found.name} must hold a caption of a picture that can be read")
    ztxt = view.captions([found.texts[i] for i in kept])
    texts, images = gallery_ranks(np.asarray(rows.vectors), ztxt, image_of_text)
    n, m = len(rows.ids), len(kept)
    captions = np.bincount(image_of_text, minlength=n)
    members = {"": np.ones(n, bool)}
    if group:
        values = np.asarray(found.groups[group])[rows.ids]
        members |= {value: values == value for value in sorted({*values.tolist()} - {""})}
    measures: dict[str, Measure] = {}
    for name, member in members.items():
        own = _recalls(texts, images, image_of_text, captions, member, ks=ks)
        measures |= {f"{name}/{key}" if name else key: each for key, each in own.items()}
    counts = {"pictures": n, "texts": m, "without_caption": int((captions == 0).sum())}
    notes = [*rows.notes, *_notes(captions, images, ks=ks, candidates=(n, m))]
    return Judged(measures, n, rows.ids, {}, counts, notes)


def _recalls(
    texts: Ranks,
    images: Ranks,
    image_of_text: np.ndarray,
    captions: np.ndarray,
    member: np.ndarray,
    *,
    ks: Sequence[int],
) -> dict[str, Measure]:
    n, m = len(captions), len(image_of_text)
    asked = captions * member
    found: dict[str, Measure] = {}
    for k in (k for k in ks if k <= n):
        right, best = (
            np.bincount(image_of_text, ranks < k, n) * member for ranks in (texts.missed, texts.hit)
        )
        found[f"{TO_IMAGE}/R@{k}"] = quotient(right, asked, chance=k / n, if_hit=best)
    for k in (k for k in ks if k <= m):
        there = captions > 0
        right, best = (member * there * (ranks < k) for ranks in (images.missed, images.hit))
        chance = float(chance_of_recall(captions[member], m, k).mean()) if member.any() else None
        found[f"{TO_TEXT}/R@{k}"] = quotient(right, member, chance=chance, if_hit=best)
    return found


def _notes(
    captions: np.ndarray, images: Ranks, *, ks: Sequence[int], candidates: tuple[int, int]
) -> list[str]:
    said = []
    without = int((captions == 0).sum())
    if without:
        there = captions > 0
        others = ", ".join(f"R@{k} {np.mean(images.missed[there] < k):.4f}" for k in ks)
        said.append(
            f"{without:,} pictures without captions count as misses of image to text; those with "
            f"captions alone: {others}"
        )
    beyond = [k for k in ks if k > min(candidates)]
    if beyond:
        said.append(
            f"no R@{', R@'.join(map(str, beyond))} where there are fewer candidates: "
            f"{candidates[0]:,} pictures and {candidates[1]:,} captions"
        )
    return said
