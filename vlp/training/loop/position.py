"""Where a run stands in its samples: one count for its length, its schedule and its epochs."""

import dataclasses

import jax.numpy as jnp

from vlp.training.optim.schedules import Schedule


@dataclasses.dataclass(frozen=True)
class Position:
    """How many samples a run has seen after so many steps, all processes together.

    A run that goes on with another batch size goes on from the samples it has seen, not from the
    steps it took: its lengths are numbers of samples, and its schedule begins where it stood.

    Attributes:
        global_batch_size: samples a step, from now on.
        step: the step it goes on from; 0 at the beginning.
        samples: seen until then.
    """

    global_batch_size: int = 1
    step: int = 0
    samples: int = 0

    @property
    def changed(self) -> bool:
        """Whether some of the steps so far were of another batch size."""
        return self.samples != self.step * self.global_batch_size

    def samples_at(self, step: int) -> int:
        """The samples seen after a step."""
        return self.samples + (step - self.step) * self.global_batch_size

    def step_after(self, samples: int) -> int:
        """The first step, from here on, after which so many samples are seen."""
        return self.step + max(0, -(-(samples - self.samples) // self.global_batch_size))

    def is_due(self, every: int, step: int) -> bool:
        """Whether at this step another `every` steps of the present batch size are full."""
        size = every * self.global_batch_size
        return self.samples_at(step) // size > self.samples_at(step - 1) // size

    def schedule(self, schedule: Schedule) -> Schedule:
        """The schedule over steps of the present batch size, as a function of the run's steps."""
        if not self.changed:
            return schedule
        ahead = self.samples / self.global_batch_size - self.step
        return lambda step: schedule(jnp.asarray(step, jnp.float32) + ahead)
