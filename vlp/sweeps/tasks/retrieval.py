"""Retrieval: a caption finds its picture among all, a picture one of its captions."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from vlp.evals.class_scores import LOST
from vlp.evals.embed import match
from vlp.evals.measures import Measure, mean_of
from vlp.evals.ranks import gallery_ranks, pair_ranks
from vlp.evals.reference_ties import check_torch
from vlp.evals.retrieval import Ranks as BothRanks
from vlp.evals.ways import GAIN, HIT, MORE, Way
from vlp.jobs.tasks import check_settings
from vlp.settings import check_choice
from vlp.sweeps.judged import Judged, View
from vlp.sweeps.tasks.groups import group_values
from vlp.sweeps.tasks.reading import check_model, reranked
from vlp.sweeps.tasks.reference import REFERENCE, retrieved
from vlp.sweeps.vectors import Rows

TO_IMAGE, TO_TEXT = "text_to_image", "image_to_text"
MEAN = "mean"
APART, ONE = "apart", "one"
KS = (1, 5, 10)


class Found(NamedTuple):
    """Ranks of right candidates, those of `Way`.

    Attributes:
        lost, won: with every tie lost, and won.
        query: of each.
    """

    lost: Int[np.ndarray, " p"]
    won: Int[np.ndarray, " p"] | None
    query: Int[np.ndarray, " p"]


class Pairs(NamedTuple):
    """What belongs together.

    Attributes:
        ztxt: the embedded captions.
        images: rows of the pictures.
        texts: rows of the captions.
    """

    ztxt: Float[np.ndarray, "m d"]
    images: Int[np.ndarray, " p"]
    texts: Int[np.ndarray, " p"]


def check_retrieval(
    *,
    ks: Sequence[int] = KS,
    also: Sequence[str] = (),
    equal: str = APART,
    ties: str = LOST,
    rerank: int = 0,
    **others: Any,
) -> None:
    """Raises ValueError for settings that are none."""
    if not ks or min(ks) < 1:
        raise ValueError(f"ks must be whole numbers from 1 on, such as 1, 5, 10, got {list(ks)}")
    for name in also:
        check_choice("also", name, MORE)
    check_choice("equal", equal, (APART, ONE))
    check_choice("ties", ties, (LOST, REFERENCE))
    if ties == REFERENCE:
        if equal == ONE:
            raise ValueError(f'ties="{REFERENCE}" needs equal captions {APART!r}, got {equal!r}')
        check_torch()
    if rerank and equal == ONE:
        raise ValueError(f"rerank needs equal captions {APART!r}, got {equal!r}")
    by = {name: others[name] for name in ("rerank_by",) if name in others}
    check_settings("retrieval", ({"rerank": rerank} if rerank else {}) | by)


def retrieval(
    view: View,
    *,
    ks: Sequence[int] = KS,
    also: Sequence[str] = (),
    equal: str = APART,
    ties: str = LOST,
    group: str = "",
    rerank: int = 0,
    rerank_by: str = "match",
    mean: bool = False,
) -> Judged:
    """Recall@k both ways, over pictures and all of their captions, ties lost.

    Text to image: the share of captions whose picture is among the first k. Image to text: the
    share of pictures of which one caption at least is. A picture without captions is a miss there,
    as in CLIP_benchmark; a note says what the others alone give.

    Args:
        view: of a set with captions.
        ks: cut-offs; those beyond the candidates are left out but for nDCG, and said.
        also: of the queries that have a right candidate, as MTEB has them: "hit_rate", which is
            R@k of these; "recall", the share of all right candidates; "nDCG".
        equal: captions of the same words are "apart", so that they tie, or "one" caption of several
            pictures, each of which is right.
        ties: "lost"; or so with `METRIC/as_clip_benchmark` beside, of all pictures, which is as
            "reference" decides them, see `vlp.evals.reference_ties`.
        group: a field of the set, for each of whose values the scores are given as well, of its
            queries among all candidates.
        rerank: how many of the best candidates the model orders anew by reading both, 0 for none;
            those scores are `reranked/...`, and with ties lost alone.
        rerank_by: "match" or "match_and_cosine", see `vlp.evals.rerank`.
        mean: whether there is `mean/R@k`, of both ways, too, as DataComp has it.

    Raises:
        ValueError: the set has no captions, or the model cannot read pictures and texts together.

    References:
        Karpathy and Fei-Fei, 2015; clip_benchmark.metrics.zeroshot_retrieval.
    """
    by = {"rerank_by": rerank_by} if rerank else {}
    check_retrieval(ks=ks, also=also, equal=equal, ties=ties, rerank=rerank, **by)
    if rerank:
        check_model(view, "retrieval", rerank=rerank, **by)
    rows = view.pictures()
    texts, image_of_text = captions_of(view, rows)
    pairs = _pairs(view, texts, image_of_text, equal)
    n, m = len(rows.ids), len(pairs.ztxt)
    zimg, every = np.asarray(rows.vectors), bool(also) or equal == ONE
    found = _found(zimg, pairs, every=every, dtype=view.stages.scores)
    ways = _ways(found, pairs, n=n)
    named = {"": (ways, ("R", *also))}
    if rerank:
        best = BothRanks(_best(found[0]), _best(found[1]))
        anew = reranked(view, texts, image_of_text, best, k=rerank, by=rerank_by)
        own = (Found(anew.texts, None, pairs.texts),
               Found(anew.images, None, np.unique(pairs.images)))  # fmt: skip
        named["reranked/"] = (_ways(own, pairs, n=n), ("R",))
    members = {"": np.ones(n, bool)}
    if group:
        values = group_values(view.set, group)[rows.ids]
        members |= {value: values == value for value in sorted({*values.tolist()} - {""})}
    measures: dict[str, Measure] = {}
    for value, member in members.items():
        for prefix, (both, names) in named.items():
            front = f"{prefix}{value}/" if value else prefix
            for way, of in both.items():
                measures |= {
                    f"{front}{way}/{name}@{k}": of.measure(name, k, member)
                    for name in names
                    for k in ks
                    if k <= of.candidates or name == GAIN
                }
                measures |= _means(measures, front, ks=ks) if mean else {}
    if ties == REFERENCE:
        named_ways: Any = dict(ways=(TO_IMAGE, TO_TEXT), dtype=view.stages.scores)
        measures |= retrieved(zimg, pairs.ztxt, image_of_text, ks=ks, **named_ways)
    without = int((ways[TO_TEXT].right == 0).sum())
    counts = {"pictures": n, "texts": m, "without_caption": without}
    notes = [*rows.notes, *_notes(ways, ks=ks, without=without)]
    return Judged(measures, n, rows.ids, {}, counts, notes)


def _means(measures: Mapping[str, Measure], front: str, *, ks: Sequence[int]) -> dict[str, Measure]:
    """The means of both ways, as DataComp has them."""
    found: dict[str, Measure] = {}
    for k in ks:
        both = [measures.get(f"{front}{way}/R@{k}") for way in (TO_IMAGE, TO_TEXT)]
        ways = [each for each in both if each is not None]
        if len(ways) == 2:
            found[f"{front}{MEAN}/R@{k}"] = mean_of(ways)
    return found


def captions_of(view: View, rows: Rows) -> tuple[list[str], Int[np.ndarray, " m"]]:
    """The captions of pictures that can be read, and the row of the picture of each.

    Raises:
        ValueError: there is none.
    """
    found = view.set
    if found.picture_of_text is None or not len(found.texts):
        raise ValueError(f"retrieval needs captions, {found.name} has none")
    if not len(rows.ids):
        raise ValueError(f"{found.name} must hold a picture that can be read")
    kept, image_of_text = match(rows.ids, found.picture_of_text)
    if not len(kept):
        raise ValueError(f"{found.name} must hold a caption of a picture that can be read")
    return [found.texts[i] for i in kept], image_of_text


def _pairs(
    view: View, texts: Sequence[str], image_of_text: Int[np.ndarray, " m"], equal: str
) -> Pairs:
    """Captions and their pictures, those of the same words as one where that is wanted."""
    if equal == APART:
        return Pairs(view.captions(texts), image_of_text, np.arange(len(texts)))
    place: dict[str, int] = {}
    rows = [place.setdefault(text, len(place)) for text in texts]
    once = np.unique(np.stack([rows, image_of_text], axis=1), axis=0)
    return Pairs(view.captions(list(place)), once[:, 1], once[:, 0])


def _found(
    zimg: Float[np.ndarray, "n *q d"], pairs: Pairs, *, every: bool, dtype: str
) -> tuple[Found, Found]:
    """The ranks for captions and for pictures, of every right candidate or of the best ones."""
    if every:
        rows: Any = dict(images=pairs.images, texts=pairs.texts)
        of_texts, of_images = pair_ranks(zimg, pairs.ztxt, dtype=dtype, **rows)
        return Found(*of_texts, pairs.texts), Found(*of_images, pairs.images)
    of_texts, of_images = gallery_ranks(zimg, pairs.ztxt, pairs.images, dtype=dtype)
    asked = np.unique(pairs.images)
    lost, won = (x[asked] for x in of_images)
    return Found(*of_texts, pairs.texts), Found(lost, won, asked)


def _ways(found: tuple[Found, Found], pairs: Pairs, *, n: int) -> dict[str, Way]:
    m = len(pairs.ztxt)
    first = np.full(m, n)
    np.minimum.at(first, pairs.texts, pairs.images)
    images, texts = np.bincount(pairs.texts, minlength=m), np.bincount(pairs.images, minlength=n)
    return {
        TO_IMAGE: Way(*found[0], picture=first, right=images, candidates=n, pictures=n),
        TO_TEXT: Way(*found[1], picture=np.arange(n), right=texts, candidates=m, pictures=n),
    }


def _best(found: Found) -> Int[np.ndarray, " q"]:
    """The best rank of each query that has one, in their order."""
    query, place = np.unique(found.query, return_inverse=True)
    best = np.full(len(query), np.iinfo(np.int64).max)
    np.minimum.at(best, place, found.lost)
    return best


def _notes(ways: Mapping[str, Way], *, ks: Sequence[int], without: int) -> list[str]:
    to_text, n = ways[TO_TEXT], ways[TO_IMAGE].candidates
    everyone = np.ones(n, bool)
    said = []
    if without:
        shares = [to_text.measure(HIT, k, everyone).of(everyone.astype(float)) for k in ks]
        others = ", ".join(f"R@{k} {share:.4f}" for k, share in zip(ks, shares, strict=True))
        said.append(
            f"{without:,} pictures without captions count as misses of image to text; those with "
            f"captions alone: {others}"
        )
    beyond = [k for k in ks if k > min(n, to_text.candidates)]
    if beyond:
        said.append(
            f"no R@{', R@'.join(map(str, beyond))} where there are fewer candidates: "
            f"{n:,} pictures and {to_text.candidates:,} captions"
        )
    return said
