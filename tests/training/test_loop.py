"""The loop logs every step once, saves, resumes to the bit, stops when told or when lost."""

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from toy import PAIRS, Loader, make_toy_training

from vlp.training.checkpoint.checkpoints import Checkpoints, saved_steps
from vlp.training.loop.account import KINDS, Account
from vlp.training.loop.loop import Outcome, train
from vlp.training.loop.position import Position
from vlp.training.loop.rows import Diverged
from vlp.training.loop.trackers import JsonLines

STEPS = 12


def rows(path):
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


def numbers(path):
    """The rows without what time and memory they took."""
    timed = ("perf/", "time/")
    return [{k: v for k, v in row.items() if not k.startswith(timed)} for row in rows(path)]


def run(workdir, training, *, loader=None, steps=STEPS, **settings) -> Outcome:
    """Trains in a folder as the command line does: from its newest checkpoint if it has one."""
    loader = loader if loader is not None else Loader()
    checkpoints = Checkpoints(workdir / "checkpoints")
    restored = checkpoints.restore(training.abstract)
    start = 0
    if restored is not None:
        start = restored.step
        loader.set_state(restored.loader)
    try:
        return train(
            training.init() if restored is None else restored.state,
            loader,
            **{"training_at": lambda step: training} | settings,
            steps=steps,
            position=Position(PAIRS),
            samples_per_epoch=64,
            checkpoints=checkpoints,
            trackers=[JsonLines(workdir / "metrics.jsonl", resume_step=start)],
            ids=JsonLines(workdir / "ids.jsonl", resume_step=start),
        )
    finally:
        checkpoints.close()


@pytest.fixture(scope="module")
def uninterrupted(training, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("uninterrupted")
    outcome = run(workdir, training, checkpoint_every=5)
    return workdir, jax.tree.map(np.array, outcome.state)


def assert_same_run(workdir, state, uninterrupted):
    other, want = uninterrupted
    assert numbers(workdir / "metrics.jsonl") == numbers(other / "metrics.jsonl")
    assert rows(workdir / "ids.jsonl") == rows(other / "ids.jsonl")
    jax.tree.map(np.testing.assert_array_equal, jax.tree.map(np.array, state), want)


class Measured(Loader):
    """Says how many batches it has given."""

    given = 0

    def __next__(self):
        self.given += 1
        return super().__next__()

    def metrics(self):
        return {"data/given": float(self.given)}


def test_a_row_says_what_the_loader_says_of_the_batch_of_its_step(training, tmp_path):
    run(tmp_path, training, loader=Measured(), steps=4)
    assert [row["data/given"] for row in rows(tmp_path / "metrics.jsonl")] == [1, 2, 3, 4]


def test_every_step_has_one_row_with_all_metrics(uninterrupted):
    workdir, _ = uninterrupted
    got = rows(workdir / "metrics.jsonl")
    assert [row["step"] for row in got] == list(range(1, STEPS + 1))
    assert got[3]["epoch"] == 4 * 16 / 64
    assert {
        "train/loss",
        "train/lr",
        "train/pairs",
        "train/scale",
        "train/skipped",
        "grad/l2",
        "params/l2",
        "update/l2",
        "perf/pairs_per_s",
        "perf/step_s",
        "perf/data_wait_s",
        "perf/peak_memory_gb",
    } <= set(got[0])
    assert saved_steps(workdir / "checkpoints") == [5, 10, 12]
    ids = rows(workdir / "ids.jsonl")
    assert [row["ids"][0] for row in ids] == [16 * step for step in range(1, STEPS + 1)]


def test_a_run_stopped_by_a_signal_and_resumed_is_the_uninterrupted_one(
    training, tmp_path, uninterrupted
):
    class Interrupted(Loader):
        def __next__(self):
            if self.step == 6:
                os.kill(os.getpid(), signal.SIGTERM)
            return super().__next__()

    outcome = run(tmp_path, training, loader=Interrupted(), checkpoint_every=5)
    assert outcome.preempted and outcome.step == 7
    assert saved_steps(tmp_path / "checkpoints") == [5, 7]
    outcome = run(tmp_path, training, checkpoint_every=5)
    assert not outcome.preempted
    assert_same_run(tmp_path, outcome.state, uninterrupted)


def test_a_run_that_died_between_checkpoints_and_resumed_is_the_uninterrupted_one(
    training, tmp_path, uninterrupted
):
    class Dying(Loader):
        def __next__(self):
            if self.step == 8:
                raise KeyError("power cut")
            return super().__next__()

    with pytest.raises(KeyError, match="power cut"):
        run(tmp_path, training, loader=Dying(), checkpoint_every=5)
    assert len(rows(tmp_path / "metrics.jsonl")) > 5
    outcome = run(tmp_path, training, checkpoint_every=5)
    assert_same_run(tmp_path, outcome.state, uninterrupted)


def test_the_account_of_the_time_goes_on_where_a_run_does(training, tmp_path):
    class Dying(Loader):
        def __next__(self):
            if self.step == 8:
                raise KeyError("power cut")
            return super().__next__()

    began = time.monotonic()
    with pytest.raises(KeyError):
        run(tmp_path, training, loader=Dying(), checkpoint_every=5)
    before = rows(tmp_path / "metrics.jsonl")
    account = Account(rows=before, step=5)
    run(tmp_path, training, checkpoint_every=5, account=account)
    last = rows(tmp_path / "metrics.jsonl")[-1]
    done_again = before[-1]["time/step_s"] - before[4]["time/step_s"]
    assert last["time/lost_s"] == pytest.approx(done_again) and done_again > 0
    assert last["time/starts"] == 2 and last["time/compile_s"] > before[-1]["time/compile_s"] > 0
    spent = sum(last[f"time/{kind}_s"] for kind in KINDS)
    assert spent < time.monotonic() - began
    assert last["perf/goodput"] == pytest.approx(last["time/step_s"] / spent)


def test_rows_are_written_every_so_often_and_where_something_happens(training, tmp_path):
    hooks = [(7, lambda step, state: {"eval/x": 1.0})]
    run(tmp_path, training, checkpoint_every=5, log_every=4, hooks=hooks)
    steps = [row["step"] for row in rows(tmp_path / "metrics.jsonl")]
    assert steps == [4, 5, 7, 8, 10, 12]


def test_a_batch_of_another_length_is_given_the_time_to_compile(training, tmp_path):
    class Trimmed(Loader):
        def __next__(self):
            batch = super().__next__()
            return batch | {"text": batch["text"][:, : 2 + self.step % 3]}

    said = []

    @contextlib.contextmanager
    def pause(what):
        said.append(what)
        yield

    run(tmp_path, training, loader=Trimmed(), pause=pause)
    assert said.count("compiling the step") == 3


def test_a_finished_run_trains_no_further(training, uninterrupted):
    workdir, state = uninterrupted
    before = (workdir / "metrics.jsonl").read_text()
    outcome = run(workdir, training, checkpoint_every=5)
    assert outcome.step == STEPS and not outcome.preempted
    assert (workdir / "metrics.jsonl").read_text() == before
    jax.tree.map(np.testing.assert_array_equal, jax.tree.map(np.array, outcome.state), state)


def test_hooks_run_every_so_often_and_at_the_end_and_change_nothing(
    training, tmp_path, uninterrupted
):
    called = []

    def evaluate(step, state):
        called.append((step, int(state.step)))
        return {"eval/x": float(step)}

    run(tmp_path, training, hooks=[(5, evaluate), (100, lambda step, state: None)])
    assert called == [(5, 5), (10, 10), (12, 12)]
    got = numbers(tmp_path / "metrics.jsonl")
    assert {row["step"]: row.pop("eval/x") for row in got if "eval/x" in row} == {
        5: 5.0,
        10: 10.0,
        12: 12.0,
    }
    assert got == numbers(uninterrupted[0] / "metrics.jsonl")
    assert saved_steps(tmp_path / "checkpoints") == [12]


@pytest.mark.parametrize("at", [5, STEPS])
def test_a_signal_in_a_hook_saves_without_calling_the_next(training, tmp_path, at):
    called = []

    def told(step, state):
        called.append(step)
        if step == at:
            os.kill(os.getpid(), signal.SIGTERM)

    def after(step, state):
        assert step != at
        return {"eval/x": 1.0}

    outcome = run(tmp_path, training, hooks=[(5, told), (5, after)])
    assert outcome.preempted and outcome.step == called[-1] == at
    assert saved_steps(tmp_path / "checkpoints") == [at]
    assert rows(tmp_path / "metrics.jsonl")[-1]["step"] == at
    again = run(tmp_path, training, hooks=[(5, lambda step, state: None)])
    assert not again.preempted and again.step == STEPS


def test_a_signal_in_the_last_step_leaves_its_hooks_to_the_next_start(training, tmp_path):
    class Told(Loader):
        def __next__(self):
            if self.step == STEPS - 1:
                os.kill(os.getpid(), signal.SIGTERM)
            return super().__next__()

    outcome = run(tmp_path, training, loader=Told(), hooks=[(5, lambda step, _: {"eval/x": step})])
    assert outcome.preempted and outcome.step == STEPS
    assert "eval/x" not in rows(tmp_path / "metrics.jsonl")[-1]


def test_skipped_steps_are_passed_over_until_there_are_too_many(training, tmp_path):
    outcome = run(
        tmp_path / "few", training, loader=Loader(white={3, 4, 8}), max_skipped_in_a_row=3
    )
    got = rows(tmp_path / "few" / "metrics.jsonl")
    assert [row["step"] for row in got if row["train/skipped"]] == [3, 4, 8]
    assert outcome.step == STEPS and got[2]["train/loss"] is None
    with pytest.raises(Diverged, match="3 steps in a row up to step 7") as error:
        run(tmp_path / "many", training, loader=Loader(white={5, 6, 7}), max_skipped_in_a_row=3)
    assert "largest gradients: image/blocks/kernel nan" in str(error.value)
    assert len(rows(tmp_path / "many" / "metrics.jsonl")) == 7


def test_an_update_that_is_not_finite_ends_the_run_before_it_is_saved(tmp_path):
    def rate(step):
        return jnp.where(step == 6, jnp.inf, 1e-3)

    training = make_toy_training()
    optimizer = dataclasses.replace(training.recipe.optimizer, schedule=rate)
    recipe = dataclasses.replace(training.recipe, optimizer=optimizer)
    broken = dataclasses.replace(training, recipe=recipe)
    with pytest.raises(Diverged, match="update must be finite.*not at step 7.*raise .* eps"):
        run(tmp_path, broken, checkpoint_every=1)
    assert max(saved_steps(tmp_path / "checkpoints")) == 6


def test_stages_follow_the_step(training, tmp_path):
    used = []

    def training_at(step):
        used.append(step)
        return training

    run(tmp_path, training, steps=4, training_at=training_at)
    assert sorted(set(used)) == [0, 1, 2, 3]


def test_data_that_ends_early_is_said(training, tmp_path):
    class Short(Loader):
        def __next__(self):
            if self.step == 2:
                raise StopIteration
            return super().__next__()

    with pytest.raises(ValueError, match=r"last for 12 steps, ended after 2; .*epochs=None"):
        run(tmp_path, training, loader=Short())


def test_signals_are_given_back(training, tmp_path):
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    run(tmp_path, training, steps=1)
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


@pytest.mark.filterwarnings("ignore")
def test_a_range_of_steps_can_be_profiled(training, tmp_path):
    run(tmp_path, training, steps=4, profile=(2, 3), profile_directory=tmp_path / "trace")
    assert list((tmp_path / "trace").rglob("*.xplane.pb"))


KILLED_AFTER_STEP_7 = """
import os, signal, sys
sys.path.insert(0, {here!r})
import jax.numpy as jnp
from pathlib import Path
from test_loop import run
from toy import COUNTING, Loader, make_toy_training

class Killed(Loader):
    def __next__(self):
        if self.step == 7:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__next__()

training = make_toy_training(ema_decay=0.9, objective=COUNTING)
run(Path({workdir!r}), training, loader=Killed(), checkpoint_every=2)
"""


def python(code):
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True
    )


def test_a_run_killed_at_once_resumes_in_another_process_to_the_bit(
    training, tmp_path, uninterrupted
):
    here = str(Path(__file__).parent)
    killed = python(KILLED_AFTER_STEP_7.format(here=here, workdir=str(tmp_path)))
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert saved_steps(tmp_path / "checkpoints")[-1] in (4, 6)
    outcome = run(tmp_path, training, checkpoint_every=5)
    assert_same_run(tmp_path, outcome.state, uninterrupted)


def test_a_run_that_hangs_prints_its_stacks_and_ends():
    code = """
import time
from vlp.training.loop.loop import _watchdog
with _watchdog(0.5) as still_alive:
    still_alive()
    time.sleep(60)
"""
    hung = python(code)
    assert hung.returncode == 1
    assert "Timeout" in hung.stderr and 'File "<string>", line 6' in hung.stderr


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        (dict(max_skipped_in_a_row=0), "at least 1 step"),
        (dict(watchdog_s=-1.0), "above 0"),
        (dict(log_every=0), "log_every must be at least 1 step"),
    ],
)
def test_limits_that_cannot_be_kept_are_refused_before_anything_runs(training, limits, said):
    settings = dict(training_at=lambda step: training, steps=1)
    with pytest.raises(ValueError, match=said):
        train(None, Loader(), **settings, **limits)


def test_pauses_are_announced(training, tmp_path):
    said = []

    @contextlib.contextmanager
    def pause(what):
        said.append(what)
        yield

    run(tmp_path, training, steps=4, checkpoint_every=2, pause=pause)
    assert said == ["compiling the step", "saving step 2", "saving step 4"]
