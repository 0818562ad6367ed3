"""A state of a stream: a resume is exact on any number of processes, or is refused."""

import json
from fractions import Fraction

import numpy as np
import pytest
from data_makers import pair, pairs, write_tar
from small_loader import (
    COUNT,
    assert_equal,
    joined,
    loader,
    take,
    tar_with,
)

from data_pipelines.loader import joined_state
from data_pipelines.mixtures import Mixture
from data_pipelines.sources import TarSource


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return TarSource(write_tar(tmp_path_factory.mktemp("data") / "a.tar", pairs(COUNT)))


@pytest.mark.parametrize("consumed", [0, 1, 2, 5])
def test_a_resumed_stream_goes_on_bit_for_bit(source, consumed):
    whole = take(loader(source), 9)
    before = loader(source, num_threads=2)
    take(before, consumed)
    state = json.loads(json.dumps(before.get_state()))
    before.close()
    after = loader(source, num_threads=1)
    after.set_state(state)
    assert_equal(take(after, 9 - consumed), whole[consumed:])
    after.close()


def test_a_loader_can_be_set_back(source):
    threaded = loader(source, num_threads=2)
    state = threaded.get_state()
    first = take(threaded, 3)
    threaded.set_state(state)
    assert threaded.seen == 0
    assert_equal(take(threaded, 3), first)
    threaded.close()


def test_a_resumed_finite_stream_ends_where_it_would_have(source):
    before = loader(source, epochs=2)
    take(before, 3)
    after = loader(source, epochs=2)
    after.set_state(before.get_state())
    assert_equal(list(after), list(before))
    assert after.seen == 2 * COUNT
    ended = loader(source, epochs=2)
    ended.set_state(after.get_state())
    assert list(ended) == []


def test_another_number_of_processes_goes_on_with_the_same_samples(source):
    whole = take(loader(source), 8)
    one = loader(source)
    take(one, 3)
    shares = []
    for index in range(2):
        share = loader(source, process_index=index, process_count=2)
        share.set_state(one.get_state())
        shares.append(take(share, 5))
    assert_equal(joined(shares), whole[3:])


def test_another_batch_size_goes_on_with_the_same_samples(source):
    ids = np.concatenate([batch["id"] for batch in take(loader(source), 10)])
    before = loader(source)
    take(before, 3)
    after = loader(source, global_batch_size=7)
    after.set_state(before.get_state())
    np.testing.assert_array_equal(np.concatenate([b["id"] for b in take(after, 4)]), ids[12:40])


def test_the_state_is_the_same_on_all_processes(source):
    states = []
    for index in range(2):
        share = loader(source, process_index=index, process_count=2)
        take(share, 4)
        states.append(share.get_state())
    assert states[0] == states[1]


@pytest.mark.parametrize("processes", [1, 4, 8])
def test_what_four_processes_counted_is_counted_once_by_any_number_that_go_on(tmp_path, processes):
    source = tar_with(tmp_path, b"", b"words")
    how = dict(global_batch_size=8, mixture=Mixture((4,), (Fraction(1, 2),)), max_reject_share=1.0)

    def loaders(count):
        return [loader(source, process_index=i, process_count=count, **how) for i in range(count)]

    def counted(shares):
        state = joined_state([share.get_state() for share in shares])
        return json.loads(json.dumps(state))

    before, whole = loaders(4), loaders(1)
    for share in (*before, *whole):
        take(share, 5)
    state = counted(before)
    assert state == counted(whole) and state["seen"] == 40 == sum(state["parts"]) + 5
    assert state["rejects"] == {"image empty": 5}
    assert sum("image empty" in share.rejects for share in before[1:])  # not of process 0 alone
    after = loaders(processes)
    for share in after:
        share.set_state(state)
    assert counted(after) == state
    for share in (*after, *whole):
        take(share, 5)
    assert counted(after) == counted(whole)


def test_a_state_of_another_stream_is_refused(source, tmp_path):
    state = loader(source).get_state()
    with pytest.raises(ValueError, match="its seed is 1, here it is 2; use the same seed"):
        loader(source, seed=2).set_state(state)
    other = TarSource(write_tar(tmp_path / "b.tar", pair("x", 5)))
    with pytest.raises(ValueError, match="its source is"):
        loader(other).set_state(state)
    with pytest.raises(ValueError, match="its version is None"):
        loader(source).set_state({})


def test_a_state_of_an_earlier_version_goes_on_with_the_same_data(source):
    state = loader(source).get_state()
    after = loader(source)
    after.set_state(state | {"source": state["source"].partition("+")[0], "samples": 8})
    assert after.get_state() == state | {"samples": 8}


def test_a_state_of_another_way_of_shuffling_is_refused(source):
    shuffled, in_order = loader(source).get_state(), loader(source, shuffle=False).get_state()
    with pytest.raises(ValueError, match="its shuffle is False, here it is True"):
        loader(source).set_state(in_order)
    with pytest.raises(ValueError, match="its shuffle is True, here it is False"):
        loader(source, shuffle=False).set_state(shuffled)
    earlier = {name: value for name, value in shuffled.items() if name != "shuffle"}
    loader(source).set_state(earlier)
    with pytest.raises(ValueError, match="its shuffle is True, here it is False"):
        loader(source, shuffle=False).set_state(earlier)
