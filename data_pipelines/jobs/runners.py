"""Who carries a job out: Apache Beam's runner in this process, or a cluster's.

References:
  Akidau et al., "The Dataflow model", 2015; https://beam.apache.org/documentation/runners.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

# The one that needs neither a download nor a server; it is what DirectRunner falls back to.
IN_PROCESS = "apache_beam.runners.portability.fn_api_runner.FnApiRunner"


def in_process(workers: int) -> list[str]:
    """The flags of Beam for a run on this machine alone.

    Args:
      workers: processes; 1 stays in this one.
    """
    mode = "in_memory" if workers == 1 else "multi_processing"
    return [
        f"--runner={IN_PROCESS}",
        f"--direct_num_workers={workers}",
        f"--direct_running_mode={mode}",
    ]


def for_each(parts: Sequence[int], flags: Sequence[str], work: Callable[[int], object]) -> None:
    """Calls a function with each of some parts, wherever the runner has room.

    Args:
      parts: their numbers; of none no pipeline is made.
      flags: of the runner.
      work: pickles.
    """
    if parts:
        with pipeline(flags) as made:
            _ = made | beam.Create(parts) | beam.Reshuffle() | beam.Map(work)


@contextlib.contextmanager
def pipeline(flags: Sequence[str]) -> Iterator[beam.Pipeline]:
    """A pipeline that is carried out, to its end, when the block is left.

    Args:
      flags: Beam's own, such as `--runner=FlinkRunner`.
    """
    with beam.Pipeline(options=PipelineOptions(list(flags))) as made:
        yield made
    client = getattr(made.result, "client", None)  # Dask's, which would stay
    if client is not None:
        client.close()
