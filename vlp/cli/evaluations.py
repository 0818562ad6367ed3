"""The evaluations of a run: in training by hooks, and at its end."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
from flax import nnx
from ml_collections import ConfigDict

from vlp.cli.build import Plan
from vlp.cli.inputs import Inputs
from vlp.cli.judge import Judge
from vlp.cli.tasks import check_task
from vlp.cli.workdir import Workdir
from vlp.evals.embed import Encoder
from vlp.evals.results import write_json


class Evaluations:
    """Runs `config.evals` on the state of a training; data sets are embedded once a step.

    Args:
        config: of the run; each of `evals` has `task`, `data`, `every` and the task's settings.
        plan: the training.
        inputs: preprocessing and tokenizer.
        workdir: `results/NAME.json` is written there.

    Raises:
        ValueError: when the model cannot be judged so.
    """

    def __init__(self, config: ConfigDict, plan: Plan, inputs: Inputs, workdir: Workdir):
        self._settings = {
            name: _complete(settings, config) for name, settings in config.evals.to_dict().items()
        }
        self._plan, self._inputs, self._workdir = plan, inputs, workdir
        self._judge: Judge | None = None
        self.results: dict[str, dict[str, Any]] = {}
        training = plan.training
        model = nnx.merge(training.graphdef, training.abstract.params)
        for name, settings in self._settings.items():
            try:
                check_task(settings["task"], model=model, settings=_own(settings))
            except ValueError as error:
                raise ValueError(f"config.evals.{name}: {error}") from error

    def hooks(self) -> list[tuple[int, Callable[[int, Any], dict[str, float]]]]:
        """One hook an evaluation: (every how many steps, function of step and state)."""
        hooks: list[tuple[int, Callable[[int, Any], dict[str, float]]]] = []
        for name, settings in self._settings.items():
            every = self._plan.duration(settings["every"])
            hooks.append((every or self._plan.steps, functools.partial(self._run, name)))
        return hooks

    def judge(self, step: int, state: Any) -> Judge:
        """The judge of this state: of the averaged weights where the run keeps them."""
        if self._judge is None or self._judge.step != step:
            training = self._plan.training
            params = state.params if state.teacher is None else state.teacher
            self._judge = Judge(
                Encoder(
                    training.graphdef,
                    params,
                    text=self._plan.model_kwargs["text"],
                    mesh=training.mesh,
                ),
                self._inputs.preprocess,
                self._inputs.tokenize,
                self._inputs.tokenizer.decode,
                step,
                self._plan.model_kwargs["image"].get("dtype", "float32"),
            )
        return self._judge

    def all(self, step: int, state: Any) -> list[dict[str, Any]]:
        """The results of all evaluations for this state, retrieval first."""
        for name in self._settings:
            if self.results.get(name, {}).get("step") != step:
                self._run(name, step, state)
        return sorted(self.results.values(), key=lambda result: result["task"] != "retrieval")

    def _run(self, name: str, step: int, state: Any) -> dict[str, float]:
        task, data = self._settings[name]["task"], self._settings[name]["data"]
        settings = _own(self._settings[name])
        result = self.judge(step, state).judge(task, data=data, **settings)
        self.results[name] = result
        if jax.process_index() == 0:
            write_json(self._workdir.results / f"{name}.json", result)
        return {f"eval/{name}/{key}": value for key, value in result["metrics"].items()}


def _own(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings of the task itself."""
    return {k: v for k, v in settings.items() if k not in ("data", "every", "task")}


def _complete(settings: dict[str, Any], config: ConfigDict) -> dict[str, Any]:
    """The settings with the token that hides others as training knows it."""
    if settings["task"] == "masked_words" and "mask_id" in config.objective:
        return {"mask_id": config.objective.mask_id, **settings}
    return settings
