"""What models say of every sample, kept for comparisons and pictures."""

from pathlib import Path
from typing import Any

import numpy as np

from data_pipelines.sources import Source
from vlp.files import write_whole
from vlp.sweeps.judged import Judged

VALUE, COUNTED = "value:", "counted:"


class SampleStore:
    """A folder with a file `KEY.npz` for each row of a sweep.

    It holds `ids` and `keys` of the samples, `value:METRIC` and `counted:METRIC` of metrics that
    are quotients of sums over samples, and what else the task said of each.

    Args:
        folder: made when something is put there.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def keep(self, key: str, judged: Judged, *, pictures: Source) -> None:
        """Keeps what a task said.

        Args:
            key: of the row.
            judged: by the task.
            pictures: of the set.
        """
        arrays: Any = dict(judged.said)
        if judged.ids is not None:
            arrays["ids"] = judged.ids
            arrays["keys"] = np.asarray([pictures.key(int(i)) for i in judged.ids])
        for name, measure in judged.measures.items():
            if measure.shares is not None:
                arrays[VALUE + name], arrays[COUNTED + name] = measure.shares

        def save(partial: Path) -> None:
            with partial.open("wb") as file:
                np.savez_compressed(file, **arrays)

        write_whole(self.folder / f"{key}.npz", save)

    def find(self, key: str) -> dict[str, np.ndarray]:
        """What is kept; nothing where the row is of an earlier folder.

        Args:
            key: of the row.
        """
        path = self.folder / f"{key}.npz"
        if not path.is_file():
            return {}
        with np.load(path, allow_pickle=False) as found:
            return dict(found)
