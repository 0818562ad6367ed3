"""Being told to stop: signals become a question that the loop asks between steps."""

import signal
from types import FrameType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from vlp.parallel.sharding import put_batch, replicated

# What sysexits.h calls EX_TEMPFAIL: "start the same command again".
EXIT_PREEMPTED = 75

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Interruption:
    """While entered, SIGTERM and SIGINT ask the loop to save and stop; a second SIGINT ends it.

    With several processes a signal to any of them stops all after the same step: at every step each
    process dispatches a tiny collective over "was I told to stop?" and reads the answer a step
    later. Nothing waits for it, and all processes read the same answer at the same step.

    Args:
        mesh: of all the run's devices.
    """

    def __init__(self, mesh: Mesh):
        self.requested = False
        self._mesh = mesh
        self._several = jax.process_count() > 1
        self._any = jax.jit(jnp.max, out_shardings=replicated(mesh))
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "Interruption":
        try:
            self._before = {number: signal.signal(number, self._notice) for number in _SIGNALS}
        except ValueError:  # not the main thread, which alone may receive signals
            self._before = {}
        return self

    def __exit__(self, *exception: Any) -> None:
        for number, handler in self._before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def vote(self) -> Any:
        """What `decided` answers when asked a step later, on every process alike."""
        if not self._several:
            return self.requested
        mine = np.full(len(self._mesh.local_devices), self.requested, np.int32)
        return self._any(put_batch({"stop": mine}, self._mesh)["stop"])

    def decided(self, vote: Any) -> bool:
        """Whether any process was told to stop when it voted."""
        return bool(vote) or (self.requested and not self._several)

    def now(self) -> bool:
        """Whether any process has been told to stop; waits for the votes of all."""
        return self.decided(self.vote())

    def _notice(self, number: int, frame: FrameType | None) -> None:
        if self.requested and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.requested = True
