"""What the runner of a cluster needs: asked for before a job begins, and nothing is downloaded.

References:
  https://beam.apache.org/documentation/runners/flink and .../spark: both are reached by way of
  Beam's job server, a program in Java.
"""

import socket
from collections.abc import Sequence
from pathlib import Path

from apache_beam.options.pipeline_options import (
    FlinkRunnerOptions,
    PipelineOptions,
    PortableOptions,
    SparkRunnerOptions,
    StandardOptions,
)
from apache_beam.runners import PipelineRunner, create_runner
from apache_beam.runners.direct.direct_runner import SwitchingDirectRunner
from apache_beam.runners.portability.portable_runner import PortableRunner
from apache_beam.runners.portability.prism_runner import PrismRunner

# Names that Beam itself does not know.
_NAMED = {"DaskRunner": "apache_beam.runners.dask.dask_runner.DaskRunner"}
_ANSWERS_IN_S = 10.0
_NO_RUNNER = "--runner must be one that Beam knows, or the full name of a PipelineRunner's class"


def on_cluster(runner: str, more: Sequence[str]) -> list[str]:
    """The flags of Beam for a runner by name.

    Args:
      runner: its name.
      more: flags of its own.

    Raises:
      ValueError: there is no such runner, it lacks what it needs or would download it, or a flag
        is not known or names another runner.
    """
    name = _NAMED.get(runner, runner)
    made, options = _made(name), PipelineOptions([*more])
    named = options.view_as(StandardOptions).runner
    if named is not None:
        raise ValueError(f"--beam must name no runner, got {named!r}; give --runner={named} alone")
    if isinstance(made, SwitchingDirectRunner | PrismRunner):
        raise ValueError(
            f"{runner} may start Prism, which Beam downloads; leave --runner out for a run on this "
            "machine, --workers=N of its processes"
        )
    if isinstance(made, PortableRunner):  # whose job server knows flags of its own
        _check_job_server(type(made).__name__, options)
    else:
        _check_known(more)
    return [f"--runner={name}", *more]


def _made(name: str) -> PipelineRunner:
    """The runner of a name. Raises ValueError where there is none."""
    try:
        made = create_runner(name)
    except ImportError as error:
        raise ValueError(
            f"{name} needs a package that is not installed ({error}); for DaskRunner, "
            "pip install 'vlp[dask]'"
        ) from error
    except (AttributeError, TypeError) as error:  # what the module has not, or is no such class
        raise ValueError(f"{_NO_RUNNER}, got {name} ({error})") from error
    if not isinstance(made, PipelineRunner):
        raise ValueError(f"{_NO_RUNNER}, got {name}")
    return made


def _check_known(flags: Sequence[str]) -> None:
    """Raises ValueError where Beam would leave a flag unread."""
    unknown: list[str] = []
    PipelineOptions([]).get_all_options(
        add_extra_args_fn=lambda parser: unknown.extend(parser.parse_known_args([*flags])[1])
    )
    if unknown:
        raise ValueError(
            f"--beam must be of flags that Beam knows, got {' '.join(unknown)}; see "
            "https://beam.apache.org/documentation/runners"
        )


def _check_job_server(runner: str, options: PipelineOptions) -> None:
    endpoint = options.view_as(PortableOptions).job_endpoint
    if endpoint:
        _check_answers(endpoint)
        return
    jars = {
        "FlinkRunner": options.view_as(FlinkRunnerOptions).flink_job_server_jar,
        "SparkRunner": options.view_as(SparkRunnerOptions).spark_job_server_jar,
    }
    if runner == "PortableRunner":
        raise ValueError(
            "PortableRunner needs a job server that runs; give --beam='--job_endpoint=HOST:PORT'"
        )
    if runner in jars:
        _check_jar(runner, jars[runner])


def _check_jar(runner: str, jar: str | None) -> None:
    """Raises ValueError where the jar of a job server is not given, or is no file; URLs pass."""
    if not jar:
        system = runner.removesuffix("Runner").lower()
        raise ValueError(
            f"{runner} needs Beam's job server; give --beam='--job_endpoint=HOST:PORT' of one that "
            f"runs, or --beam='--{system}_job_server_jar=FILE.jar' and its own flags (the jar is "
            f"beam-runners-{system}-...-job-server of Beam's releases, of the very version that "
            f"pip installed; see https://beam.apache.org/documentation/runners/{system})"
        )
    if "://" not in jar and not Path(jar).is_file():
        raise ValueError(f"the jar of {runner}'s job server must be a file or a URL, got {jar}")


def _check_answers(endpoint: str) -> None:
    if endpoint == "embed":  # in this process
        return
    host, _, port = endpoint.rpartition(":")
    if not (host and port.isdigit()):
        raise ValueError(f"--job_endpoint must be HOST:PORT, got {endpoint!r}")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_ANSWERS_IN_S).close()
    except OSError as error:
        raise ValueError(
            f"--job_endpoint must be of a job server that runs, {endpoint} does not answer "
            f"({error}); start it, or give another"
        ) from error
