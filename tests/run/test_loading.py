"""How a config has its samples shuffled and loaded."""

import pytest

from data_pipelines.auto import AUTO
from data_pipelines.order import Blocks
from tests.small.runs import TINY
from vlp.cli.config import load_config
from vlp.run.inputs import open_inputs
from vlp.run.workdir import Workdir


def loader_of(pairs, tmp_path, **settings):
    flags = [f"--config.data.{name}={value}" for name, value in settings.items()]
    config = load_config(f"{TINY}:data={pairs}", flags)
    return open_inputs(config, Workdir(tmp_path / "run")).loader


def test_a_config_says_how_samples_are_shuffled(pairs, tmp_path):
    assert loader_of(pairs, tmp_path).groups.blocks is None
    blocks = loader_of(pairs, tmp_path, shuffle="blocks", shuffle_block=4, shuffle_window=2)
    assert blocks.groups.blocks == Blocks(size=4, window=2)
    state = blocks.get_state()
    assert state["blocks"] == [4, 2]
    with pytest.raises(ValueError, match="its blocks is .4, 2., here it is None"):
        loader_of(pairs, tmp_path).set_state(state)
    with pytest.raises(ValueError, match="shuffle must be one of full, blocks; got 'no'"):
        loader_of(pairs, tmp_path, shuffle="no")


def test_a_config_says_by_what_samples_are_loaded_and_how_long_one_may_take(pairs, tmp_path):
    usual = loader_of(pairs, tmp_path)
    assert (usual.num_threads, usual.num_workers, usual.stall_s) == (2, 0, 300.0)
    other = loader_of(pairs, tmp_path, threads=3, workers=AUTO, stall_s=9)
    assert (other.num_threads, other.num_workers, other.stall_s) == (3, AUTO, 9.0)
    with pytest.raises(ValueError, match="num_workers must be at least 0, got -1"):
        loader_of(pairs, tmp_path, workers=-1)


def test_a_temperature_needs_sets(pairs, tmp_path):
    with pytest.raises(ValueError, match="config.data.temperature mixes config.data.sets, got 2.0"):
        loader_of(pairs, tmp_path, temperature=2.0)


def test_a_run_of_the_order_before_is_refused_with_a_way_out(pairs, tmp_path):
    loader = loader_of(pairs, tmp_path)
    with pytest.raises(ValueError, match="its version is 1, here it is 2, .* from its weights"):
        loader.set_state(loader.get_state() | {"version": 1})
