#!/usr/bin/env bash
# Trains on the nodes of a Slurm allocation, one process a GPU, and queues itself again.
#
#   sbatch --nodes=4 launch/slurm.sh .venv/bin/vlp train --config=... --workdir=/shared/run
#   bash launch/slurm.sh --dry-run .venv/bin/vlp train ...      prints what it would run
#
# What stands below may be given to sbatch instead, which has the last word: --partition, --account,
# --time, --gpus-per-node and --ntasks-per-node (the same number: JAX gives each task of a node the
# GPU of its number, so do not bind GPUs to tasks).
#
# Three minutes before the time is up, and when it is preempted, each process is told (SIGTERM): all
# save and end with 75, and the job is queued again, without end. Any other failure queues it again
# RESTARTS times in all, counted in vlp-JOB.failures beside the log, for Slurm counts every start; 2
# (a wrong command line) never does.

#SBATCH --job-name=vlp
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=8
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=8
#SBATCH --time=24:00:00
#SBATCH --signal=TERM@180
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=%x-%j.log

set -u
RESTARTS=${RESTARTS:-3}

# Once a process has ended, the others have as long as this to end too.
step=(srun --label --kill-on-bad-exit=0 --wait=180)

if [[ ${1:-} == --dry-run ]]; then
  shift
  echo "${step[@]}" "$@"
  echo "on exit code 75, and $RESTARTS times on others but 2: scontrol requeue \$SLURM_JOB_ID"
  exit 0
fi
if (($# == 0)); then
  echo "a command must follow, e.g. sbatch $0 .venv/bin/vlp train --config=... --workdir=..." >&2
  exit 2
fi

"${step[@]}" "$@"
code=$?
counted=vlp-$SLURM_JOB_ID.failures
failures=0
if [[ -f $counted ]]; then
  failures=$(<"$counted")
fi
if ((code != 0 && code != 2 && code != 75)); then
  failures=$((failures + 1))
  echo "$failures" >"$counted" || exit "$code" # what is not counted would go on without end
fi
echo "ended with $code, after $failures failures and ${SLURM_RESTART_COUNT:-0} restarts"
if ((code == 75 || (code != 0 && code != 2 && failures <= RESTARTS))); then
  exec scontrol requeue "$SLURM_JOB_ID"
fi
rm -f "$counted"
exit "$code"
