"""Optimiser groups of a config: their flags, what they mean in a run, what is refused."""

import io

import jax
import numpy as np
import pytest
from rich.console import Console

from tests.small.runs import TINY
from vlp.cli.config import load_config
from vlp.parallel.sharding import put_batch
from vlp.run.banner import say_start
from vlp.run.build import plan
from vlp.run.config_changes import check_same_config
from vlp.run.values import as_json

SAMPLES = 160  # ten steps an epoch
HEAD = ("head.pattern=('.*_projection/.*', 'log_scale')", "head.multiplier=10")


def read(*flags, total="100 steps", warmup="1 steps"):
    given = [f"--config.train.total={total}", f"--config.optim.schedule.warmup={warmup}"]
    given += ["--config.optim.optimizer.name=adamw"]  # which compiles soonest
    given += [f"--config.optim.groups.{flag}" for flag in flags]
    return load_config(f"{TINY}:data=x", given)


def planned(*flags, freeze=(), **place):
    config = read(*flags)
    config.optim.freeze = freeze
    return plan(config, samples_per_epoch=SAMPLES, **place)


def refused(*flags, **settings) -> str:
    with pytest.raises(ValueError) as error:
        planned(*flags, **settings)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_groups_are_set_by_flags_and_their_kinds_are_checked():
    config = read(*HEAD, "b.pattern=image/.*", "b.frozen_until=2 epochs", "b.weight_decay=0")
    assert config.optim.groups.head.pattern == (".*_projection/.*", "log_scale")
    assert config.optim.groups.to_dict()["b"] == dict(
        pattern="image/.*", frozen_until="2 epochs", weight_decay=0.0
    )
    assert read().optim.groups.to_dict() == {}


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ((*HEAD, "head.multiplir=2"), "did you mean config.optim.groups.head.multiplier?"),
        (("head.multiplier=2",), "config.optim.groups.head needs pattern"),
        (("head.pattern=.*", "head.multiplier=fast"), "head.multiplier must be a number"),
        (("head=2",), "config.optim.groups.head does not exist"),
        (("head.pattern=.*",), "optim.groups.head: a group must set one of multiplier"),
        (("head.pattern=.*", "head.layer_decay=2"), "groups.head: layer_decay must be above 0"),
        (("h.pattern=imag/.*", "h.multiplier=2"), 'groups.h: .* mean "image/.*"?'),
        (("h.pattern=.*", "h.frozen_until=3 epocs"), 'groups.h: .* mean "3 epochs"?'),
        (("h.pattern=.*", "h.frozen_until=100"), "before the end of the run of 100 steps, got 100"),
    ],
)
def test_a_group_that_cannot_be_is_refused_in_the_words_of_the_config(flags, said):
    found = refused(*flags)
    for part in said.split(".*"):
        assert part.strip() in found


def test_a_group_of_frozen_parameters_is_refused_and_one_of_some_says_how_many():
    flags = ("towers.pattern=(image|text)/.*", "towers.multiplier=0.5")
    said = refused(*flags, freeze=("image/.*", "text/.*"))
    assert said.startswith("config.optim.groups.towers: ") and "all of which are frozen" in said
    line = planned(*flags, freeze=("image/patches/.*",)).groups["towers"]
    assert line.endswith("peak rate 0.005; frozen by config.optim.freeze: 1 more")


def test_the_banner_says_what_each_group_does(tmp_path):
    flags = (*HEAD, "towers.pattern=(image|text)/.*", "towers.layer_decay=0.5")
    config = read(*flags, "towers.frozen_until=2 epochs", "towers.weight_decay=0.3")
    out = io.StringIO()
    say_start(
        config,
        plan(config, samples_per_epoch=SAMPLES),
        samples=SAMPLES,
        step=0,
        workdir=tmp_path,
        console=Console(file=out, width=200),
    )
    lines = {line[:13].strip(): line for line in out.getvalue().splitlines()}
    assert "513 parameters in 3 arrays; peak rate 0.1" in lines["group head"]
    # Two blocks in each tower: three layers from the embeddings to the norms behind the blocks.
    rest = "peak rate 0.00125 to 0.01; weight decay 0.3; frozen until step 20"
    assert lines["group towers"].rstrip().endswith(rest)


def test_a_group_reaches_the_step_and_leaves_the_state_as_it_is():
    place, text = dict(devices=jax.devices()[:1]), ("text.pattern=text/.*", "text.frozen_until=9")
    plain, training = planned(**place).training, planned(*text, **place).training
    assert jax.tree.structure(training.abstract) == jax.tree.structure(plain.abstract)
    rng, state = np.random.default_rng(0), training.init()
    batch = {
        "image": rng.integers(0, 255, (16, 16, 16, 3), np.uint8),
        "text": rng.integers(2, 300, (16, 8), np.int32),
        "weight": np.ones(16, np.float32),
    }
    before = jax.tree.map(np.array, state.params)
    after = training.step(state, put_batch(batch, training.mesh))[0].params
    same = jax.tree.map(lambda old, new: bool((old == np.asarray(new)).all()), before, after)
    assert all(jax.tree.leaves(same["text"])) and not any(jax.tree.leaves(same["image"]["patches"]))


def test_a_group_is_frozen_to_the_same_sample_in_another_batch_size():
    """Six epochs of ten steps, then steps of twice the size."""
    flags = ("h.pattern=text/.*", "h.frozen_until=8 epochs", "h.weight_decay=0.5")
    config = read(*flags, total="20 epochs", warmup="1 epochs")
    assert "frozen until step 80" in plan(config, samples_per_epoch=SAMPLES).groups["h"]
    with config.unlocked():
        config.train.global_batch_size = 32
    later = plan(config, samples_per_epoch=SAMPLES, step=60, samples=960)
    assert "frozen until step 70" in later.groups["h"]
    with config.unlocked():
        config.optim.groups.h.frozen_until = "80 steps"
    with pytest.raises(ValueError, match="config.optim.groups.h.frozen_until=80 steps in steps"):
        plan(config, samples_per_epoch=SAMPLES, step=60, samples=960)


def test_a_group_that_is_new_is_another_config(tmp_path):
    with pytest.raises(ValueError, match="groups.head.multiplier: None there, 10") as error:
        check_same_config(as_json(read()), as_json(read(*HEAD)), tmp_path)
    assert str(error.value).count("config.optim") == 2
    check_same_config(as_json(read(*HEAD)), as_json(read(*HEAD)), tmp_path)
