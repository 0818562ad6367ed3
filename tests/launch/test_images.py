"""JobSets and the image: what Kubernetes and Docker want of them, and whether their parts agree."""

import json
import math
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
import yaml

from vlp.cli.main import _command_parsers

ROOT = Path(__file__).parents[2]
LAUNCH = ROOT / "launch"
JOBSETS = sorted(LAUNCH.glob("jobset_*.yaml"))
OF_XLA = re.compile(r"--(xla_\w+)=(\w+)")


@pytest.fixture(params=JOBSETS, ids=lambda path: path.name)
def jobset(request):
    return yaml.safe_load(request.param.read_text())


def job(jobset):
    """The one job that is replicated."""
    [only] = jobset["spec"]["replicatedJobs"]
    return only["template"]["spec"]


def container(jobset):
    [only] = job(jobset)["template"]["spec"]["containers"]
    return only


def flags(args):
    return dict(arg.partition("=")[::2] for arg in args)


def test_a_jobset_has_what_jobset_and_kubernetes_ask_for(jobset):
    # https://jobset.sigs.k8s.io/docs/reference/jobset.v1alpha2, and batch/v1 of Kubernetes
    assert jobset.keys() == {"apiVersion", "kind", "metadata", "spec"}
    assert (jobset["apiVersion"], jobset["kind"]) == ("jobset.x-k8s.io/v1alpha2", "JobSet")
    assert jobset["spec"].keys() == {"failurePolicy", "replicatedJobs"}
    [replicated] = jobset["spec"]["replicatedJobs"]
    assert replicated.keys() == {"name", "replicas", "template"}
    spec = job(jobset)
    assert spec.keys() == {
        "parallelism", "completions", "backoffLimit", "podFailurePolicy", "template",
    }  # fmt: skip
    pod = spec["template"]["spec"]
    assert pod["restartPolicy"] == "Never"  # as a podFailurePolicy demands
    assert {"name", "image", "command", "args", "resources"} <= container(jobset).keys()
    mounted = {mount["name"] for mount in container(jobset)["volumeMounts"]}
    assert mounted == {volume["name"] for volume in pod["volumes"]}
    names = [jobset["metadata"]["name"], replicated["name"], container(jobset)["name"]]
    assert all(re.fullmatch("[a-z][-a-z0-9]*[a-z0-9]", name) for name in names)


def test_a_jobset_starts_again_together_and_without_end_where_all_saved(jobset):
    policy, spec = jobset["spec"]["failurePolicy"], job(jobset)
    [rule] = policy["rules"]
    assert policy["maxRestarts"] >= 1 and spec["backoffLimit"] == 0
    assert rule["action"] == "RestartJobSetAndIgnoreMaxRestarts" and rule["name"]
    assert rule["onJobFailureReasons"] == ["PodFailurePolicy"]
    saved, evicted = spec["podFailurePolicy"]["rules"]
    assert saved["action"] == evicted["action"] == "FailJob"
    assert saved["onExitCodes"] == {"operator": "In", "values": [75]}
    assert evicted["onPodConditions"] == [{"type": "DisruptionTarget", "status": "True"}]
    assert spec["template"]["spec"]["terminationGracePeriodSeconds"] >= 120


def test_a_jobset_starts_vlp_itself_with_flags_that_it_has(jobset):
    command, args = container(jobset)["command"], container(jobset)["args"]
    assert command == ["vlp", "train"]  # a shell would keep SIGTERM for itself
    known = _command_parsers()[1]["train"].options()
    assert set(flags(args)) <= set(known)
    config = flags(args)["--config"].partition(":")[0]
    assert (ROOT / config).is_file()


def test_the_numbers_of_a_jobset_agree(jobset):
    spec, args = job(jobset), flags(container(jobset)["args"])
    hosts = spec["parallelism"]
    assert spec["completions"] == hosts
    [(device, count)] = container(jobset)["resources"]["limits"].items()
    selector = spec["template"]["spec"]["nodeSelector"]
    if device == "google.com/tpu":
        topology = selector["cloud.google.com/gke-tpu-topology"]
        assert math.prod(map(int, topology.split("x"))) == hosts * count
        assert "--coordinator" not in args  # GKE says who is who
        return
    name, replicated = jobset["metadata"]["name"], jobset["spec"]["replicatedJobs"][0]["name"]
    assert args["--coordinator"].startswith(f"{name}-{replicated}-0-0.{name}:")
    assert args["--num-processes"] == str(hosts)
    assert args["--process-id"] == "$(JOB_COMPLETION_INDEX)"


def instructions():
    text = (LAUNCH / "Dockerfile").read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [tuple(line.split(maxsplit=1)) for line in lines]


def test_the_image_is_pinned_small_and_not_root():
    found = instructions()
    known = {"FROM", "ARG", "RUN", "WORKDIR", "COPY", "USER", "ENV", "CMD"}
    assert {name for name, _ in found} == known
    [base] = [value for name, value in found if name == "FROM"]
    assert re.fullmatch(r"python:3\.\d+-slim", base)
    [user] = [value for name, value in found if name == "USER"]
    assert user.isdecimal() and int(user) > 0  # a number, for Kubernetes' runAsNonRoot
    [pip] = [value for _, value in found if "pip install" in value]
    assert "--no-cache-dir" in pip
    [command] = [value for name, value in found if name == "CMD"]
    assert json.loads(command)[0] == "vlp"


def test_the_image_gets_all_that_an_installation_needs():
    copied = [value.split()[:-1] for name, value in instructions() if name == "COPY"]
    names = {name for each in copied for name in each}
    assert {"pyproject.toml", "setup.py", "README.md", "LICENSE"} < names
    assert all((ROOT / name).exists() for name in names)
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests"}
    assert packages <= names


@pytest.mark.parametrize("flag", OF_XLA.findall((LAUNCH / "README.md").read_text()), ids=str)
def test_the_installed_jaxlib_has_each_flag_of_xla_that_is_advised(flag):
    name, value = flag
    lowered = jax.jit(jnp.sin).lower(jnp.ones(2))
    lowered.compile(compiler_options={name: value == "true"})
    with pytest.raises(jax.errors.JaxRuntimeError, match="No such compile option"):
        lowered.compile(compiler_options={name + "_x": True})
