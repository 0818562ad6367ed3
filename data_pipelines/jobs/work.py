"""What a job works on: a data set in parts, and the folder that its results go to."""

import dataclasses
import functools
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from data_pipelines.files import remove_partials, write_json
from data_pipelines.formats import JOB
from data_pipelines.limits import LIMITS, Limits
from data_pipelines.opening import open_source
from data_pipelines.sources.base import Source
from data_pipelines.sources.fingerprints import same_data


@dataclasses.dataclass(frozen=True)
class Work:
    """A data set in parts of equal size, and a folder. Workers open the data themselves.

    Attributes:
      spec: of the data.
      out: the folder of the results, which all workers see.
      samples: of the data.
      part_size: samples a part.
      limits: how large the parts of a sample may be.
    """

    spec: str
    out: Path
    samples: int
    part_size: int
    limits: Limits = LIMITS

    def __len__(self) -> int:
        return math.ceil(self.samples / self.part_size)

    def indices(self, part: int) -> range:
        """The samples of a part."""
        return range(part * self.part_size, min((part + 1) * self.part_size, self.samples))

    @property
    def source(self) -> Source:
        """The data, opened once in each process."""
        return opened(self.spec, self.limits)

    def missing(self, path: Callable[[int], Path]) -> list[int]:
        """The parts whose file is not there yet."""
        return [part for part in range(len(self)) if not path(part).exists()]


@functools.lru_cache(maxsize=4)
def opened(spec: str, limits: Limits) -> Source:
    """The data, opened once in each process. Raises ValueError."""
    return open_source(spec, limits=limits)


def begin(
    spec: str,
    out: Path,
    *,
    settings: Mapping[str, Any],
    part_size: int,
    limits: Limits = LIMITS,
) -> Work:
    """The work of a job whose folder is new, or of this very job, which then goes on.

    Args:
      spec: of the data.
      out: the folder.
      settings: JSON values: the job and all that changes what it writes.
      part_size: samples a part.
      limits: of samples.

    Raises:
      ValueError: a part has no sample, or the folder holds something else.
    """
    if part_size < 1:
        raise ValueError(f"a part must be of at least 1 sample, got {part_size}")
    source = opened(spec, limits)
    told = {**settings, "data": source.fingerprint, "part_size": part_size}
    told = json.loads(json.dumps(told))  # as it is read back
    path = out / JOB
    if path.is_file():
        _check_same(path, told)
        for folder in (out, *(each for each in out.iterdir() if each.is_dir())):
            remove_partials(folder)
    elif out.is_dir() and any(not each.name.startswith(".") for each in out.iterdir()):
        raise ValueError(f"--out must be new, empty or of this job, {out} holds other files")
    else:
        write_json(path, told)
    return Work(spec, out, len(source), part_size, limits)


def _check_same(path: Path, told: Mapping[str, Any]) -> None:
    try:
        there = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} must be JSON, got {error}; give another --out") from error
    for name in dict.fromkeys([*told, *there]):
        before, now = there.get(name), told.get(name)
        if not same_data(before, now):
            raise ValueError(
                f"{path.parent} is of a job with another {name}, {str(before)[:200]}, and this "
                f"one has {str(now)[:200]}; give another --out, or what it was to go on"
            )
