"""Several sets of pairs as one stream: image-text, image-audio and so on, each with its share."""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from fractions import Fraction
from itertools import accumulate
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from data_pipelines.limits import Limits
from data_pipelines.mixtures import Mixture, by_temperature, by_weight, within_epochs
from data_pipelines.opening import open_source
from data_pipelines.sources import ConcatSource, Source
from data_pipelines.sources.join import MODALITIES, JoinedSource, OnlySource
from vlp.run.chosen import open_chosen

# What says how much of a stream a set is; the sets of one level all say the same.
_SAYS = ("share", "weight", "epochs")


class Part(NamedTuple):
    """One source of a mixture.

    Attributes:
        name: of the set, behind those that it is within.
        source: its samples.
        share: of the whole; None where every sample comes equally often.
        max_epochs, min_epochs: how often it may and must be seen; None for no limit.
        replacement: whether its samples are drawn with replacement.
    """

    name: str
    source: Source
    share: Fraction | None
    max_epochs: float | None
    min_epochs: float | None
    replacement: bool


def pair_sets(
    sets: Mapping[str, Mapping[str, Any]],
    *,
    needs: Collection[str],
    limits: Limits,
    temperature: float | None = None,
    length: Callable[[int], int] | None = None,
) -> tuple[Source, Mixture | None]:
    """The samples of all sets, in the order of their names, and how they are mixed.

    Args:
        sets: the settings of `pair_set` by the name of each.
        needs: fields that the objective reads of every sample.
        limits: how large the parts of a sample may be.
        temperature: shares by size^(1/T); None where the sets say theirs.
        length: from the samples of all sets to those of the run, for limits of epochs.

    Raises:
        ValueError: a set cannot be opened, lacks what every sample needs, or the shares are not
            those of a whole; names the set.
    """
    parts = _level("config.data.sets", sets, temperature, needs=needs, limits=limits)
    whole = ConcatSource([part.source for part in parts])
    sizes = [len(part.source) for part in parts]
    limited = [p for p in parts if p.max_epochs is not None or p.min_epochs is not None]
    drawn = tuple(number for number, part in enumerate(parts) if part.replacement)
    if not (limited or drawn) and (len(parts) == 1 or parts[0].share is None):
        return whole, None
    shares = _of_whole(parts)
    if limited:
        if length is None:
            raise ValueError("max_epochs and min_epochs need the length of the run, got none")
        shares = within_epochs(
            shares,
            sizes,
            samples=length(sum(sizes)),
            most={i: p.max_epochs for i, p in enumerate(parts) if p.max_epochs is not None},
            least={i: p.min_epochs for i, p in enumerate(parts) if p.min_epochs is not None},
        )
    names = tuple(part.name for part in parts)
    return whole, Mixture(tuple(accumulate(sizes[:-1])), tuple(shares[1:]), names, drawn)


def _level(
    where: str,
    sets: Mapping[str, Mapping[str, Any]],
    temperature: float | None,
    *,
    needs: Collection[str],
    limits: Limits,
) -> list[Part]:
    """The parts of sets beside each other; all have a share, or none."""
    inside: list[list[Part]] = []
    for name, settings in sorted(sets.items()):
        own = {key: value for key, value in settings.items() if key not in _SAYS}
        try:
            found = pair_set(**own, needs=needs, limits=limits)
        except ValueError as error:
            raise ValueError(f"{where}.{name}: {error}") from error
        inside.append([p._replace(name="/".join(filter(None, (name, p.name)))) for p in found])
    sizes = [sum(len(part.source) for part in parts) for parts in inside]
    shares = _shares(where, dict(sorted(sets.items())), sizes, temperature)
    every = [part for parts in inside for part in parts]
    if shares is None and all(part.share is None for part in every):
        return every
    return [
        part._replace(share=share * own)
        for share, parts in zip(shares or by_weight(sizes), inside, strict=True)
        for part, own in zip(parts, _of_whole(parts), strict=True)
    ]


def _of_whole(parts: Sequence[Part]) -> list[Fraction]:
    """The shares of parts that belong together, by size where they have none."""
    shares = [part.share for part in parts if part.share is not None]
    return shares or by_weight([len(part.source) for part in parts])


def _shares(
    where: str,
    sets: Mapping[str, Mapping[str, Any]],
    sizes: Sequence[int],
    temperature: float | None,
) -> list[Fraction] | None:
    """The share of each set of a level; None where every sample comes equally often."""
    said = [key for key in _SAYS if any(each.get(key) is not None for each in sets.values())]
    if len(said) + (temperature is not None) > 1:
        also = [*said, *(["temperature"] if temperature is not None else [])]
        raise ValueError(
            f"the sets of {where} have either shares, weights, epochs or a temperature, got "
            f"{' and '.join(also)}; leave all but one out"
        )
    if temperature is not None:
        return by_temperature(sizes, temperature)
    if not said:
        return None
    values = [each.get(said[0]) for each in sets.values()]
    if said == ["share"]:
        return _of_each_batch(where, values)
    if None in values:
        raise ValueError(
            f"all sets of {where} have {said[0]} or none, got {', '.join(map(str, values))}"
        )
    exact = [Fraction(str(value)) for value in values]
    if said == ["epochs"]:
        exact = [size * epochs for size, epochs in zip(sizes, exact, strict=True)]
    return by_weight(exact)


def _of_each_batch(where: str, shares: Sequence[float | None]) -> list[Fraction]:
    given = [share for share in shares if share is not None]
    if len(given) < len(shares) or abs(sum(given) - 1) > 1e-6:
        raise ValueError(
            f"the shares of {where} are of each batch, so all of them have one and they "
            f"sum to 1, got {', '.join(map(str, shares))}; leave all out to use every sample "
            "equally often"
        )
    behind = [Fraction(str(share)) for share in given[1:]]
    return [1 - sum(behind, Fraction()), *behind]


def most_rows(sets: Mapping[str, Mapping[str, Any]], *, rows: int) -> dict[str, int]:
    """How many of so many rows that follow each other have a modality at most, where that is known.

    Args:
        sets: as in `pair_sets`.
        rows: of a device in a batch, say.
    """
    shares = [each["share"] for each in sets.values() if each.get("share") is not None]
    others = ("sets", "max_epochs", "min_epochs")  # which change the shares
    changed = any(each.get(name) is not None for each in sets.values() for name in others)
    if len(sets) < 2 or len(shares) < len(sets) or changed:
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
    *,
    data: str = "",
    join: str = "",
    fields: tuple[str, ...] = (),
    share: int | float | None = None,
    weight: int | float | None = None,
    epochs: int | float | None = None,
    max_epochs: int | float | None = None,
    min_epochs: int | float | None = None,
    replacement: bool = False,
    sets: Mapping[str, Mapping[str, Any]] | None = None,
    temperature: float | None = None,
    needs: Collection[str] = (),
    limits: Limits,
    **used: Any,
) -> list[Part]:
    """The samples of one set: a part, or those of the sets within it.

    Args:
        data: see `data_pipelines.opening`.
        join: other data, which add by key what these lack; "" for none.
        fields: which of "image", "text" and "audio" are used; all where it is empty.
        share: of each batch, or of the set that this one is within.
        weight: in place of a share: how much, beside the weights of the others.
        epochs: likewise: how often its samples come while those of the others come as often as
            they say.
        max_epochs, min_epochs: how often its samples come in the whole run at most and at least.
        replacement: draw each sample anew, whatever came before, in place of epochs.
        sets: sets within it, in place of data.
        temperature: of the sets within it.
        needs, limits: as in `pair_sets`.
        used: what is used of the data, see `vlp.run.chosen.open_chosen`.

    Raises:
        ValueError: something is wrong with one of them.
    """
    del share, weight, epochs  # of the set among others, see `_shares`
    if bool(data) == bool(sets):
        raise ValueError(f"a set has either data or sets within it, got {data!r} and {sets!r}")
    if sets:
        own = [join, fields, replacement, max_epochs is not None, min_epochs is not None]
        if any(own) or used:
            raise ValueError(
                "a set with sets within it has none of join, fields, replacement, max_epochs, "
                f"min_epochs{''.join(f', {name}' for name in used)}; say them in the sets within"
            )
        return _level("sets", sets, temperature, needs=needs, limits=limits)
    if temperature is not None:
        raise ValueError(f"a temperature is of the sets within a set, got {temperature} and none")
    lacking = sorted(set(needs) & set(MODALITIES) - set(fields or MODALITIES))
    if lacking:
        raise ValueError(
            f"the objective reads {lacking[0]!r} of every sample, so fields must have it, got "
            f"{', '.join(fields)}; or let the objective read present/{lacking[0]}"
        )
    source = open_chosen(data, **used, limits=limits)
    if join:
        source = JoinedSource(source, open_source(join, limits=limits))
    source = OnlySource(source, fields or MODALITIES)
    return [Part("", source, None, max_epochs, min_epochs, replacement)]
