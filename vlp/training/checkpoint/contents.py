"""What is in a checkpoint: arrays as nested dicts, read back onto any mesh, and JSON values."""

import logging
from collections.abc import Collection, Mapping
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from etils import epath
from flax import traverse_util

from vlp.remote import names_in
from vlp.training.params import leaf_paths

_log = logging.getLogger("vlp")
_Leaves = Mapping[tuple[str, ...], Any]
AVERAGES, EARLIER_AVERAGE = ("momentum", "averaged"), "teacher"
WEIGHTS = ("params", *AVERAGES)  # each in a folder of its own, to be read without the others
STATE = "state"  # the folder of what is left; of all arrays in earlier checkpoints
ARRAYS = (STATE, *WEIGHTS)
JSON_ITEMS = ("loader", "config", "card")


def to_nested(tree: Any) -> dict[str, Any]:
    """Any pytree as nested dicts of arrays: what is on disk knows neither optax nor dataclasses."""
    return traverse_util.unflatten_dict(dict(leaf_paths(tree)))


def by_folder(nested: Mapping[str, Any], folders: Collection[str] = WEIGHTS) -> dict[str, Any]:
    """What goes into which folder of a checkpoint.

    Args:
        nested: arrays by name.
        folders: those of one part each; the others lie together.
    """
    parts = {name: part for name, part in nested.items() if name in folders}
    rest = {name: part for name, part in nested.items() if name not in folders}
    return parts | ({STATE: rest} if rest else {})


def unread(listed: Collection[str], wanted: Collection[str]) -> list[str]:
    """The folders of arrays of which nothing is read.

    Args:
        listed: all folders of a checkpoint.
        wanted: the parts that are read.
    """
    read = {name if name in listed else STATE for name in wanted}
    return [name for name in ARRAYS if name not in read]


def saved_shapes(folder: epath.Path) -> dict[str, Any]:
    """Shapes and types of the arrays in a checkpoint, nested as `to_nested` gave them."""
    folders = _folders(folder)
    with ocp.Checkpointer(ocp.CompositeCheckpointHandler(**handlers())) as reader:
        items = reader.metadata(folder).item_metadata
    trees = {name: items[name].tree for name in folders}
    nested = {**trees.pop(STATE, {}), **trees}
    return jax.tree.map(lambda array: jax.ShapeDtypeStruct(array.shape, array.dtype), nested)


def _folders(folder: epath.Path) -> list[str]:
    there = names_in(folder)
    return [name for name in ARRAYS if name in there]


def restore_arrays(folder: epath.Path, abstract: Any, *, prefix: tuple[str, ...]) -> Any:
    """A pytree of the given shapes and shardings from the part of the checkpoint under `prefix`.

    Arrays there that it has no place for are said.
    """
    saved = dict(leaf_paths(saved_shapes(folder)))
    wanted = {(*prefix, *path): leaf for path, leaf in leaf_paths(abstract)}
    wanted = _as_saved(wanted, saved)
    _check_fits(folder, saved, wanted)
    left = sorted(path for path in saved.keys() - wanted.keys() if path[: len(prefix)] == prefix)
    if left:
        _log.warning(
            "%s: left out %d arrays that this config has no place for, such as %s",
            folder,
            len(left),
            "/".join(left[0]),
        )
    restored = dict(leaf_paths(read_arrays(folder, traverse_util.unflatten_dict(wanted))))
    return jax.tree.unflatten(jax.tree.structure(abstract), [restored[path] for path in wanted])


def place_of(name: str, saved: Mapping[str, Any]) -> str:
    """Where an average is in a checkpoint: earlier ones had a single one, for both uses."""
    return EARLIER_AVERAGE if name not in saved and EARLIER_AVERAGE in saved else name


def _as_saved(wanted: _Leaves, saved: _Leaves) -> dict[tuple[str, ...], Any]:
    tops = dict.fromkeys(path[0] for path in saved)
    names = {path[0]: place_of(path[0], tops) for path in wanted if path[0] in AVERAGES}
    if len(names) > 1:  # of an objective that had one: it was the momentum
        names["averaged"] = "averaged"
    return {(names.get(path[0], path[0]), *path[1:]): leaf for path, leaf in wanted.items()}


def _check_fits(folder: epath.Path, saved: _Leaves, wanted: _Leaves) -> None:
    for path, leaf in wanted.items():
        found = saved.get(path)
        if found is None or found.shape != leaf.shape or found.dtype != leaf.dtype:
            actual = "missing" if found is None else f"{found.dtype}{list(found.shape)}"
            raise ValueError(
                f"checkpoint {folder} must fit the config: {'/'.join(path)} should be "
                f"{leaf.dtype}{list(leaf.shape)}, is {actual}; restore with that run's config, "
                "or start another run elsewhere"
            )


def read_arrays(folder: epath.Path, wanted: dict[str, Any]) -> dict[str, Any]:
    """The arrays `wanted` of those saved: on the mesh if they have shardings, else numpy."""

    def how(leaf: Any) -> Any:
        if getattr(leaf, "sharding", None) is None:
            return ocp.RestoreArgs(restore_type=np.ndarray, dtype=leaf.dtype)
        return ocp.ArrayRestoreArgs(sharding=leaf.sharding, dtype=leaf.dtype)

    def restore(part: Any) -> Any:
        how_each = jax.tree.map(how, part)
        return ocp.args.PyTreeRestore(part, restore_args=how_each, partial_restore=True)

    parts = by_folder(wanted, _folders(folder))
    args = ocp.args.Composite(**{name: restore(part) for name, part in parts.items()})
    with ocp.Checkpointer(ocp.CompositeCheckpointHandler(**handlers())) as reader:
        restored = reader.restore(folder, args=args)
    trees = {name: restored[name] for name in parts}
    return {**trees.pop(STATE, {}), **trees}


def read_json(folder: epath.Path, name: str) -> Any:
    """One of the JSON values; waits for no other process."""
    return ocp.JsonCheckpointHandler().restore(folder / name)["value"]


def handlers(*, least_slice: int = 0) -> dict[str, Any]:
    """What writes and reads each folder of a checkpoint.

    Args:
        least_slice: bytes; an array that is whole on several devices is written by all of them, a
            slice each, unless slices are smaller.
    """
    arrays = ocp.type_handlers.ArrayHandler(min_slice_bytes_for_replica_parallel=least_slice)
    kinds = ocp.type_handlers.create_type_handler_registry(
        (jax.Array, arrays),
        (np.ndarray, ocp.type_handlers.NumpyHandler()),
    )
    return {
        **{name: ocp.PyTreeCheckpointHandler(type_handler_registry=kinds) for name in ARRAYS},
        **{name: ocp.JsonCheckpointHandler() for name in JSON_ITEMS},
    }


def with_int_keys(tree: Any) -> Any:
    """Positions in lists of layers as numbers again."""
    if not isinstance(tree, Mapping):
        return tree
    return {int(k) if k.isdecimal() else k: with_int_keys(v) for k, v in tree.items()}
