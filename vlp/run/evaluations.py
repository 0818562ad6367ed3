"""The evaluations of a run: in training by hooks, and at its end."""

import contextlib
import functools
import logging
from collections.abc import Callable
from typing import Any, TypeVar

import jax
from flax import nnx
from ml_collections import ConfigDict

from data_pipelines.opening import open_source
from data_pipelines.sources import Source
from vlp.evals.embed import Encoder
from vlp.evals.results import finite
from vlp.files import write_json
from vlp.jobs.evaluator import Evaluator
from vlp.jobs.gallery import Gallery
from vlp.jobs.tasks import check_data, check_task, evaluate
from vlp.parallel.together import everywhere, failed_alike, on_first
from vlp.run.build import Plan
from vlp.run.inputs import Inputs
from vlp.run.workdir import Workdir
from vlp.sweeps.held_out import LOSS, HeldOut
from vlp.sweeps.live import Live, LiveRun, LiveSet
from vlp.sweeps.vectors import MemoryStore
from vlp.training.loop.loop import Pause

T = TypeVar("T")
REPORT = "report"
_log = logging.getLogger("vlp")


class Evaluations:
    """Runs `config.evals` on the state of a training; data sets are embedded once a step.

    What cannot be judged is refused here, before training. An evaluation that fails later all the
    same is left out, said and counted, and training goes on.

    Args:
        config: of the run; each of `evals` has `task`, `data`, `every` and the task's settings; or
            `suite` and `entry`, see `vlp.sweeps.live.LiveSet`; or is of the task "loss".
        plan: the training.
        inputs: preprocessing and tokenizer.
        workdir: `results/NAME.json` is written there.

    Attributes:
        sources: the opened data, by evaluation, and that of the report.
        results: of the evaluations so far, by name.
        failed: why evaluations were left out, a line each.

    Raises:
        ValueError: when the model or the data cannot be judged so.
    """

    def __init__(self, config: ConfigDict, plan: Plan, inputs: Inputs, workdir: Workdir):
        self._settings = {
            name: _complete(settings, config) for name, settings in config.evals.to_dict().items()
        }
        self._plan, self._inputs, self._workdir = plan, inputs, workdir
        self._evaluator: Evaluator | None = None
        self._tried: dict[str, int] = {}
        self._opened: dict[str, Source] = {}
        self._sets: dict[str, LiveSet] = {}
        self._pairs: dict[str, HeldOut] = {}
        self._kept: tuple[int, MemoryStore] = (-1, MemoryStore())  # embeddings of a step
        self._card = inputs.card(plan, config)
        self._report = config.report.data
        self.sources: dict[str, Source] = {}
        self.results: dict[str, dict[str, Any]] = {}
        self.failed: list[str] = []
        model = plan.training.model(plan.training.abstract.params)
        for name, settings in self._settings.items():
            with _named(f"config.evals.{name}"):
                self._plan.lengths.every(settings["every"])
                self._check(name, settings, model=model, rows=config.train.global_batch_size)
        if self._report:
            with _named("config.report.data"):
                check_data("retrieval", source=self._open(REPORT, self._report), settings={})

    def _check(self, name: str, settings: dict[str, Any], *, model: Any, rows: int) -> None:
        """Opens the data of an evaluation, and refuses what cannot be judged on them."""
        own = _own(settings)
        if "suite" in settings:
            live = everywhere(lambda: LiveSet(**own))
            live.check(model)
            self._sets[name], self.sources[name] = live, live.found.pictures
            return
        if settings["task"] == LOSS:
            data = self._open(name, settings["data"])
            own.pop("data"), own.pop("task")
            self._pairs[name] = HeldOut.of(data, self._inputs, rows=rows, **own)
            self._pairs[name].check(self._plan.training)
            return
        task = own.pop("task")
        data = self._open(name, own.pop("data"))
        check_task(task, model=model, settings=own)
        check_data(task, source=data, settings=own, tokenize=self._inputs.tokenize)

    def hooks(self, *, pause: Pause) -> list[tuple[int, Callable[[int, Any], dict[str, float]]]]:
        """One hook an evaluation: (every how many steps, function of step and state)."""
        hooks: list[tuple[int, Callable[[int, Any], dict[str, float]]]] = []
        for name, settings in self._settings.items():
            every = self._plan.lengths.every(settings["every"])
            hook = functools.partial(self._run, name, pause=pause)
            hooks.append((every or self._plan.steps, hook))
        return hooks

    def evaluator(self, step: int, state: Any) -> Evaluator:
        """The evaluator of this state, by the weights that the run is judged by."""
        if self._evaluator is None or self._evaluator.step != step:
            training, towers = self._plan.training, self._plan.model_kwargs
            encoder = Encoder(
                *nnx.split(training.model(getattr(state, self._plan.evaluated))),
                text=towers["text"],
                mesh=training.mesh,
            )
            dtype = (towers["image"] or towers["text"]).get("dtype", "float32")
            self._evaluator = Evaluator.of(
                self._inputs, encoder, step=step, dtype=dtype, sources=self._opened
            )
        return self._evaluator

    def all(self, step: int, state: Any, *, pause: Pause) -> list[dict[str, Any]]:
        """The results of all evaluations for this state, retrieval first."""
        for name in self._settings:
            if self._tried.get(name) != step:
                self._run(name, step, state, pause=pause)
        now = [result for result in self.results.values() if result["step"] == step]
        return sorted(now, key=lambda result: result["task"] != "retrieval")

    def gallery(self, step: int, state: Any, *, pause: Pause) -> Gallery | None:
        """The embedded data whose pictures the report shows; None without them."""
        if not self._report:
            return None
        evaluator = self.evaluator(step, state)
        with pause("embedding the pictures of the report"):
            return self._tried_at(step, REPORT, lambda: evaluator.gallery(self._report))

    def _open(self, name: str, data: str) -> Source:
        if data not in self._opened:
            self._opened[data] = open_source(data)
        self.sources[name] = self._opened[data]
        return self._opened[data]

    def _run(self, name: str, step: int, state: Any, *, pause: Pause) -> dict[str, float]:
        def written() -> dict[str, Any]:
            result = self._result(name, step, state)
            on_first(lambda: self._write(name, result))
            return result

        with pause(f"evaluating {name}"):
            result = self._tried_at(step, name, written)
        self._tried[name] = step
        if result is None:
            return {f"eval/{name}/failed": 1.0}
        self.results[name] = result
        return {f"eval/{name}/{key}": value for key, value in result["metrics"].items()}

    def _write(self, name: str, result: dict[str, Any]) -> None:
        """Writes a result; scores that are not finite, which JSON has not, are said."""
        odd = [key for key, score in result["metrics"].items() if finite(score) != score]
        if odd:
            said = f"{name} at step {result['step']}"
            _log.warning("%s: not finite, null in its file: %s", said, ", ".join(odd))
        write_json(self._workdir.results / f"{name}.json", finite(result))

    def _result(self, name: str, step: int, state: Any) -> dict[str, Any]:
        """What one evaluation says of a state."""
        evaluator = self.evaluator(step, state)
        if name in self._sets:
            return self._sets[name].judged(self._live(evaluator), store=self._store(step))
        if name in self._pairs:
            training, weights = self._plan.training_at(step), self._plan.evaluated
            how: Any = dict(weights=weights, step=step, dtype=evaluator.dtype)
            return self._pairs[name].result(training, state, **how)
        own = _own(self._settings[name])
        return evaluate(evaluator, own.pop("task"), **own)

    def _live(self, evaluator: Evaluator) -> Live:
        """The model of this step, as tasks of suites see it."""
        encoder = evaluator.encoder
        weights = "ema" if self._plan.evaluated == "averaged" else "params"
        run = LiveRun(self._inputs, encoder.model(), self._card, evaluator.step, weights)
        return Live.now(run, encoder)

    def _store(self, step: int) -> MemoryStore:
        """The embeddings that are kept of this step, for all sets and tasks."""
        if self._kept[0] != step:
            self._kept = step, MemoryStore()
        return self._kept[1]

    def _tried_at(self, step: int, name: str, function: Callable[[], T]) -> T | None:
        """What the function returns; None, said and counted, where it fails on all processes."""
        try:
            return function()
        except Exception as error:
            if not failed_alike(f"{name} failed at step {step}"):
                raise
            said = f"{name} at step {step}: {str(error) or type(error).__name__}"
            if jax.process_index() == 0:
                is_said = isinstance(error, ValueError | OSError)  # others need their place
                _log.error("left out, training goes on: %s", said, exc_info=not is_said)
            self.failed.append(said)
            return None


@contextlib.contextmanager
def _named(setting: str) -> Any:
    """Puts the setting in front of what is wrong with it."""
    try:
        yield
    except (ValueError, OSError) as error:
        raise ValueError(f"{setting}: {error}") from error


def _own(settings: dict[str, Any]) -> dict[str, Any]:
    """What of the settings is no matter of when."""
    return {key: value for key, value in settings.items() if key != "every"}


def _complete(settings: dict[str, Any], config: ConfigDict) -> dict[str, Any]:
    """The settings with the token that hides others as training knows it."""
    if settings.get("task") == "masked_words" and "mask_id" in config.objective:
        return {"mask_id": config.objective.mask_id, **settings}
    return settings
