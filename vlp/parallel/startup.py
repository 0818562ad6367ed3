"""Joining the processes of a run into one, before JAX touches a device."""

import contextlib
import logging
import os
import urllib.request

import jax

from vlp.parallel.rendezvous import meet

# What tells a process that it is one of several.
_COUNTS = ("SLURM_STEP_NUM_TASKS", "OMPI_COMM_WORLD_SIZE")
_TPU_HOSTS = ("TPU_WORKER_HOSTNAMES", "TPU_PROCESS_ADDRESSES")
_ENDPOINTS = "worker-network-endpoints"
METADATA_S = 10.0


def start(
    *,
    coordinator: str | None = None,
    num_processes: int | None = None,
    process_id: int | None = None,
    timeout_s: int = 300,
) -> None:
    """Joins the other processes of this run; does nothing for a run of one process.

    With no argument the launcher's environment decides: Slurm (`srun`), Open MPI (`mpirun`), Cloud
    TPU and GKE, or an indexed Kubernetes job, all as `jax.distributed` reads them. On CPU the
    processes talk over gloo. Call it before anything else uses JAX.

    Args:
        coordinator: `host:port` of process 0, reachable from all.
        num_processes: how many processes the run has.
        process_id: which one this is, from 0.
        timeout_s: how long to wait for the others, in seconds.

    Raises:
        ValueError: when only some of the three arguments are given, or they contradict each other.
        RuntimeError: when the others do not come in time.
    """
    explicit = (coordinator, num_processes, process_id)
    given = [value is not None for value in explicit]
    if any(given) and not all(given):
        raise ValueError(
            "coordinator, num_processes and process_id must be given together, got "
            f"coordinator={coordinator}, num_processes={num_processes}, process_id={process_id}; "
            "give all three, or none to read the launcher's environment"
        )
    if all(given):
        _check_explicit(str(coordinator), int(num_processes or 0), int(process_id or 0))
    if num_processes == 1 or not (all(given) or launched_by() is not None):
        return
    where = f"at {coordinator}" if coordinator else f"found through {launched_by()}"
    logging.getLogger("vlp").info("joining the coordinator %s, for up to %d s", where, timeout_s)
    if coordinator is not None and num_processes is not None and process_id is not None:
        meet(coordinator, num_processes=num_processes, process_id=process_id, timeout_s=timeout_s)
    try:
        jax.distributed.initialize(
            coordinator, num_processes, process_id, initialization_timeout=timeout_s
        )
    except Exception as error:
        raise RuntimeError(
            f"all processes must reach the coordinator {where} within {timeout_s} s: {error}; "
            "check that every process was started, that the port is free and open, and that no "
            "proxy variable (http_proxy, ...) stands between the hosts; --coordinator, "
            "--num-processes and --process-id say what a launcher does not"
        ) from error


def launched_by() -> str | None:
    """The launcher whose environment says that this run has several processes, or None."""
    for variable in _COUNTS:
        if int(os.environ.get(variable) or 1) > 1:
            return variable
    for variable in _TPU_HOSTS:
        if "," in os.environ.get(variable, ""):
            return variable
    if os.environ.get("MEGASCALE_COORDINATOR_ADDRESS"):
        return "MEGASCALE_COORDINATOR_ADDRESS"
    if os.environ.get("KUBERNETES_SERVICE_HOST") and os.environ.get("JOB_COMPLETION_INDEX"):
        return "JOB_COMPLETION_INDEX"
    return _ENDPOINTS if "," in _tpu_hosts() else None


def _tpu_hosts() -> str:
    """The hosts of the slice that this TPU VM belongs to, by commas; nothing on other machines.

    A plain TPU VM has them in its metadata alone, which JAX asks too. JAX itself sets the first of
    these variables where there are TPUs, and the second where there are none.
    """
    if "TPU_ML_PLATFORM" not in os.environ or "TPU_SKIP_MDS_QUERY" in os.environ:
        return ""
    host = os.environ.get("GCE_METADATA_IP", "metadata.google.internal")
    request = urllib.request.Request(
        f"http://{host}/computeMetadata/v1/instance/attributes/{_ENDPOINTS}",
        headers={"Metadata-Flavor": "Google"},
    )
    with (
        contextlib.suppress(OSError),
        urllib.request.urlopen(request, timeout=METADATA_S) as answer,
    ):
        return answer.read().decode()
    return ""


def _check_explicit(coordinator: str, num_processes: int, process_id: int) -> None:
    host, _, port = coordinator.rpartition(":")
    if not host or not port.isdigit():
        raise ValueError(
            f"coordinator must be host:port, got {coordinator}; try {coordinator}:1234"
        )
    if num_processes < 1 or not 0 <= process_id < num_processes:
        raise ValueError(
            f"process_id must be at least 0 and below num_processes, got {process_id} of "
            f"{num_processes}; number the processes 0 to num_processes - 1"
        )
