"""Train from one config file, evaluate, write a report, and export if the config says so.

  vlp train --config=experiments/emoji.py --workdir=runs/emoji
  vlp train --config=experiments/own_data.py:data=pairs.tar --workdir=runs/mine
  vlp train --config=experiments/emoji.py:epochs=2 --config.optim.schedule.peak=3e-4 --workdir=W

A workdir that holds a run of the same config is resumed. SIGTERM saves and exits with code 75:
start the same command again to go on. The workdir may be gs://BUCKET/FOLDER or s3://BUCKET/FOLDER,
with vlp[gcs] or vlp[s3]. On several hosts start the same command on each; Slurm, Open
MPI, GKE and Cloud TPU are recognised, elsewhere give --coordinator, --num-processes, --process-id.
"""

import argparse
import contextlib
import time
from typing import Any

from vlp.cli.arguments import add_process_arguments, any_folder, start_processes
from vlp.cli.overrides import add_config_argument
from vlp.remote import is_remote, reached

SUMMARY = "train from one config file, evaluate, report, export"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `vlp train`."""
    add_config_argument(parser)
    parser.add_argument("--workdir", type=any_folder, required=True, help="folder of the run")
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
        "--accept-data-changes",
        action="store_true",
        help="go on although files of the data are gone; their samples count as bad",
    )
    parser.add_argument(
        "--log-ids", action="store_true", help="write the sample ids of every step to ids.jsonl"
    )
    add_process_arguments(parser)


def run(args: argparse.Namespace, overrides: list[str]) -> int:
    """Reads the config, joins the other processes and trains."""
    began = time.monotonic()
    from vlp.cli.config import load_config

    if is_remote(args.workdir):
        reached(args.workdir)
    config = load_config(args.config, overrides, workdir=args.workdir)
    start_processes(args)
    import jax

    from vlp.caches import use_compilation_cache
    from vlp.parallel.lock import only_writer
    from vlp.run.prepare import prepare
    from vlp.run.workdir import Workdir

    use_compilation_cache()
    workdir = Workdir(args.workdir)
    first = jax.process_index() == 0
    kept = workdir.unchanged_unless_a_step_is_taken() if first else contextlib.nullcontext()
    with only_writer(workdir.lock()), workdir.in_step(), kept:
        prepared = prepare(
            config,
            workdir,
            accept_changes=args.accept_config_changes,
            accept_data_changes=args.accept_data_changes,
            must_exist=args.resume,
        )
        return _train(config, prepared, workdir, log_ids=args.log_ids, began=began)


def _train(config: Any, prepared: Any, workdir: Any, *, log_ids: bool, began: float) -> int:
    import jax

    from vlp.jobs.data_table import say_data
    from vlp.run.banner import say_end, say_start
    from vlp.run.finish import finish
    from vlp.run.rejects import judge_rejects, open_ledger
    from vlp.run.trimming import batches_of
    from vlp.training.loop.account import Account
    from vlp.training.loop.interruption import EXIT_PREEMPTED
    from vlp.training.loop.loop import train
    from vlp.training.loop.progress import Progress

    plan, inputs, start = prepared.plan, prepared.inputs, prepared.start
    samples = inputs.loader.samples_per_epoch
    say_start(config, plan, samples=samples, step=start, workdir=workdir.address)
    say_data(
        {"training": inputs.source, **prepared.evaluations.sources},
        file=workdir.data,
    )
    inputs.loader.ledger = open_ledger(workdir, inputs.loader)
    account = Account(began=began, rows=workdir.metrics_rows(), step=start)
    progress = Progress(plan.steps, start=start, shown=jax.process_index() == 0)
    outcome = train(
        prepared.state,
        batches_of(inputs.loader, config, plan.model_kwargs),
        training_at=plan.training_at,
        steps=plan.steps,
        position=plan.position,
        samples_per_epoch=samples,
        checkpoints=prepared.checkpoints,
        checkpoint_every=plan.lengths.every(config.checkpoint.every),
        trackers=[progress, *_trackers(config, workdir, start=start)],
        hooks=prepared.evaluations.hooks(pause=progress.pause),
        pause=progress.pause,
        ids=_ids(workdir, start) if log_ids else None,
        profile=tuple(config.train.profile_steps) if any(config.train.profile_steps) else None,
        profile_directory=workdir.profile,
        max_skipped_in_a_row=config.train.max_skipped_in_a_row,
        watchdog_s=config.train.watchdog_s or None,
        log_every=config.train.log_every,
        account=account,
    )
    prepared.checkpoints.close()
    inputs.loader.close()
    if outcome.preempted:
        say_end(account)
        print(f"stopped at step {outcome.step} after saving; the same command goes on from there")
        return EXIT_PREEMPTED
    read, rejects = judge_rejects(inputs.loader)
    finish(config, outcome, prepared, workdir, read=read, rejects=rejects, pause=progress.pause)
    say_end(account)
    return 0


def _trackers(config: Any, workdir: Any, *, start: int) -> list[Any]:
    import jax

    from vlp.run.identity import display_name, run_identity
    from vlp.run.values import as_json
    from vlp.training.loop.trackers import JsonLines, TensorBoard, WeightsAndBiases, begin

    if jax.process_index() != 0:
        return []
    metrics = JsonLines(workdir.metrics, resume_step=start)  # without it there is no run
    further: list[Any] = []
    if config.train.tensorboard:
        further.append(lambda: TensorBoard(workdir.tensorboard, resume_step=start))
    if config.train.wandb_project:
        further.append(
            lambda: WeightsAndBiases(
                project=config.train.wandb_project,
                run_id=run_identity(workdir.path, address=workdir.address),
                name=display_name(workdir.address),
                config=as_json(config),
                directory=workdir.path,
            )
        )
    return [metrics, *begin(*further), *workdir.trackers()]


def _ids(workdir: Any, start: int) -> Any:
    """Each process writes the ids of its own share."""
    import jax

    from vlp.training.loop.trackers import JsonLines

    process = jax.process_index()
    path = workdir.ids.with_stem(f"ids-{process}") if jax.process_count() > 1 else workdir.ids
    return JsonLines(path, resume_step=start)
