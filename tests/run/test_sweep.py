"""Walks through a config's settings: which points there are, and what comes of each."""

import jax
import pytest

from tests.plans import plan
from vlp.cli.config import load_config
from vlp.planning.saying import Run
from vlp.run.sweep import points, walk

SMALL = "tests/small/config.py:data=nowhere.tar,batch=64"


def small_points(axes, *flags):
    """Those of a walk over eight devices through the small config with flags."""

    def changed(more):
        return load_config(SMALL, [*(f"--config.{flag}" for flag in flags), *more])

    return points(changed([]), jax.devices(), axes, changed=changed)


def test_a_walk_takes_every_value_with_every_other():
    found = small_points(("batch", "fsdp", "remat", "precision"))
    assert len(found) == 3 * 2 * 3 * 2 == len({tuple(each.flags) for each in found})
    assert {each.settings["batch"] for each in found} == {32, 64, 128}
    assert {each.settings["fsdp"] for each in found} == {1, 8}


def test_the_config_s_own_axis_is_walked_too():
    found = small_points(("fsdp",), "mesh.fsdp=4")
    assert [each.settings["fsdp"] for each in found] == [1, 4, 8]


def test_flags_of_a_point_make_its_config():
    point = small_points(("batch", "remat", "precision"))[-1]
    config = load_config(SMALL, point.flags)
    assert config.train.global_batch_size == 128
    for tower in (config.model.image, config.model.text):
        assert (tower.remat, tower.dtype) == ("full", "bfloat16")


def test_a_part_with_a_value_of_its_own_is_refused_for_the_walk_would_not_reach_it():
    with pytest.raises(ValueError, match="model.text.dtype.*or precision out of --sweep"):
        small_points(("batch", "precision"), "model.text.dtype=bfloat16")
    assert small_points(("batch",), "model.text.dtype=bfloat16")


def fitting(flags, *, most):
    """A plan that fits up to a batch."""
    (batch,) = (int(flag.rpartition("=")[2]) for flag in flags if "batch" in flag)
    return plan(temporary=10**9 if batch <= most else 10**10), Run(steps=1)


def test_what_is_larger_than_what_does_not_fit_is_not_compiled():
    walked = small_points(("batch", "remat"))
    asked = []

    def planned(flags):
        asked.append(flags)
        return fitting(flags, most=0 if "--config.model.remat=none" in flags else 64)

    found = list(walk(walked, planned))
    assert len(found) == len(walked) == 9 and len(asked) == 1 + 3 + 3
    left_out = [each for each in found if each.plan is None]
    assert [each.settings["batch"] for each in left_out] == [64, 128]
    assert {each.why for each in left_out} == {"not tried, for 32 do not fit"}


@pytest.mark.parametrize("error", [ValueError, jax.errors.JaxRuntimeError])
def test_a_point_that_fails_says_why_and_the_walk_goes_on(error):
    walked = small_points(("batch",))

    def planned(flags):
        if "64" in flags[0]:
            raise error("no such thing\nand more")
        return fitting(flags, most=1000)

    found = list(walk(walked, planned))
    assert [each.why for each in found] == ["", "no such thing", ""]
