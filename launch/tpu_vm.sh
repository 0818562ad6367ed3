#!/usr/bin/env bash
# Trains on all hosts of a TPU slice, each of which starts vlp again when it ends.
#
#   launch/tpu_vm.sh create                   asks for the slice; returns when it is there
#   launch/tpu_vm.sh setup                    copies this repository to all hosts, installs it
#   launch/tpu_vm.sh train --config=... --workdir=...     starts `vlp train` on all hosts
#   launch/tpu_vm.sh logs | stop | delete     shows what host 0 says | saves and stops | gives back
#
# --dry-run before the word prints the commands instead. Set what stands here in the environment:
#
# systemd keeps vlp running on each host: after 75 (told to stop, and saved), and after any other
# failure but 2 (a wrong command line), at most RESTARTS times an hour. What fails on one host ends
# all, so all meet again. A slice of spot capacity that was taken back is asked for again by
# `delete`, `create`, `setup` and the same `train`, which goes on from the last checkpoint.

set -euo pipefail
NAME=${NAME:-vlp}
ZONE=${ZONE:-us-west4-a}
TYPE=${TYPE:-v5litepod-16}
RUNTIME=${RUNTIME:-v2-alpha-tpuv5-lite}
SPOT=${SPOT:-} # 1 asks for spot capacity
RESTARTS=${RESTARTS:-10}

run=()
if [[ ${1:-} == --dry-run ]]; then
  run=(echo)
  shift
fi

everywhere() { # COMMAND [HOST]
  "${run[@]}" gcloud compute tpus tpu-vm ssh "$NAME" --zone="$ZONE" --worker="${2:-all}" --command="$1"
}

case ${1:-} in
  create)
    "${run[@]}" gcloud compute tpus queued-resources create "$NAME" --node-id="$NAME" \
      --zone="$ZONE" --accelerator-type="$TYPE" --runtime-version="$RUNTIME" ${SPOT:+--spot}
    until "${run[@]}" gcloud compute tpus queued-resources describe "$NAME" --zone="$ZONE" \
      --format="value(state.state)" | tee /dev/stderr | grep -Eq "ACTIVE|describe"; do sleep 30; done
    ;;
  setup)
    archive=$(mktemp --suffix=.tar.gz)
    trap 'rm -f "$archive"' EXIT
    git archive --format=tar.gz --output="$archive" HEAD
    "${run[@]}" gcloud compute tpus tpu-vm scp "$archive" "$NAME:vlp.tar.gz" --zone="$ZONE" \
      --worker=all
    everywhere "mkdir -p vlp && tar -xzf vlp.tar.gz -C vlp && cd vlp && \
python3 -m venv .venv && .venv/bin/pip install -q -e '.[tpu]'"
    ;;
  train)
    shift
    command=$(printf " %q" .venv/bin/vlp train "$@")
    everywhere "cd vlp && sudo systemd-run --unit=vlp --uid=\$(id -u) --working-directory=\$PWD \
--setenv=HOME=\$HOME -p Restart=on-failure -p RestartPreventExitStatus=2 -p RestartSec=10 \
-p StartLimitIntervalSec=3600 -p StartLimitBurst=$RESTARTS -p KillMode=mixed \
-p TimeoutStopSec=300$command"
    ;;
  logs) everywhere "sudo journalctl --unit=vlp --lines=100 --follow --output=cat" 0 ;;
  stop) everywhere "sudo systemctl stop vlp" ;;
  delete)
    "${run[@]}" gcloud compute tpus queued-resources delete "$NAME" --zone="$ZONE" --force --quiet
    ;;
  *)
    echo "must be create, setup, train, logs, stop or delete, got ${1:-nothing}; see $0" >&2
    exit 2
    ;;
esac
