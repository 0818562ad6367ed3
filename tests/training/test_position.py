"""Where a run stands in its samples, whatever the sizes of its batches were."""

import jax
import numpy as np
import pytest

from vlp.training.loop.position import Position
from vlp.training.optim.schedules import make_schedule, unit_of


def test_without_a_change_it_counts_steps_to_the_bit():
    schedule = make_schedule("cosine", peak=1e-3, steps=40, warmup=4)
    for position in (Position(16), Position(16, step=7, samples=112)):
        assert not position.changed and position.schedule(schedule) is schedule
        assert position.samples_at(9) == 144
        assert [step for step in range(8, 31) if position.is_due(5, step)] == [10, 15, 20, 25, 30]
        assert position.step_after(640) == 40


@pytest.mark.parametrize("batch", [8, 32, 12])
def test_another_batch_size_goes_on_from_the_samples(batch):
    position = Position(batch, step=7, samples=112)
    assert position.changed and position.samples_at(7) == 112
    last = position.step_after(256)
    assert 256 <= position.samples_at(last) < 256 + batch
    assert position.step_after(100) == 7  # it is past that


@pytest.mark.parametrize("name", ["cosine", "constant-cooldown", "stairs"])
def test_the_rate_goes_on_where_it_stood_and_ends_where_it_would_have(name):
    further = {"constant-cooldown": dict(cooldown=40), "stairs": dict(interval=16)}.get(name, {})
    plain = make_schedule(name, peak=1.0, steps=160, warmup=8, **further)
    halved = {key: value // 2 for key, value in further.items()}
    doubled = make_schedule(name, peak=1.0, steps=80, warmup=4, **halved)
    position = Position(32, step=64, samples=1024)  # 64 steps of 16
    rate = jax.jit(position.schedule(doubled))
    got = [float(rate(np.int32(step))) for step in range(64, 112)]
    want = [float(plain(np.int32(step))) for step in range(64, 160, 2)]
    np.testing.assert_allclose(got, want, atol=1e-6)
    assert position.step_after(160 * 16) == 112


def test_two_changes_in_a_row_are_one_count():
    first = Position(32, step=8, samples=128)
    second = Position(8, step=12, samples=first.samples_at(12))
    assert second.samples_at(12) == 256
    assert second.step_after(400) == 12 + 18


def test_what_is_due_is_due_once_the_samples_are_full():
    position = Position(32, step=7, samples=112)  # of batches of 16
    due = [step for step in range(8, 20) if position.is_due(2, step)]  # every 64 samples
    assert [position.samples_at(step) for step in due] == [144, 208, 272, 336, 400, 464]


@pytest.mark.parametrize(
    ("duration", "unit"),
    [(3, "steps"), ("2 epochs", "epochs"), ("1e3 pairs", "samples"), (0, ""), ("0 epochs", "")],
)
def test_the_unit_of_a_duration_is_known(duration, unit):
    assert unit_of(duration) == unit
