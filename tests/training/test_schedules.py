"""Learning rates against their closed forms, durations against arithmetic."""

import math

import jax
import numpy as np
import pytest

from vlp.training.optim.schedules import make_schedule, parse_duration

STEPS = 50


def rates(name, **settings):
    schedule = jax.jit(make_schedule(name, steps=STEPS, **settings))
    return np.asarray([schedule(np.int32(step)) for step in range(STEPS)])


def test_cosine_follows_its_formula():
    want = [
        2e-3 * (s + 1) / 11
        if s < 10
        else 1e-4 + (2e-3 - 1e-4) * (1 + math.cos(math.pi * (s - 10) / 40)) / 2
        for s in range(STEPS)
    ]
    np.testing.assert_allclose(rates("cosine", peak=2e-3, warmup=10, end=1e-4), want, rtol=1e-5)


def test_rsqrt_follows_its_formula_and_cools_down():
    want = [
        2e-3 * (s + 1) / 6
        if s < 5
        else 2e-3 / math.sqrt(1 + (s - 5) / 7) * min(1, (STEPS - s) / 20)
        for s in range(STEPS)
    ]
    got = rates("rsqrt", peak=2e-3, warmup=5, cooldown=20, timescale=7)
    np.testing.assert_allclose(got, want, rtol=1e-5)


def test_constant_stays_and_cools_down():
    got = rates("constant-cooldown", peak=1.0, warmup=0, cooldown=10)
    np.testing.assert_allclose(got[:41], 1.0)
    np.testing.assert_allclose(got[40:], [1 - i / 10 for i in range(10)], rtol=1e-6)
    np.testing.assert_array_equal(rates("constant-cooldown", peak=1.0), 1.0)


def test_stairs_fall_after_each_whole_interval():
    got = rates("stairs", peak=2.0, warmup=4, factor=0.5, interval=20)
    want = [2 * (s + 1) / 5 if s < 4 else 2.0 * 0.5 ** (s // 20) for s in range(STEPS)]
    np.testing.assert_allclose(got, want, rtol=1e-6)


@pytest.mark.parametrize("name", ["cosine", "rsqrt", "constant-cooldown"])
def test_the_peak_is_reached_exactly_at_the_end_of_the_warm_up(name):
    got = rates(name, peak=0.5, warmup=10)
    assert got[10] == 0.5 == got.max()
    assert 0 < got[0] < got[1]


@pytest.mark.parametrize(
    ("name", "settings", "error", "remedy"),
    [
        ("cosin", {}, ValueError, "one of cosine, rsqrt, constant-cooldown, stairs, got cosin"),
        ("cosine", dict(cooldown=3), TypeError, "cooldown"),
        ("rsqrt", dict(warmup=30, cooldown=30), ValueError, "fit into the 50 steps"),
        ("cosine", dict(warmup=-1), ValueError, "shorten"),
        ("cosine", dict(peak=-1.0), ValueError, "peak must be a learning rate .*, got -1"),
        ("cosine", dict(end=-1.0), ValueError, "end must be a learning rate .*, got -1"),
        ("stairs", dict(interval=0), ValueError, "an interval of a step at least, got 0.9 and 0"),
        ("stairs", dict(interval=5, factor=1.5), ValueError, "a factor in .*got 1.5"),
    ],
)
def test_settings_that_make_no_schedule_are_refused(name, settings, error, remedy):
    with pytest.raises(error, match=remedy):
        make_schedule(name, **{"peak": 1.0, "steps": STEPS, **settings})


@pytest.mark.parametrize(
    ("duration", "steps"),
    [
        (500, 500),
        ("500", 500),
        ("500 steps", 500),
        ("1 step", 1),
        ("2 epochs", 200),
        ("1.5 ep", 150),
        ("1 Epoch", 100),
        ("1e6 samples", 100_000),
        ("14 samples", 1),
        ("16 samples", 2),
        ("0 steps", 0),
    ],
)
def test_durations_are_steps(duration, steps):
    assert parse_duration(duration, global_batch_size=10, samples_per_epoch=1000) == steps


@pytest.mark.parametrize(
    ("duration", "remedy"),
    [
        ("2 epoks", 'did you mean "2 epochs"'),
        ("3 stps", 'did you mean "3 steps"'),
        ("soon", "try 500"),
        ("", "try 500"),
        ("1.2.3 steps", "try 500"),
        ("-1 steps", "at least 0"),
        ("nan", "try 500"),
    ],
)
def test_unreadable_durations_are_refused_with_a_remedy(duration, remedy):
    with pytest.raises(ValueError, match=remedy):
        parse_duration(duration, global_batch_size=10, samples_per_epoch=1000)


def test_epochs_of_endless_data_are_refused():
    with pytest.raises(ValueError, match="say it in steps or samples"):
        parse_duration("1 epoch", global_batch_size=10)
