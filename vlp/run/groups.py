"""The optimiser groups of a config: what the optimiser takes, and what a run says of them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from flax import traverse_util
from ml_collections import ConfigDict

from vlp.run.lengths import Lengths
from vlp.run.sections import DURATIONS
from vlp.training.batch_statistics import statistics_paths
from vlp.training.optim.groups import Group, Overrides, resolve
from vlp.training.params import MATRICES, Path, select
from vlp.training.state import MakeModel, abstract_model


def optimizer_groups(
    config: ConfigDict, lengths: Lengths, make_model: MakeModel
) -> tuple[dict[Path, Overrides], dict[str, str]]:
    """What holds for some parameters in place of `config.optim.optimizer`, and a line a group.

    Raises:
        ValueError: when a group matches nothing, or has a setting that cannot be or does nothing.
    """
    keys = {name: f"config.optim.groups.{name}" for name in sorted(config.optim.groups)}
    groups = {key: _group(key, config.optim.groups[name], lengths) for name, key in keys.items()}
    if not groups:
        return {}, {}
    graphdef, shapes = abstract_model(make_model)
    frozen = select(shapes, config.optim.freeze)
    untrained = frozen | statistics_paths(graphdef, shapes)
    own = resolve(groups, shapes, untrained=untrained)
    flat, peak = traverse_util.flatten_dict(shapes), config.optim.schedule.peak
    lines = {}
    for name, key in keys.items():
        paths = groups[key].paths(shapes)
        lines[name] = _line(groups[key], {p: flat[p].size for p in paths & set(own)}, own, peak)
        if paths & frozen:
            lines[name] += f"; frozen by config.optim.freeze: {len(paths & frozen)} more"
    return own, lines


def _group(key: str, section: ConfigDict, lengths: Lengths) -> Group:
    settings = section.to_dict()
    said = {name: settings[name] for name in DURATIONS if settings.get(name) is not None}
    try:
        group = Group(**settings | {name: lengths.step_at(value) for name, value in said.items()})
    except ValueError as error:
        raise ValueError(f"{key}: {error}") from None
    if (group.frozen_until or 0) >= lengths.last:
        raise ValueError(
            f"{key}.frozen_until must be before the end of the run of {lengths.last:,} steps, got "
            f"{said['frozen_until']!r}; shorten it, or freeze for good by config.optim.freeze"
        )
    return group


def _line(
    group: Group, sizes: Mapping[Path, int], own: Mapping[Path, Overrides], peak: float
) -> str:
    """How many parameters train, and what holds for them when all groups have had their say."""
    rates = [peak * rate for path in sizes for rate in np.ravel(own[path].multiplier)]
    line = f"{sum(sizes.values()):,} parameters in {len(sizes)} arrays; peak rate {_span(rates)}"
    if group.weight_decay is not None:
        decays = [own[path].weight_decay for path in sizes if path[-1] in MATRICES]
        line += f"; weight decay {_span(decays)}"
    if group.frozen_until is not None:
        line += f"; frozen until step {_span([own[path].frozen_until for path in sizes], ',')}"
    return line


def _span(values: Sequence[Any], spec: str = ".4g") -> str:
    return " to ".join(dict.fromkeys(format(value, spec) for value in (min(values), max(values))))
