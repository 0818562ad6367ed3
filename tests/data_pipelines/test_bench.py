"""What loading costs is said by stage, of the stages that there are, and adds up."""

import sys

import pytest
from data_makers import encoded, pairs, pixels, write_tar
from small_loader import TOKENIZER, loader

from data_pipelines.bench import HAND_OVER, bench
from data_pipelines.decode import decode
from data_pipelines.sources import TarSource
from data_pipelines.stages import timed


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    members = pairs(8)
    members[6] = ("0002.png", b"no picture")
    return TarSource(write_tar(tmp_path_factory.mktemp("data") / "a.tar", members))


def test_work_is_of_the_stage_whose_module_does_it(source):
    file = encoded(pixels(1))
    for work, stage in (
        (lambda: decode(file), "decode"),
        (lambda: TOKENIZER.encode(["words of a caption"], 8), "tokenise"),
        (lambda: source.image(0), "read"),
        (lambda: sorted(range(100)), "batch"),
    ):
        assert timed(work).keys() <= {stage, "batch"} and stage in timed(work)


def test_a_profile_is_over_when_the_work_fails(source):
    with pytest.raises(ZeroDivisionError):
        timed(lambda: 1 / 0)
    assert sys.getprofile() is None


@pytest.mark.parametrize("threads", [0, 2])
def test_a_loader_is_measured_stage_by_stage_and_as_a_run_would_load(source, threads):
    made = loader(source, num_threads=threads, max_reject_share=0.5)
    found = bench(made, seconds=0.05)
    assert {"read", "decode", "tokenise", "batch", HAND_OVER} <= found.stages.keys()
    assert found.core_ms == sum(found.stages.values()) > 0
    assert found.stages[found.limit] == max(found.stages.values())
    assert found.cores_for(2_000) == pytest.approx(2 * found.core_ms)
    assert found.loaded > 0 and 0 < found.rejected < found.samples
    sizes = [len(source.image(i)) + sum(map(len, source.captions(i))) for i in range(8)]
    assert min(sizes) <= found.bytes_a_sample <= max(sizes)
    assert found.how == ("2 threads" if threads else "1 thread, when asked")
