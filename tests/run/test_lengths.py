"""Lengths that do not fit together are refused in the words of the config."""

import pytest

from experiments import own_data
from vlp.run.build import plan

SAMPLES = 4096


def planned(*, samples=SAMPLES, step=0, seen=0, **settings):
    """The plan of a small run, some settings by their dotted names."""
    config = own_data.get_config("data=x,res=32,epochs=4,batch=64")
    config.optim.schedule.warmup = "1 epochs"
    with config.ignore_type():
        for name, value in settings.items():
            section, key = name.rsplit("__", 1)
            part = config
            for each in section.split("__"):
                part = part[each]
            part[key] = value
    return plan(config, samples_per_epoch=samples, step=step, samples=seen)


def refused(**settings) -> str:
    with pytest.raises(ValueError) as error:
        planned(**settings)
    return str(error.value)


def test_a_run_goes_on_in_another_batch_size_to_the_same_number_of_samples():
    whole = planned()
    assert (whole.steps, whole.position.changed) == (256, False)
    assert planned(step=100, seen=6400).steps == 256
    for batch in (32, 64, 128, 104):
        resumed = planned(train__global_batch_size=batch, step=100, seen=6400)
        assert 4 * SAMPLES <= resumed.position.samples_at(resumed.steps) < 4 * SAMPLES + batch


def test_a_length_in_steps_cannot_follow_another_batch_size():
    changed = dict(step=100, seen=6400, train__global_batch_size=128)
    said = refused(train__total="200 steps", **changed)
    assert "config.train.total=200 steps" in said and '"12800 samples"' in said
    assert "config.optim.schedule.warmup=7" in refused(optim__schedule__warmup=7, **changed)
    said = refused(optim__schedule__name="rsqrt", **changed)
    assert "config.optim.schedule.timescale=10000" in said
    planned(
        optim__schedule__name="rsqrt", optim__schedule__timescale="2 epochs", **changed
    )  # fmt: skip
    said = refused(checkpoint__keep_every="5 steps", **changed)
    assert "config.checkpoint.keep_every=5 steps" in said and '"320 samples"' in said


def test_samples_are_not_rounded_to_steps():
    lengths = planned(train__global_batch_size=96).lengths
    assert (lengths.steps("5 epochs"), lengths.every_samples("5 epochs")) == (213, 5 * SAMPLES)
    assert lengths.every_samples(7) == lengths.every_samples("672 samples") == 672


@pytest.mark.parametrize("often", ["20 samples", "0.001 epochs", "0.3 steps"])
def test_what_is_done_more_often_than_a_step_is_done_each_step(often):
    lengths = planned().lengths
    assert (lengths.steps(often), lengths.every(often)) == (0, 1)
    assert lengths.every_samples("0.1 samples") == 1


def test_what_is_done_every_0_steps_is_done_at_the_end_alone():
    lengths = planned().lengths
    for never in (0, "0 steps", "0 epochs"):
        assert lengths.every(never) is None and lengths.every_samples(never) is None
    assert lengths.every("130 samples") == 2


def test_objectives_that_keep_whole_batches_refuse_another_size():
    from experiments import emoji

    config = emoji.get_config("model=albef")
    config.train.global_batch_size = 128
    config.objective.queue_size = 256
    with pytest.raises(ValueError, match="keeps features of whole batches"):
        plan(config, samples_per_epoch=SAMPLES, step=10, samples=2560)
    plan(config, samples_per_epoch=SAMPLES, step=10, samples=1280)


def test_what_is_shorter_than_a_step_names_what_to_change():
    said = refused(train__total="0.001 epochs")
    assert "config.train.total" in said and "global_batch_size 64" in said


def test_a_warm_up_longer_than_the_run_names_its_setting():
    assert "config.optim.schedule.warmup=5 epochs (320 steps)" in refused(
        optim__schedule__warmup="5 epochs"
    )


def test_a_batch_of_more_than_the_data_is_refused_or_said(caplog):
    said = refused(samples=10)
    assert "config.train.global_batch_size 64 is more than the 10 samples" in said
    planned(samples=10, train__total="20 steps", optim__schedule__warmup=0)
    assert "more than the 10 samples" in caplog.text
