"""The evaluations of a run: in training by hooks, and at its end."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
from ml_collections import ConfigDict

from vlp.cli.build import Plan
from vlp.cli.inputs import Inputs
from vlp.cli.judge import Judge
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
    """

    def __init__(self, config: ConfigDict, plan: Plan, inputs: Inputs, workdir: Workdir):
        self._settings = config.evals.to_dict()
        self._plan, self._inputs, self._workdir = plan, inputs, workdir
        self._judge: Judge | None = None
        self.results: dict[str, dict[str, Any]] = {}

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
        settings = {k: v for k, v in self._settings[name].items() if k not in ("every", "task")}
        result = self.judge(step, state).judge(self._settings[name]["task"], **settings)
        self.results[name] = result
        if jax.process_index() == 0:
            write_json(self._workdir.results / f"{name}.json", result)
        return {f"eval/{name}/{key}": value for key, value in result["metrics"].items()}
