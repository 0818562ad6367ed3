#!/usr/bin/env bash
# Trains on all hosts of a TPU slice, each of which starts vlp again when it ends.
#
#   launch/tpu_vm.sh create                   asks for the slice; returns when it is there
#   launch/tpu_vm.sh setup                    copies this repository to all hosts, installs it
#   launch/tpu_vm.sh train --config=... --workdir=...     starts `vlp train` on all hosts
#   launch/tpu_vm.sh logs | stop | delete     shows what host 0 says | saves and stops | gives back
#
# --dry-run before the word prints the commands instead. What stands below in capitals may be set in
# the environment.
#
# systemd keeps vlp running on each host: after 75 (told to stop, and saved) and after any failure
# but 2 (a wrong command line), RESTARTS times an hour at most. What fails on one host ends all, so
# that all meet again. A slice of spot capacity that was taken back is asked for again by `delete`,
# `create`, `setup` and the same `train`, which goes on from the last checkpoint: --workdir must be
# a folder that all hosts share and that outlives them, or gs://BUCKET/RUN with EXTRAS=tpu,gcs.

set -euo pipefail
NAME=${NAME:-vlp}
ZONE=${ZONE:-us-west4-a}
TYPE=${TYPE:-v5litepod-16}
RUNTIME=${RUNTIME:-v2-alpha-tpuv5-lite}
SPOT=${SPOT:-} # 1 asks for spot capacity
RESTARTS=${RESTARTS:-10}
EXTRAS=${EXTRAS:-tpu}

run=()
if [[ ${1:-} == --dry-run ]]; then
  run=(echo)
  shift
fi

everywhere() { # COMMAND [HOST]
  "${run[@]}" gcloud compute tpus tpu-vm ssh "$NAME" --zone="$ZONE" --worker="${2:-all}" \
    --command="$1"
}

queued() { # create|describe|delete FLAGS...
  local word=$1
  shift
  "${run[@]}" gcloud compute tpus queued-resources "$word" "$NAME" --zone="$ZONE" "$@"
}

wait_for_it() {
  local state
  while true; do
    state=$(queued describe --format="value(state.state)")
    echo "$(date +%T) $state"
    case $state in
      ACTIVE | *describe*) return ;; # the latter in a dry run
      FAILED | SUSPEND*)
        echo "not given; gcloud compute tpus queued-resources describe $NAME says why" >&2
        exit 1
        ;;
    esac
    sleep 30
  done
}

case ${1:-} in
  create)
    queued create --node-id="$NAME" --accelerator-type="$TYPE" --runtime-version="$RUNTIME" \
      ${SPOT:+--spot}
    wait_for_it
    ;;
  setup)
    archive=$(mktemp --suffix=.tar.gz)
    trap 'rm -f "$archive"' EXIT
    git archive --format=tar.gz --output="$archive" HEAD
    "${run[@]}" gcloud compute tpus tpu-vm scp "$archive" "$NAME:vlp.tar.gz" --zone="$ZONE" \
      --worker=all
    # The image's own Python may be older than vlp's.
    everywhere "mkdir -p vlp && tar -xzf vlp.tar.gz -C vlp && cd vlp && \
python3 -m pip install -q --user uv && export PATH=\$HOME/.local/bin:\$PATH && \
uv venv -q --allow-existing --python=3.12 .venv && uv pip install -q -e '.[$EXTRAS]'"
    ;;
  train)
    shift
    command=$(printf " %q" .venv/bin/vlp train "$@")
    everywhere "cd vlp && sudo systemd-run --unit=vlp --collect --uid=\$(id -u) \
--working-directory=\$PWD --setenv=HOME=\$HOME -p Restart=on-failure \
-p RestartPreventExitStatus=2 -p RestartSec=10 -p StartLimitIntervalSec=3600 \
-p StartLimitBurst=$RESTARTS -p KillMode=mixed -p TimeoutStopSec=300$command"
    ;;
  logs) everywhere "sudo journalctl --unit=vlp --lines=100 --follow --output=cat" 0 ;;
  stop) everywhere "sudo systemctl stop vlp" ;;
  delete) queued delete --force --quiet ;;
  *)
    echo "must be create, setup, train, logs, stop or delete, got ${1:-nothing}; see $0" >&2
    exit 2
    ;;
esac
