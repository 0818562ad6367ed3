"""The same function in the shape that another stack can hold, or a refusal that names what cannot.

What a stack lacks is written with what it has where no result changes: a patch bias goes into the
positions, fixed positions become a table, a missing projection becomes the identity.
"""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from vlp.interop.checks import check_values
from vlp.models.base import PairModel
from vlp.models.towers import TOWERS, usual_kind
from vlp.nn.positions import sincos_2d

Params = dict[str, np.ndarray]
Accepted = Mapping[str, tuple[Any, ...]]
"""Dotted settings, such as "image.pool", and the values that a stack can hold."""

_PARTS = {"image": ("image/", "image_projection/"), "text": ("text/", "text_projection/")}


def plain_vit(**values: tuple[Any, ...]) -> dict[str, tuple[Any, ...]]:
    """The settings of an image tower, and the values that a stack of plain ViTs can hold.

    Args:
        **values: where the stack can hold others, by setting.
    """
    usual: dict[str, tuple[Any, ...]] = dict(
        kind=("vit",), pool=("cls",), pre_norm=(False,), norm_after_pool=(False,), pooler=(False,),
        layer_scale=(None,), position=("learned",), patch_bias=(True,),
    )  # fmt: skip
    return {f"image.{key}": accepted for key, accepted in (usual | values).items()}


def complete(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Keyword arguments of a `PairModel` with every default written out.

    Raises:
        ValueError: a value is of another type, or beyond all bounds.
    """
    check_values(kwargs)
    full = _defaults(PairModel) | dict(kwargs)
    for tower, kinds in TOWERS.items():
        if full.get(tower) is None:
            continue
        own = dict(full[tower])
        kind = own.pop("kind", usual_kind(tower))
        own = _defaults(kinds[kind]) | own
        if "mlp_dim" in own:
            own["mlp_dim"] = own["mlp_dim"] or round(own["width"] * own.get("mlp_ratio", 4))
        full[tower] = {"kind": kind, **own}
    return full


def only_tower(
    kwargs: Mapping[str, Any], params: Params, *, towers: str
) -> tuple[dict[str, Any], Params]:
    """One tower of a model with its projection; "both" changes nothing.

    Raises:
        ValueError: the model does not have that tower.
    """
    kept = dict(kwargs)
    if towers == "both":
        return kept, params
    if kwargs[towers] is None:
        raise ValueError(f"towers must be one that the model has, got {towers!r}; leave it out")
    kept["text" if towers == "image" else "image"] = None
    return kept, {n: array for n, array in params.items() if n.startswith(_PARTS[towers])}


def adapt(
    kwargs: Mapping[str, Any], params: Params, *, accepted: Accepted, stack: str
) -> tuple[dict[str, Any], Params]:
    """The model with every setting at a value that is accepted.

    Args:
        kwargs: complete keyword arguments, see `complete`.
        params: parameters by name.
        accepted: values by setting; those of a tower that is None are not looked at.
        stack: what messages call the stack.

    Raises:
        ValueError: no equal form exists; names every setting in the way and its accepted values.
    """
    kwargs = {key: dict(v) if isinstance(v, Mapping) else v for key, v in kwargs.items()}
    params, wrong = dict(params), []
    for setting, values in accepted.items():
        section, _, key = setting.rpartition(".")
        tower = section or key.removesuffix("_projection")
        if tower in _PARTS and not kwargs[tower]:
            continue
        part = kwargs[section] if section else kwargs
        given = part.get(key)
        if given in values:
            continue
        value = next((value for value in values if (setting, given, value) in _CHANGES), None)
        if value is None:
            known = " or ".join(map(repr, values))
            wrong.append(f"{setting}={given!r} (accepted: {known})")
            continue
        _CHANGES[setting, given, value](kwargs, params)
        part[key] = value
    if wrong:
        kinds = [item for item in wrong if ".kind=" in item]
        wrong = kinds or wrong  # another tower lacks all other settings as well
        raise ValueError(
            f"the model must have the shape of {stack}, got {'; '.join(wrong)}; train with these "
            "settings (dual_encoder_preset has CLIP's and SigLIP's), or choose another format"
        )
    return kwargs, params


def _defaults(make: Any) -> dict[str, Any]:
    parameters = inspect.signature(make.__init__).parameters.values()
    return {p.name: p.default for p in parameters if p.default is not inspect.Parameter.empty}


def _fold_patch_bias(kwargs: dict[str, Any], params: Params) -> None:
    """Into the positions of the patches, which are added right after it."""
    bias = params.pop("image/patches/linear/bias")
    positions = np.array(params["image/positions"])
    first = len(positions) - (kwargs["image"]["image_size"] // kwargs["image"]["patch_size"]) ** 2
    positions[first:] += bias
    params["image/positions"] = positions


def _add_patch_bias(kwargs: dict[str, Any], params: Params) -> None:
    params["image/patches/linear/bias"] = np.zeros(kwargs["image"]["width"], np.float32)


def _write_positions(kwargs: dict[str, Any], params: Params) -> None:
    image = kwargs["image"]
    side = image["image_size"] // image["patch_size"]
    table = np.asarray(sincos_2d(side, side, image["width"]), np.float32)
    first = np.zeros((int("image/class_token" in params), image["width"]), np.float32)
    params["image/positions"] = np.concatenate([first, table])


def _projection(name: str, *, kernel: bool, bias: bool) -> Callable:
    """Adds what of a projection is missing: the identity, or no bias."""

    def add(kwargs: dict[str, Any], params: Params) -> None:
        if kernel:
            params[f"{name}/kernel"] = np.eye(kwargs["embed_dim"], dtype=np.float32)
        if bias:
            params[f"{name}/bias"] = np.zeros(kwargs["embed_dim"], np.float32)

    return add


def _zero_logit_bias(kwargs: dict[str, Any], params: Params) -> None:
    if kwargs["image"] and kwargs["text"]:
        params["bias"] = np.zeros((), np.float32)


# (setting, what it is, what it becomes): how. The order of `accepted` decides what goes first:
# positions are written before a bias is folded into them.
_CHANGES: dict[tuple[str, Any, Any], Callable[[dict[str, Any], Params], None]] = {
    ("image.position", "sincos2d", "learned"): _write_positions,
    ("image.patch_bias", True, False): _fold_patch_bias,
    ("image.patch_bias", False, True): _add_patch_bias,
    ("init_bias", None, 0.0): _zero_logit_bias,
    **{
        change: apply
        for name in ("image_projection", "text_projection")
        for change, apply in {
            (name, "none", "linear"): _projection(name, kernel=True, bias=False),
            (name, "none", "linear_bias"): _projection(name, kernel=True, bias=True),
            (name, "linear", "linear_bias"): _projection(name, kernel=False, bias=True),
        }.items()
    },
}
