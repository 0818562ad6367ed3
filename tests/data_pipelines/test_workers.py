"""What a worker process holds, and how what goes wrong in one arrives."""

import sys

import numpy as np
import pytest
from data_makers import pairs, write_tar

from data_pipelines.loader import make_loader
from data_pipelines.sources import TarSource

HEAVY = "grain", "jax", "orbax", "pyarrow", "tensorflow", "tensorflow_datasets"


class Loaded:
    """Which of some modules are there, as a field of a batch."""

    absent = np.zeros(len(HEAVY), bool)

    def __call__(self, example):
        example.source.image(example.index)
        return np.asarray([name in sys.modules for name in HEAVY])


class Odd(Exception):
    """An error that does not pickle."""

    def __init__(self, one, other):
        super().__init__(f"{one} {other}")


class Failing:
    """A field that is a mistake of the program, not of the data."""

    absent = np.zeros((), bool)

    def __init__(self, error):
        self.error = error

    def __call__(self, example):
        raise Odd("two", "words") if self.error == "odd" else KeyError(self.error)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return TarSource(write_tar(tmp_path_factory.mktemp("data") / "a.tar", pairs(4)))


def working(source, field):
    return make_loader(source, fields={"it": field}, global_batch_size=2, num_workers=1)


def test_a_worker_imports_no_more_than_it_needs(source):
    loader = working(source, Loaded())
    found = next(loader)["it"].any(axis=0)
    loader.close()
    assert [name for name, there in zip(HEAVY, found, strict=True) if there] == []


@pytest.mark.parametrize(
    ("error", "kind", "said"), [("lost", KeyError, "lost"), ("odd", RuntimeError, "Odd: two words")]
)
def test_an_error_arrives_with_where_it_was_raised(source, error, kind, said):
    loader = working(source, Failing(error))
    with pytest.raises(kind, match=said) as caught:
        next(loader)
    loader.close()
    assert "in __call__" in caught.value.__notes__[0]
