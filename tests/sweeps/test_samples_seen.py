"""What a checkpoint has seen: steps times the global batch that its run's config says."""

import json

from vlp.sweeps.models import ModelRef


def seen(folder, *, step=7, config='{"train": {"global_batch_size": 32}}'):
    """Of a checkpoint of a run with that config."""
    (folder / "checkpoints" / "7").mkdir(parents=True, exist_ok=True)
    if config is not None:
        (folder / "config.json").write_text(config)
    return ModelRef("run", f"{folder}/checkpoints/7", step).samples_seen


def test_steps_times_the_batch(tmp_path):
    assert seen(tmp_path) == 7 * 32


def test_a_run_without_a_config_that_says_it_has_none(tmp_path):
    assert seen(tmp_path, config=None) is None
    assert seen(tmp_path, config=json.dumps({"train": {}})) is None
    assert seen(tmp_path, config="{") is None


def test_what_is_of_no_run_has_none(tmp_path):
    assert seen(tmp_path, step=None) is None
