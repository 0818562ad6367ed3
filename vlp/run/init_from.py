"""What a run begins with: weights of other runs or other stacks, as `config.init` names them."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from flax import nnx, traverse_util
from ml_collections import ConfigDict

from vlp.interop.adapt import complete
from vlp.interop.load import load_run
from vlp.interop.loaded import param_shapes
from vlp.interop.tokenizer_files import NONE
from vlp.models.build import model_class
from vlp.models.resize import resize_positions
from vlp.run.build import model_kwargs
from vlp.run.sections import init_sources
from vlp.training.params import path_name, select

# What a run decides for itself, whatever the weights that it begins with were made with.
OWN_SETTINGS = frozenset((
    "image_size", "length", "vocab_size", "eos_id", "pad_id", "dtype", "attention", "remat",
    "unroll", "layer_scale", "mlp_ratio",
))  # fmt: skip

Flat = dict[tuple[Any, ...], np.ndarray]
_log = logging.getLogger("vlp")


def given_params(config: ConfigDict) -> Any:
    """Parameters to begin with, from what `config.init` names, or None.

    That is a run of vlp or weights of another stack, whatever `load_run` reads. Positions are
    resized to the config's image size and text length, see `vlp.models.resize`. A section within
    `config.init` with the same settings is a further source, so that an image tower and a BERT can
    come from two places; no parameter may come from both. What is taken, left and begins at random
    is logged by name.

    With `only=("image/.*",)` and `optim.freeze` of the same this is LiT (Zhai et al., 2022,
    https://arxiv.org/abs/2111.07991).

    Raises:
        ValueError: when nothing that is known is there, or `which` or `only` does not fit it;
            names the trouble with all sources at once.
    """
    flat: Flat = {}
    wrong = []
    for source in init_sources(config):
        try:
            taken = _taken(config, **source)
            _check_once(taken, flat, path=source["path"])
        except ValueError as error:
            wrong.append(f"config.init, {source['path']}: {error}")
            continue
        flat |= taken
    if wrong:
        raise ValueError("\n".join(wrong))
    if not flat:
        return None
    known = param_shapes(model_kwargs(config))
    missing = known.keys() - {path_name(path) for path in flat}
    _log.info("beginning at random: %s", _summary(missing, among=known))
    return traverse_util.unflatten_dict(flat)


def _taken(
    config: ConfigDict, *, path: str, which: str = "params", only: Sequence[str] = (".*",)
) -> Flat:
    """The chosen parameters of one source, in the shape that the config's model has.

    Args:
        config: of the whole run.
        path: of a run, or weights of another stack.
        which: of a run's weights: "params", or "ema" or "momentum", its averages.
        only: regular expressions over parameter names.
    """
    # The captions are read by this run's tokenizer.
    given = load_run(path, weights=which, tokenizer=NONE)
    params = jax.tree.map(np.asarray, nnx.to_pure_dict(nnx.state(given.model)))
    kwargs, wanted = given.card["model"], model_kwargs(config)
    adopted = getattr(model_class(wanted), "adopted", None)
    if adopted is not None:
        kwargs, params = adopted(kwargs, params, wanted=wanted)
    chosen = select(params, only)
    towers = {name[0] for name in chosen}
    _warn_of_other_settings(kwargs, wanted, towers=towers, path=path)
    sizes = _new_sizes(config, kwargs, towers=towers)
    flat = traverse_util.flatten_dict(resize_positions(kwargs, params, **sizes)[1])
    names = [path_name(name) for name in flat]
    taken = [path_name(name) for name in chosen]
    left = set(names) - set(taken)
    _log.info(
        "beginning with %s of %s; not taken: %s",
        _summary(taken, among=names),
        path,
        _summary(left, among=names),
    )
    return {name: array for name, array in flat.items() if name in chosen}


def _check_once(taken: Flat, before: Flat, *, path: str) -> None:
    """Raises ValueError when a parameter has a source already."""
    twice = sorted(path_name(name) for name in taken.keys() & before.keys())
    if twice:
        raise ValueError(
            f"a parameter must have one source, got {_summary(twice, among=twice)} from {path} and "
            "from another one; narrow `only` of one of them"
        )


def _summary(names: Iterable[str], *, among: Iterable[str]) -> str:
    """Names of parameters; "image/.*" for a part of which all are there."""
    names, among = sorted(names), list(among)
    said = []
    for top in sorted({name.split("/")[0] for name in names}):
        own = [name for name in names if name.split("/")[0] == top]
        whole = sum(name.split("/")[0] == top for name in among) == len(own)
        said += [f"{top}/.*"] if whole and own != [top] else own
    return ", ".join(said) or "none"


def _warn_of_other_settings(
    given: Mapping[str, Any], wanted: Mapping[str, Any], *, towers: set[str], path: str
) -> None:
    """Names what makes the same parameters another function, such as an activation."""
    given, wanted = complete(given), complete(wanted)
    different = [
        f"{tower}.{name} {there!r}, not {wanted[tower][name]!r}"
        for tower in ("image", "text")
        if tower in towers and wanted[tower]
        for name, there in given[tower].items()
        if name not in OWN_SETTINGS and wanted[tower].get(name, there) != there
    ]
    if "image" in towers:
        different += [
            f"{name} {given[name]}, not {wanted[name]}"
            for name in ("image_mean", "image_std")
            if not np.allclose(given[name], wanted[name])
        ]
    if different:
        _log.warning(
            "the weights in %s compute something else with this config; they were made with %s. "
            "To take all this along write init=%s behind own_data.py, or begin_with in a config "
            "file",
            path,
            "; ".join(different),
            path,
        )


def _new_sizes(
    config: ConfigDict, kwargs: Mapping[str, Any], *, towers: set[str]
) -> dict[str, int]:
    """What `resize_positions` has to change in these towers to fit the config."""
    sizes = {}
    for tower, setting, name, size in (
        ("image", "image_size", "image_size", config.preprocess.get("size")),
        ("text", "length", "text_length", config.tokenizer.length),
    ):
        if tower in towers and size is not None and kwargs[tower].get(setting, size) != size:
            sizes[name] = size
    return sizes
