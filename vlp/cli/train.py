"""Train from one config file, evaluate, write a report, and export if the config says so.

  vlp train --config=experiments/emoji.py --workdir=runs/emoji
  vlp train --config=experiments/own_data.py:data=pairs.tar --workdir=runs/mine
  vlp train --config=experiments/emoji.py:epochs=2 --config.optim.schedule.peak=3e-4 --workdir=W

A workdir that holds a run of the same config is resumed. SIGTERM saves and exits with code 75:
start the same command again to go on. On several hosts start the same command on each; Slurm, Open
MPI, GKE and Cloud TPU are recognised, elsewhere give --coordinator, --num-processes, --process-id.
"""

from __future__ import annotations

import argparse
import logging
import os
from pathlib import Path
from typing import Any

from vlp.cli.paths import local_path

SUMMARY = "train from one config file, evaluate, report, export"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `vlp train`."""
    parser.usage = "vlp train --config=FILE[:arg=value,...] --workdir=DIR [--config.KEY=VALUE ...]"
    parser.add_argument("--config", required=True, help="config file, see experiments/")
    parser.add_argument("--workdir", type=local_path, required=True, help="folder of the run")
    parser.add_argument(
        "--resume",
        action="store_true",
        help="refuse to begin anew (a run in the workdir is resumed with or without this)",
    )
    parser.add_argument(
        "--accept-config-changes",
        action="store_true",
        help="resume a run although its config was another",
    )
    parser.add_argument(
        "--log-ids", action="store_true", help="write the sample ids of every step to ids.jsonl"
    )
    parser.add_argument("--coordinator", metavar="HOST:PORT", help="process 0 of several")
    parser.add_argument("--num-processes", type=int, help="how many processes the run has")
    parser.add_argument("--process-id", type=int, help="which one this is, from 0")
    parser.set_defaults(run=run, takes_config=True)


def run(args: argparse.Namespace, overrides: list[str]) -> int:
    """Reads the config, joins the other processes and trains."""
    from vlp.cli.config import load_config

    config = load_config(args.config, overrides)  # before JAX: a typo costs no start-up
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    logging.basicConfig(format="%(message)s")
    logging.getLogger("vlp").setLevel(logging.INFO)
    logging.getLogger("absl").setLevel(logging.ERROR)  # orbax tells more than users can use
    from vlp.parallel.startup import start

    start(
        coordinator=args.coordinator,
        num_processes=args.num_processes,
        process_id=args.process_id,
    )
    return _train(args, config)


def _train(args: argparse.Namespace, config: Any) -> int:
    import jax
    from jax.experimental import multihost_utils

    from vlp.cli.begin import given_params
    from vlp.cli.build import plan
    from vlp.cli.config import as_json
    from vlp.cli.evaluations import Evaluations
    from vlp.cli.finish import check_export, finish
    from vlp.cli.inputs import open_inputs
    from vlp.cli.workdir import Workdir
    from vlp.training.checkpoint import Checkpoints
    from vlp.training.interruption import EXIT_PREEMPTED
    from vlp.training.loop import train

    _use_compilation_cache()
    workdir = Workdir(args.workdir)
    workdir.check(
        as_json(config), accept_changes=args.accept_config_changes, must_exist=args.resume
    )
    inputs = open_inputs(config, workdir)
    planned = plan(config, samples_per_epoch=inputs.loader.samples_per_epoch)
    check_export(config, planned.model_kwargs)
    evaluations = Evaluations(config, planned, inputs, workdir)
    card = inputs.card(planned.model_kwargs, config)
    multihost_utils.sync_global_devices("workdir checked")  # before anyone writes into it
    if jax.process_index() == 0:
        workdir.claim(as_json(config), card, inputs.tokenizer)
    every = planned.duration(config.checkpoint.every)
    checkpoints = Checkpoints(
        workdir.checkpoints.resolve(),
        keep=config.checkpoint.keep,
        keep_every=planned.duration(config.checkpoint.keep_every) or None,
        config=as_json(config),
        card=card,
    )
    restored = checkpoints.restore(planned.training.abstract)
    if restored is None:
        state = planned.training.init(given_params(config))
    else:
        state = restored.state
    start = 0 if restored is None else restored.step
    if restored is not None:
        inputs.loader.set_state(restored.loader)
        logging.getLogger("vlp").info("resuming at step %d of %d", start, planned.steps)
    outcome = train(
        state,
        inputs.loader,
        training_at=planned.training_at,
        steps=planned.steps,
        samples_per_epoch=inputs.loader.samples_per_epoch,
        checkpoints=checkpoints,
        checkpoint_every=every or None,
        trackers=_trackers(config, workdir, steps=planned.steps, start=start),
        hooks=evaluations.hooks(),
        ids=_ids(workdir, start) if args.log_ids else None,
        profile=tuple(config.train.profile_steps) if any(config.train.profile_steps) else None,
        profile_directory=workdir.profile,
        max_skipped_in_a_row=config.train.max_skipped_in_a_row,
        watchdog_s=config.train.watchdog_s or None,
    )
    checkpoints.close()
    inputs.loader.close()
    if outcome.preempted:
        print(f"stopped at step {outcome.step} after saving; the same command goes on from there")
        return EXIT_PREEMPTED
    finish(config, outcome, evaluations, inputs, workdir)
    return 0


def _trackers(config: Any, workdir: Any, *, steps: int, start: int) -> list[Any]:
    import jax

    from vlp.cli.config import as_json
    from vlp.training.trackers import JsonLines, Progress, TensorBoard, WeightsAndBiases

    if jax.process_index() != 0:
        return []
    trackers: list[Any] = [
        JsonLines(workdir.metrics, resume_step=start),
        Progress(steps, start=start),
    ]
    if config.train.tensorboard:
        trackers.append(TensorBoard(workdir.tensorboard, resume_step=start))
    if config.train.wandb_project:
        trackers.append(
            WeightsAndBiases(
                project=config.train.wandb_project,
                run_id=workdir.path.resolve().name,
                config=as_json(config),
                directory=workdir.path,
            )
        )
    return trackers


def _ids(workdir: Any, start: int) -> Any:
    """Each process writes the ids of its own share."""
    import jax

    from vlp.training.trackers import JsonLines

    process = jax.process_index()
    path = workdir.ids.with_stem(f"ids-{process}") if jax.process_count() > 1 else workdir.ids
    return JsonLines(path, resume_step=start)


def _use_compilation_cache() -> None:
    """Compiled programs are kept between runs, in $VLP_CACHE/xla or ~/.cache/vlp/xla."""
    import jax

    if not jax.config.jax_compilation_cache_dir:  # type: ignore[attr-defined]
        root = Path(os.environ.get("VLP_CACHE") or Path.home() / ".cache" / "vlp")
        jax.config.update("jax_compilation_cache_dir", str(root / "xla"))
