"""How arrays that several devices hold are written: cut among the devices, or whole."""

import jax
import numpy as np
import orbax.checkpoint as ocp
from jax.sharding import PartitionSpec

from vlp.training.checkpoint import contents
from vlp.training.checkpoint.checkpoints import Checkpoints, find_checkpoint


def test_of_what_all_devices_hold_only_large_arrays_are_written_in_slices(tmp_path):
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    whole = jax.sharding.NamedSharding(mesh, PartitionSpec())
    rng = np.random.default_rng(0)
    values = {
        name: rng.normal(size=size).astype(np.float32)
        for name, size in (("large", 8 * 2**18), ("small", 8 * 2**10))
    }
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, {"params": jax.device_put(values, whole)})
    checkpoints.close()
    folder = find_checkpoint(tmp_path, step=1)
    read = contents.read_arrays(folder, contents.saved_shapes(folder))
    jax.tree.map(np.testing.assert_array_equal, read, {"params": values})
    with ocp.Checkpointer(ocp.CompositeCheckpointHandler(**contents.handlers())) as reader:
        found = reader.metadata(folder).item_metadata["params"].tree
    pieces = {name: array.storage.chunk_shape for name, array in found.items()}
    assert pieces == {"large": (2**18,), "small": (8 * 2**10,)}
