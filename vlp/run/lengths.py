"""How long a run and its parts last: what the config says in steps, epochs or samples."""

import logging
from typing import Any

from ml_collections import ConfigDict

from vlp.run.sections import DURATIONS
from vlp.training.loop.position import Position
from vlp.training.optim.schedules import parse_duration, parse_samples, unit_of

_log = logging.getLogger("vlp")


class Lengths:
    """The durations of a config in steps, checked against its data and its batch size.

    Args:
        config: of the whole run.
        samples_per_epoch: pairs in the training data; None where nothing is said in epochs.
        position: the samples seen so far.

    Attributes:
        position: the same.
        whole: steps of the whole run, had its batch size always been what it is now.
        last: the step at which it ends.

    Raises:
        ValueError: when they do not fit together; names the setting to change.
    """

    def __init__(self, config: ConfigDict, samples_per_epoch: int | None, position: Position):
        self._config, self._samples_per_epoch = config, samples_per_epoch
        self.position = position
        self._batch = position.global_batch_size
        total = config.train.total
        self._check_batch(total)
        self.whole = self.steps(total)
        if self.whole < 1:
            known = samples_per_epoch is not None
            of_samples = f" of {samples_per_epoch:,} samples" if known else ""
            raise ValueError(
                "config.train.total must be at least one step of config.train.global_batch_size "
                f"{self._batch}, got {total!r}{of_samples}; train longer, or in smaller "
                "batches"
            )
        self._check_schedule()
        if position.changed:
            self._check_said_in_samples()
        self.last = self.step_at(total)

    def steps(self, duration: Any) -> int:
        """The steps that a duration lasts."""
        return self._parsed(duration, global_batch_size=self._batch)

    def every(self, duration: Any) -> int | None:
        """The steps between two times of what is done that often, at least 1; None for never."""
        steps = self.steps(duration)
        return max(steps, 1) if unit_of(duration) else None

    def every_samples(self, duration: Any) -> int | None:
        """As `every`, in samples."""
        samples = parse_samples(
            duration,
            global_batch_size=self._batch,
            samples_per_epoch=self._samples_per_epoch,
        )
        return max(samples, 1) if unit_of(duration) else None

    def step_at(self, duration: Any) -> int:
        """The step of this run at which so much of it is over."""
        if not self.position.changed:
            return self.steps(duration)
        samples = self._parsed(duration, global_batch_size=1)
        return self.position.step_after(samples)

    def check_unchanged(self) -> None:
        """Raises ValueError where the batch size has changed, for what keeps whole batches."""
        if self.position.changed:
            raise ValueError(
                f"the objective {self._config.objective.name} keeps features of whole batches, so "
                f"that its config.train.global_batch_size cannot change, got {self._batch}; go on "
                "with the one it had, or begin another run from this one (config.init.path)"
            )

    def _parsed(self, duration: Any, *, global_batch_size: int) -> int:
        return parse_duration(
            duration,
            global_batch_size=global_batch_size,
            samples_per_epoch=self._samples_per_epoch,
        )

    def _check_batch(self, total: Any) -> None:
        """A batch of more than the data holds pairs with its own copies, in every step."""
        samples = self._samples_per_epoch
        if samples is None or self._batch <= samples:
            return
        said = (
            f"config.train.global_batch_size {self._batch} is more than the {samples:,} samples of "
            "the training data, so that each batch holds some of them several times"
        )
        if unit_of(total) == "epochs":
            raise ValueError(
                f"{said}; lower it to {samples} or less, or say config.train.total in steps if "
                "that is meant"
            )
        _log.warning("%s; lower it unless that is meant", said)

    def _check_schedule(self) -> None:
        schedule = self._config.optim.schedule
        given = {key: schedule[key] for key in ("warmup", "cooldown") if key in schedule}
        steps = {key: self.steps(value) for key, value in given.items()}
        if sum(steps.values()) > self.whole:
            said = " and ".join(
                f"config.optim.schedule.{key}={given[key]} ({count:,} steps)"
                for key, count in steps.items()
            )
            raise ValueError(
                f"{said} must fit into the run of {self.whole:,} steps "
                f"(config.train.total={self._config.train.total}); shorten it or train longer"
            )

    def _check_said_in_samples(self) -> None:
        """A number of steps means something else in every batch size."""
        position = self.position
        for key, duration in self._durations().items():
            if unit_of(duration) != "steps":
                continue
            before = position.samples / position.step
            samples = round(parse_duration(duration, global_batch_size=1) * before)
            raise ValueError(
                f"a run that goes on with another batch size (it saw {position.samples:,} samples "
                f"in {position.step:,} steps, config.train.global_batch_size is {self._batch}) "
                f"counts in samples, got config.{key}={duration} in steps; say it in epochs or "
                f'samples ("{samples} samples"), or keep the batch size'
            )

    def _durations(self) -> dict[str, Any]:
        config = self._config
        is_rsqrt = config.optim.schedule.get("name") == "rsqrt"
        said = {f"train.{key}": config.train[key] for key in ("total", "unmasked_tuning")}
        said["checkpoint.keep_every"] = config.checkpoint.keep_every
        for section, values in (
            ("optim.schedule", {"timescale": 10_000} if is_rsqrt else {}),
            ("optim.schedule", config.optim.schedule.to_dict()),
            ("objective", config.objective.to_dict()),
            *((f"optim.groups.{name}", group) for name, group in config.optim.groups.items()),
        ):
            said |= {
                f"{section}.{key}": values[key] for key in DURATIONS if values.get(key) is not None
            }
        return said
