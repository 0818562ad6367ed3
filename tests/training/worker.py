"""One of two processes with four devices each; the second is told to stop in the middle.

Arguments: this process's number, the coordinator's port, the folder of the run.
"""

import os
import signal
import sys
from pathlib import Path

import jax
from toy import COUNTING, Loader, make_toy_training

from vlp.parallel.mesh import make_mesh
from vlp.parallel.startup import start
from vlp.training.checkpoint import manifest
from vlp.training.checkpoint.checkpoints import Checkpoints
from vlp.training.loop.loop import train
from vlp.training.loop.trackers import JsonLines


class ToldToStop(Loader):
    """Signals its own process before step 5."""

    def __next__(self):
        if self.step == 4 and jax.process_index() == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return super().__next__()


def take_down() -> list[str]:
    """Takes down what this process hashes from now on."""
    names: list[str] = []
    fingerprint = manifest._fingerprint

    def noted(path):
        names.append(str(path))
        return fingerprint(path)

    manifest._fingerprint = noted
    return names


def main(process: int, port: int, workdir: Path) -> int:
    start(coordinator=f"localhost:{port}", num_processes=2, process_id=process, timeout_s=60)
    training = make_toy_training(mesh=make_mesh(fsdp=8), ema_decay=0.9, objective=COUNTING)
    checkpoints = Checkpoints(workdir / "checkpoints")
    assert checkpoints.restore(training.abstract) is None
    hashed = take_down()
    outcome = train(
        training.init(),
        ToldToStop(process=process, processes=2),
        training_at=lambda step: training,
        steps=12,
        checkpoints=checkpoints,
        checkpoint_every=3,
        trackers=[JsonLines(workdir / f"metrics-{process}.jsonl")],
    )
    checkpoints.close()
    written = [name for name in hashed if "/d/" in name]  # arrays, not what describes them
    assert written
    if process:
        assert all("ocdbt.process_1/" in name for name in hashed), hashed
    assert not any(f"ocdbt.process_{1 - process}/" in name for name in written), written
    print("stopped", outcome.step, outcome.preempted)
    return 75 if outcome.preempted else 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])))
