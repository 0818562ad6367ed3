"""A checkpoint is whole or not there, and a damaged one is never taken for a good one."""

import json
import logging
import shutil

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest
from etils import epath
from jax.sharding import PartitionSpec
from toy import COUNTING, ToyClip, device_batch, make_toy_training

from vlp.parallel.sharding import put_batch
from vlp.training.checkpoint import contents, manifest
from vlp.training.checkpoint.checkpoints import (
    Checkpoints,
    find_checkpoint,
    load_params,
    read_json,
    saved_steps,
)


@pytest.fixture(scope="module")
def states(training):
    """The states after steps 1 to 3, on the host."""
    state, kept = training.init(), {}
    for step in (1, 2, 3):
        state, _ = training.step(state, device_batch(step))
        kept[step] = jax.tree.map(np.array, state)
    return kept


@pytest.fixture(scope="module")
def written(training, states, tmp_path_factory):
    """A directory with the checkpoints of steps 1 to 3; to be copied before it is harmed."""
    directory = tmp_path_factory.mktemp("run") / "checkpoints"
    checkpoints = Checkpoints(directory, config={"lr": 0.1}, card={"format": 1})
    for step, state in states.items():
        checkpoints.save(step, placed(state, training), loader={"batch": step})
    checkpoints.close()
    return directory


@pytest.fixture
def directory(written, tmp_path):
    return shutil.copytree(written, tmp_path / "checkpoints")


def placed(state, training):
    return jax.tree.map(
        lambda value, like: jax.device_put(value, like.sharding), state, training.abstract
    )


def assert_same(left, right):
    jax.tree.map(np.testing.assert_array_equal, left, right)


def restore(directory, training):
    checkpoints = Checkpoints(directory)
    try:
        return checkpoints.restore(training.abstract)
    finally:
        checkpoints.close()


def test_everything_comes_back_to_the_bit(directory, training, states):
    restored = restore(directory, training)
    assert (restored.step, restored.loader) == (3, {"batch": 3})
    assert (restored.config, restored.card) == ({"lr": 0.1}, {"format": 1})
    assert_same(restored.state, states[3])
    assert saved_steps(directory) == [1, 2, 3]


def test_another_number_of_devices_takes_it_up(directory, training, fsdp_training):
    restored = restore(directory, fsdp_training)
    alone = restore(directory, training)
    kernel = restored.state.params["image"]["embed"]["kernel"]
    assert kernel.sharding.is_equivalent_to(
        fsdp_training.abstract.params["image"]["embed"]["kernel"].sharding, 2
    )
    assert_same(jax.tree.map(np.array, restored.state), jax.tree.map(np.array, alone.state))
    batch = device_batch(4)
    _, spread = fsdp_training.step(restored.state, put_batch(batch, fsdp_training.mesh))
    _, single = training.step(alone.state, put_batch(batch, training.mesh))
    np.testing.assert_allclose(spread["train/loss"], single["train/loss"], rtol=1e-5)


def largest_file(folder, part="params"):
    return max((p for p in (folder / part).rglob("*") if p.is_file()), key=_size)


def _size(path):
    return path.stat().st_size


def flip_byte_of_an_array(folder):
    path = largest_file(folder)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def flip_byte_of_the_manifest(folder):
    path = folder / manifest.NAME
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def cut_a_file(folder):
    path = largest_file(folder)
    path.write_bytes(path.read_bytes()[:-1])


def empty_a_file(folder):
    largest_file(folder).write_bytes(b"")


def lose_a_file(folder):
    largest_file(folder).unlink()


def lose_a_directory(folder):
    shutil.rmtree(folder / "params")


def lose_the_loader(folder):
    shutil.rmtree(folder / "loader")


def lose_the_manifest(folder):
    (folder / manifest.NAME).unlink()


def lose_the_commit_marker(folder):
    (folder / manifest.COMMITTED).unlink()


def lose_every_marker(folder):
    lose_the_manifest(folder)
    lose_the_commit_marker(folder)


def lose_everything(folder):
    shutil.rmtree(folder)
    folder.mkdir()


DAMAGE = [
    flip_byte_of_an_array,
    flip_byte_of_the_manifest,
    cut_a_file,
    empty_a_file,
    lose_a_file,
    lose_a_directory,
    lose_the_loader,
    lose_the_manifest,
    lose_the_commit_marker,
    lose_every_marker,
    lose_everything,
]


@pytest.mark.parametrize("damage", DAMAGE, ids=lambda damage: damage.__name__)
def test_a_damaged_checkpoint_is_reported_and_the_one_before_taken(
    directory, training, states, caplog, damage
):
    damage(directory / "3")
    with caplog.at_level(logging.ERROR, "vlp"):
        assert find_checkpoint(directory).name == "2"
        restored = restore(directory, training)
    assert restored.step == 2
    assert_same(restored.state, states[2])
    assert "is damaged" in caplog.text and "trying the one before" in caplog.text
    assert saved_steps(directory) == [1, 2]
    assert (directory / "3.damaged-1").exists()


@pytest.mark.parametrize("damage", [flip_byte_of_an_array, lose_every_marker])
def test_with_all_damaged_every_start_refuses(directory, training, damage):
    for step in (1, 2, 3):
        damage(directory / str(step))
    with pytest.raises(ValueError, match="none of 1, 2, 3 is"):
        find_checkpoint(directory)
    for _ in range(2):  # launchers start a run that failed once more
        with pytest.raises(ValueError, match="none of 1.damaged-1, 2.damaged-1, 3.damaged-1 is"):
            restore(directory, training)
    with pytest.raises(ValueError, match="none of 1.damaged-1, .* is"):
        find_checkpoint(directory)


def test_what_was_set_aside_hinders_no_run_that_has_another(directory, training):
    flip_byte_of_an_array(directory / "3")
    assert [restore(directory, training).step for _ in range(2)] == [2, 2]


def test_a_damaged_checkpoint_asked_for_by_name_is_refused(directory):
    flip_byte_of_an_array(directory / "2")
    with pytest.raises(ValueError, match="is damaged: params/.* has changed; use another step"):
        find_checkpoint(directory / "2")
    with pytest.raises(ValueError, match=r"have \[1, 2, 3\]"):
        find_checkpoint(directory, step=7)
    with pytest.raises(ValueError, match="found none; train first"):
        find_checkpoint(directory / "nowhere")


def test_an_empty_directory_restores_nothing(tmp_path, training):
    assert restore(tmp_path / "new", training) is None


def test_what_another_optimizer_has_no_place_for_is_left_out_with_a_word(directory, caplog):
    lion = make_toy_training(optimizer="lion", ema_decay=0.9, objective=COUNTING)
    assert restore(directory, lion).step == 3
    assert "left out 5 arrays that this config has no place for" in caplog.text
    assert "opt_state/1/nu" in caplog.text


@pytest.mark.parametrize("name", ["averaged", "momentum"])
def test_the_one_average_of_an_earlier_run_is_read_as_what_it_was_for(tmp_path, name):
    settings = {
        "averaged": dict(ema_decay=0.9),
        "momentum": dict(objective=ToyClip(momentum=COUNTING.momentum)),
    }
    training = make_toy_training(**settings[name])
    state = training.init()
    parts = {part: getattr(state, part) for part in ("step", "params", "opt_state")}
    slow = jax.tree.map(lambda x: x + 1, state.params)
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, parts | {"teacher": slow})
    checkpoints.close()
    assert_same(getattr(restore(tmp_path, training).state, name), slow)
    assert_same(load_params(tmp_path, which=name), slow)


def test_leftovers_of_a_killed_run_are_removed(directory, training):
    (directory / "9.orbax-checkpoint-tmp" / "state").mkdir(parents=True)
    (directory / "1").rename(directory / "1.deleting")
    assert restore(directory, training).step == 3
    assert sorted(path.name for path in directory.iterdir()) == ["2", "3"]


def save(directory, state, samples, **retention):
    """Saves checkpoints at these steps, with so many samples seen."""
    checkpoints = Checkpoints(directory, **retention)
    for step, seen in samples.items():
        checkpoints.save(step, state, loader={"samples": seen})
    checkpoints.close()


@pytest.mark.parametrize(
    ("keep_every", "kept"),
    [
        (30, [3, 6, 7, 8]),
        (25, [3, 5, 7, 8]),  # 30 and 50 are the first with 25 and 50 full
        (15, [2, 3, 5, 6, 7, 8]),
        (70, [7, 8]),
        (None, [7, 8]),
    ],
)
def test_the_newest_and_the_first_of_each_period_are_kept(tmp_path, training, keep_every, kept):
    samples = {step: 10 * step for step in range(1, 9)}
    save(tmp_path, training.init(), samples, keep=2, keep_every=keep_every)
    assert saved_steps(tmp_path) == kept


def test_periods_are_counted_in_samples_through_another_batch_size_and_start(tmp_path, training):
    state, retention = training.init(), dict(keep=1, keep_every=30)
    save(tmp_path, state, {1: 10, 2: 20, 3: 30, 4: 40}, **retention)
    save(tmp_path, state, {5: 65, 6: 90, 7: 115}, **retention)
    assert saved_steps(tmp_path) == [3, 5, 6, 7]


def test_an_old_checkpoint_that_cannot_be_read_is_not_kept(tmp_path, training, caplog):
    state, retention = training.init(), dict(keep=1, keep_every=10)
    save(tmp_path, state, {1: 10, 2: 20}, **retention)
    lose_the_loader(tmp_path / "1")
    save(tmp_path, state, {3: 30}, **retention)
    assert saved_steps(tmp_path) == [2, 3] and "1 is damaged" in caplog.text


def test_saved_is_said_only_after_the_commit_and_failures_surface(
    tmp_path, training, monkeypatch, caplog
):
    checkpoints = Checkpoints(tmp_path)
    state = training.init()
    checkpoints.save(1, state)
    checkpoints.wait()

    def full_disk(folder, **_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(manifest, "write", full_disk)
    with caplog.at_level(logging.INFO, "vlp"):
        checkpoints.save(2, state)
        with pytest.raises(RuntimeError, match="checkpoint 2 could not be .*No space left"):
            while True:
                checkpoints.check()
    assert "saved checkpoint 2" not in caplog.text
    assert saved_steps(tmp_path) == [1]
    monkeypatch.undo()
    checkpoints.close()
    assert restore(tmp_path, training).step == 1


def test_a_state_of_another_config_is_refused_by_name(directory, fsdp_training):
    other = dict(fsdp_training.abstract.params)
    other["text"] = {"words": other["text"]["tokens"]}
    with pytest.raises(ValueError, match="text/words should be float32.*is missing"):
        load_params(directory, like=other)
    other["text"] = {"tokens": jax.ShapeDtypeStruct((2, 2), np.float32)}
    with pytest.raises(ValueError, match=r"should be float32\[2, 2\], is float32\[32, 16\]"):
        load_params(directory, like=other)


def test_parameters_load_without_the_optimiser(directory, fsdp_training, states):
    assert_same(load_params(directory), states[3].params)
    assert_same(load_params(directory / "2"), states[2].params)
    for which in ("averaged", "momentum"):
        assert_same(load_params(directory, step=1, which=which), getattr(states[1], which))
    spread = load_params(directory, like=fsdp_training.abstract.params)
    assert_same(jax.tree.map(np.array, spread), states[3].params)
    assert spread["text"]["tokens"].sharding.spec == PartitionSpec("fsdp")
    with pytest.raises(ValueError, match="which must be params, averaged or momentum"):
        load_params(directory, which="opt_state")


def test_weights_are_read_where_the_rest_of_a_checkpoint_is_gone(
    directory, training, states, caplog
):
    for part in ("state", "averaged", "momentum"):
        shutil.rmtree(directory / "3" / part)
    assert_same(load_params(directory), states[3].params)
    assert restore(directory, training).step == 2
    assert "is damaged: averaged/" in caplog.text or "is damaged: state/" in caplog.text


def test_a_damaged_average_is_passed_over_by_those_who_read_it(directory, states):
    path = largest_file(directory / "3", "averaged")
    path.write_bytes(path.read_bytes()[:-1])
    assert_same(load_params(directory, which="averaged"), states[2].averaged)
    assert_same(load_params(directory, which="params"), states[3].params)


def test_a_checkpoint_with_all_arrays_in_one_folder_is_read_as_before(tmp_path, training, states):
    """As vlp wrote them before weights had folders of their own."""
    state = ocp.args.StandardSave(contents.to_nested(placed(states[2], training)))
    values = {"loader": {"batch": 2}, "config": None, "card": {"format": 1}}
    saved = {name: ocp.args.JsonSave({"value": value}) for name, value in values.items()}
    with ocp.Checkpointer(ocp.CompositeCheckpointHandler()) as writer:
        writer.save(tmp_path / "2", args=ocp.args.Composite(state=state, **saved))
    (tmp_path / "2" / manifest.COMMITTED).touch()
    manifest.write(epath.Path(tmp_path / "2"), processes=1)
    assert_same(restore(tmp_path, training).state, states[2])
    assert_same(load_params(tmp_path, which="averaged"), states[2].averaged)
    flip_byte = largest_file(tmp_path / "2", "state")
    flip_byte.write_bytes(flip_byte.read_bytes()[:-1])
    with pytest.raises(ValueError, match="must be undamaged, none of"):
        load_params(tmp_path)


def test_every_process_looks_at_a_share_of_the_files(directory):
    folder, found = epath.Path(directory / "3"), []
    for path in sorted(p for p in (directory / "3").rglob("*") if p.is_file()):
        if path.name in (manifest.NAME, manifest.COMMITTED, "_CHECKPOINT_METADATA"):
            continue
        content = path.read_bytes()
        path.write_bytes(content + b"x")
        said = [manifest.problem(folder, process=i, processes=3) for i in range(3)]
        path.write_bytes(content)
        assert sum(problem is not None for problem in said) == 1, path
        found.append(next(i for i in range(3) if said[i]))
    assert len(set(found)) == 3


def test_json_values_and_manifest_are_plain(directory):
    assert read_json(directory / "2", "loader") == {"batch": 2}
    listed = json.loads(json.loads((directory / "2" / manifest.NAME).read_text())["manifest"])
    present = {
        str(path.relative_to(directory / "2"))
        for path in (directory / "2").rglob("*")
        if path.is_file()
    }
    assert present - set(listed["files"]) == {
        manifest.NAME,
        manifest.COMMITTED,
        "_CHECKPOINT_METADATA",
    }


@pytest.mark.parametrize(
    ("settings", "remedy"), [(dict(keep=0), "try 3"), (dict(keep_every=0), "or None")]
)
def test_impossible_retention_is_refused(tmp_path, settings, remedy):
    with pytest.raises(ValueError, match=remedy):
        Checkpoints(tmp_path, **settings)
