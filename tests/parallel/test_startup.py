"""Joining the processes of a run: which launchers are followed, and what is refused."""

from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import jax
import pytest

from vlp.parallel.startup import launched_by, start

LAUNCHERS = (
    "SLURM_STEP_NUM_TASKS",
    "OMPI_COMM_WORLD_SIZE",
    "TPU_WORKER_HOSTNAMES",
    "TPU_PROCESS_ADDRESSES",
    "MEGASCALE_COORDINATOR_ADDRESS",
    "KUBERNETES_SERVICE_HOST",
    "JOB_COMPLETION_INDEX",
    "TPU_ML_PLATFORM",
    "TPU_SKIP_MDS_QUERY",
)


def test_one_process_starts_without_others(monkeypatch):
    for name in LAUNCHERS:
        monkeypatch.delenv(name, raising=False)
    start()
    start(coordinator="localhost:1234", num_processes=1, process_id=0)
    assert not jax.distributed.is_initialized()


@pytest.mark.parametrize(
    ("environment", "launcher"),
    [
        ({"SLURM_STEP_NUM_TASKS": "4"}, "SLURM_STEP_NUM_TASKS"),
        ({"SLURM_STEP_NUM_TASKS": "1"}, None),
        ({"OMPI_COMM_WORLD_SIZE": "2"}, "OMPI_COMM_WORLD_SIZE"),
        ({"TPU_WORKER_HOSTNAMES": "t-0,t-1"}, "TPU_WORKER_HOSTNAMES"),
        ({"TPU_WORKER_HOSTNAMES": "localhost"}, None),
        ({"KUBERNETES_SERVICE_HOST": "x", "JOB_COMPLETION_INDEX": "0"}, "JOB_COMPLETION_INDEX"),
        ({"KUBERNETES_SERVICE_HOST": "x"}, None),
        ({"TPU_ML_PLATFORM": "JAX", "GCE_METADATA_IP": "127.0.0.1:1"}, None),
        ({"TPU_ML_PLATFORM": "JAX", "TPU_SKIP_MDS_QUERY": "1"}, None),
    ],
)
def test_only_launchers_of_several_processes_are_followed(monkeypatch, environment, launcher):
    for name in LAUNCHERS:
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert launched_by() == launcher


@pytest.mark.parametrize(
    ("hosts", "launcher"), [("t-0,t-1", "worker-network-endpoints"), ("a:0:10.0.0.2", None)]
)
def test_a_plain_tpu_vm_finds_its_slice_in_the_metadata(monkeypatch, hosts, launcher):
    for name in LAUNCHERS:
        monkeypatch.delenv(name, raising=False)
    asked = []

    class Metadata(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append((self.path, self.headers["Metadata-Flavor"]))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(hosts.encode())

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Metadata) as server:
        Thread(target=server.handle_request).start()
        monkeypatch.setenv("TPU_ML_PLATFORM", "JAX")
        monkeypatch.setenv("GCE_METADATA_IP", f"127.0.0.1:{server.server_port}")
        assert launched_by() == launcher
    path = "/computeMetadata/v1/instance/attributes/worker-network-endpoints"
    assert asked == [(path, "Google")]


@pytest.mark.parametrize(
    ("arguments", "remedy"),
    [
        (dict(coordinator="a:1"), "give all three, or none"),
        (dict(coordinator="a", num_processes=2, process_id=0), "host:port, got a; try a:1234"),
        (dict(coordinator="a:1", num_processes=2, process_id=2), "number the processes 0 to"),
    ],
)
def test_contradicting_arguments_are_refused(arguments, remedy):
    with pytest.raises(ValueError, match=remedy):
        start(**arguments)


def test_a_coordinator_that_never_comes_is_an_error_with_what_to_check():
    with pytest.raises(RuntimeError, match=r"localhost:1 within 1 s: .*refused.*port is open"):
        start(coordinator="localhost:1", num_processes=2, process_id=1, timeout_s=1)
