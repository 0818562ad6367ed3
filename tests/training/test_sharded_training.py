"""A mesh changes where things are and nothing else."""

import numpy as np
from jax.sharding import PartitionSpec as P
from toy import device_batch, make_toy_training

from vlp.parallel.mesh import make_mesh
from vlp.parallel.sharding import put_batch


def losses_of(training, *, steps=10):
    state, losses = training.init(), []
    for step in range(1, steps + 1):
        state, metrics = training.step(state, put_batch(device_batch(step), training.mesh))
        losses.append(float(metrics["train/loss"]))
    return losses, state


def test_losses_on_eight_devices_are_those_on_one(training, fsdp_training):
    alone, _ = losses_of(training)
    data_training = make_toy_training(mesh=make_mesh(), ema_decay=0.9)
    for other in (data_training, fsdp_training):
        np.testing.assert_allclose(losses_of(other)[0], alone, rtol=1e-5)


def test_fsdp_divides_parameters_moments_and_averages_alike_and_compiles_once(fsdp_training):
    _, after = losses_of(fsdp_training, steps=2)
    assert fsdp_training._compiled._cache_size() == 1
    for state in (fsdp_training.init(), after):
        moments = state.opt_state[1]
        for tree in (state.params, state.averaged, state.momentum, moments.mu, moments.nu):
            kernel = tree["image"]["embed"]["kernel"]
            assert kernel.sharding.spec == P("fsdp")
            assert kernel.addressable_shards[0].data.size * 8 == kernel.size
            assert tree["image"]["blocks"]["kernel"].sharding.spec == P(None, "fsdp")
            assert tree["log_scale"].sharding.spec == P()
        assert state.step.sharding.spec == P()
