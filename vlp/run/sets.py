"""Several sets of pairs as one stream: image-text, image-audio and so on, each with its share."""

import math
from collections.abc import Collection, Mapping
from itertools import accumulate
from typing import Any

from ml_collections import ConfigDict

from data_pipelines.limits import Limits
from data_pipelines.loader import Mixture
from data_pipelines.opening import open_source
from data_pipelines.sources import ConcatSource, Source
from data_pipelines.sources.join import MODALITIES, JoinedSource, OnlySource
from vlp.run.chosen import open_chosen


def pair_sets(
    sets: Mapping[str, Mapping[str, Any]], *, needs: Collection[str], limits: Limits
) -> tuple[Source, Mixture | None]:
    """The samples of all sets, in the order of their names, and how they are mixed.

    Args:
        sets: the settings of `pair_set` by the name of each.
        needs: fields that the objective reads of every sample.
        limits: how large the parts of a sample may be.

    Raises:
        ValueError: a set cannot be opened, lacks what every sample needs, or the shares are not
            those of a whole; names the set.
    """
    sources, shares = [], []
    for name, settings in sorted(sets.items()):
        try:
            source, share = pair_set(**settings, needs=needs, limits=limits)
        except ValueError as error:
            raise ValueError(f"config.data.sets.{name}: {error}") from error
        sources.append(source)
        shares.append(share)
    whole, given = ConcatSource(sources), [share for share in shares if share is not None]
    if not given:
        return whole, None
    if len(given) < len(shares) or abs(sum(given) - 1) > 1e-6:
        raise ValueError(
            "the shares of config.data.sets are of each batch, so all of them have one and they "
            f"sum to 1, got {', '.join(map(str, shares))}; leave all out to use every sample "
            "equally often"
        )
    if len(sources) == 1:
        return whole, None
    boundaries = tuple(accumulate(len(source) for source in sources[:-1]))
    return whole, Mixture(boundaries, tuple(given[1:]))


def most_rows(sets: Mapping[str, Mapping[str, Any]], *, rows: int) -> dict[str, int]:
    """How many of so many rows that follow each other have a modality at most, where that is known.

    Args:
        sets: as in `pair_sets`.
        rows: of a device in a batch, say.
    """
    shares = [each["share"] for each in sets.values() if each.get("share") is not None]
    if len(sets) < 2 or len(shares) < len(sets):
        return {}
    # A part of a mixture of k has less than k - 1 rows more or fewer than its share.
    parts = {
        name: [
            math.ceil(rows * share) + len(sets) - 2
            for share, each in zip(shares, sets.values(), strict=True)
            if name in (each.get("fields") or MODALITIES)
        ]
        for name in MODALITIES
    }
    return {name: sum(most) for name, most in parts.items() if 0 < sum(most) < rows}


def data_name(config: ConfigDict) -> str:
    """What a run's data are called where it is said what it trains on."""
    return config.data.train or config.data.labelled or ", ".join(config.data.sets)


def pair_set(
    data: str,
    *,
    join: str = "",
    fields: tuple[str, ...] = (),
    share: float | None = None,
    needs: Collection[str] = (),
    limits: Limits,
    **used: Any,
) -> tuple[Source, float | None]:
    """The samples of one set, and its share.

    Args:
        data: see `data_pipelines.opening`.
        join: other data, which add by key what these lack; "" for none.
        fields: which of "image", "text" and "audio" are used; all where it is empty.
        share: of each batch.
        needs, limits: as in `pair_sets`.
        used: what is used of the data, see `vlp.run.chosen.open_chosen`.

    Raises:
        ValueError: something is wrong with one of them.
    """
    lacking = sorted(set(needs) & set(MODALITIES) - set(fields or MODALITIES))
    if lacking:
        raise ValueError(
            f"the objective reads {lacking[0]!r} of every sample, so fields must have it, got "
            f"{', '.join(fields)}; or let the objective read present/{lacking[0]}"
        )
    source = open_chosen(data, **used, limits=limits)
    if join:
        source = JoinedSource(source, open_source(join, limits=limits))
    return OnlySource(source, fields or MODALITIES), share
