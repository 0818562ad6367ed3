"""Any place of an epoch by itself: every sample once, whatever the size, and the same for ever."""

from collections import Counter
from itertools import permutations

import numpy as np
import pytest

from data_pipelines.order import Blocks, Draws, MixedOrder, Mixture, Order
from data_pipelines.permutation import Permutation

GOLDEN, GOLDEN_BLOCKS, GOLDEN_DRAWS = (
    [937, 240, 221, 459, 359, 458],
    [268, 152, 659, 134, 128, 311],
    [795, 451, 462, 768],
)
SIZES = [*range(1, 40), 97, 100, 101, 4095, 4096, 4097]


def epoch_of(order, samples, epoch):
    found = [order(place) for place in range(epoch * samples, (epoch + 1) * samples)]
    assert {number for number, _ in found} == {epoch}
    return [index for _, index in found]


@pytest.mark.parametrize("samples", SIZES)
def test_a_permutation_has_every_place_once(samples):
    found = list(map(Permutation(samples, 1, samples), range(samples)))
    assert sorted(found) == list(range(samples))


def test_every_order_of_a_few_comes_equally_often():
    count = 12_000
    seen = Counter(tuple(map(Permutation(4, seed), range(4))) for seed in range(count))
    assert set(seen) == set(permutations(range(4)))
    # 24 orders: chi-square of 23 degrees of freedom, once in a million above 68.
    assert sum((n - count / 24) ** 2 / (count / 24) for n in seen.values()) < 68


def test_neighbours_are_far_apart_as_in_any_shuffle():
    samples = 100_003
    places = np.asarray([Permutation(samples, 5)(place) for place in range(10_000)])
    steps = np.abs(np.diff(places)) / samples
    assert abs(steps.mean() - 1 / 3) < 0.01  # of two uniform numbers
    assert abs(np.corrcoef(np.arange(10_000), places)[0, 1]) < 0.05


def test_more_samples_than_32_bits_hold_are_shuffled_too():
    samples = 6 * 10**9
    order = Order(samples, seed=3, shuffle=True)
    found = [order(samples + place) for place in range(2_000)]
    assert {epoch for epoch, _ in found} == {1}
    indices = [index for _, index in found]
    assert len(set(indices)) == 2_000 and 0 <= min(indices) and max(indices) < samples
    assert np.mean(np.asarray(indices) >= 2**32) == pytest.approx(1 - 2**32 / samples, abs=0.05)


def test_an_order_is_what_it_was_when_checkpoints_were_written():
    order = Order(1_000, seed=7, shuffle=True)
    assert [order(place)[1] for place in (0, 1, 2, 1_000, 1_001, 2_999)] == GOLDEN
    blocks = Order(1_000, seed=7, shuffle=True, blocks=Blocks(size=32, window=4))
    assert [blocks(place)[1] for place in (0, 1, 2, 1_000, 1_001, 2_999)] == GOLDEN_BLOCKS
    assert [Draws(1_000, seed=7)(place)[1] for place in range(4)] == GOLDEN_DRAWS


def test_seeds_epochs_and_parts_have_orders_of_their_own():
    def orders(seed):
        return [
            tuple(epoch_of(Order(50, seed=seed, shuffle=True, part=part), 50, epoch))
            for part in range(3)
            for epoch in range(3)
        ]

    assert len({*orders(0), *orders(1), *orders(2)}) == 27


@pytest.mark.parametrize("samples", SIZES)
@pytest.mark.parametrize(("size", "window"), [(1, 1), (3, 2), (7, 4), (64, 1), (10_000, 3)])
def test_blocks_leave_no_sample_out(samples, size, window):
    order = Order(samples, seed=2, shuffle=True, blocks=Blocks(size=size, window=window))
    first, second = (epoch_of(order, samples, epoch) for epoch in (0, 1))
    assert sorted(first) == sorted(second) == list(range(samples))
    assert samples < 20 or first != second


def test_a_window_reads_its_blocks_and_no_others():
    size, window, samples = 16, 4, 1_000
    order = Order(samples, seed=2, shuffle=True, blocks=Blocks(size=size, window=window))
    indices = np.asarray(epoch_of(order, samples, 0))
    last: dict[int, int] = {}
    first: dict[int, int] = {}
    for place, block in enumerate((indices // size).tolist()):
        first.setdefault(block, place)
        last[block] = place
    assert max(last[block] - first[block] for block in first) < size * window
    open_at_once = [
        sum(first[block] <= place <= last[block] for block in first) for place in range(samples)
    ]
    assert max(open_at_once) <= window
    assert (np.abs(np.diff(indices)) > 1).mean() > 0.9  # and within it they are shuffled


def test_blocks_of_no_size_are_refused():
    with pytest.raises(ValueError, match="the samples of a block must be a whole number .* got 0"):
        Blocks(size=0)


def test_draws_with_replacement_come_equally_often_and_know_nothing_of_each_other():
    draws = Draws(20, seed=3)
    found = [draws(place) for place in range(8_000)]
    assert [number for number, _ in found] == list(range(8_000))
    counts = np.bincount([index for _, index in found], minlength=20)
    assert ((counts - 400) ** 2 / 400).sum() < 60  # 19 degrees of freedom
    assert max(Counter(index for _, index in found[:20]).values()) > 1


def test_of_a_mixture_one_part_may_be_drawn_and_the_other_have_epochs():
    mixture = Mixture((6,), (0.5,), ("a", "b"), (1,))
    order = MixedOrder(26, mixture=mixture, seed=1, shuffle=True)
    indices = [order(place)[1] for place in range(48)]
    assert sorted(index for index in indices if index < 6) == sorted([*range(6)] * 4)
    drawn = [index - 6 for index in indices if index >= 6]
    assert drawn == [Draws(20, seed=1, part=1)(place)[1] for place in range(24)]


@pytest.mark.parametrize("parts", [1, 2, 5])
def test_place_of_a_mixture_counts_what_came_before(parts):
    shares = tuple([0.1] * (parts - 1))
    order = MixedOrder(
        10 * parts, mixture=Mixture(tuple(10 * i for i in range(1, parts)), shares), seed=0,
        shuffle=False,
    )  # fmt: skip
    before: Counter[int] = Counter()
    for place in range(500):
        part, count = order.part_of(place)
        assert count == before[part]
        before[part] += 1
