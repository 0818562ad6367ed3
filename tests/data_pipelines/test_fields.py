"""Rows that lack a field, sets of pairs in fixed shares, and samples joined by key."""

import itertools
import json
import pickle

import numpy as np
import pytest
from data_makers import Noisy, encoded, pairs, pixels, write_tar

from data_pipelines.faults import REASONS, Reject
from data_pipelines.fields import Pictures, Texts
from data_pipelines.loader import Mixture, make_loader
from data_pipelines.order import MixedOrder, Order
from data_pipelines.sources import ConcatSource, TarSource
from data_pipelines.sources.join import JoinedSource, OnlySource
from data_pipelines.sources.part import PartSource
from data_pipelines.text import train_sentencepiece

WORDS = train_sentencepiece([f"caption {i}" for i in range(9)], vocab_size=300)
OPTIONAL = ("image", "text")


def batches(source, count, *, optional=OPTIONAL, **values):
    fields = {
        "text": Texts(WORDS, length=8, pad_id=WORDS.pad_id),
        "image": Pictures(Noisy(), size=4),
    }
    settings = dict(global_batch_size=6, seed=1, num_threads=0, max_reject_share=1.0) | values
    stream = make_loader(source, fields=fields, optional=optional, **settings)
    return list(itertools.islice(stream, count))


@pytest.fixture
def holes(tmp_path):
    """Samples without a caption (1), without a picture (2), with a damaged one (3), with nothing
    of both (4)."""
    members = {name: data for name, data in pairs(6)}
    del members["0001.captions"], members["0002.png"], members["0004.png"]
    del members["0004.captions"]
    members["0003.png"] = b"<html>"
    return TarSource(write_tar(tmp_path / "holes.tar", members.items()))


def test_what_a_row_may_lack_is_absent_and_the_row_counts(holes, tmp_path):
    (batch,) = batches(holes, 1, shuffle=False)
    np.testing.assert_array_equal(batch["weight"], [1, 1, 1, 0, 0, 1])
    np.testing.assert_array_equal(batch["present/image"], [1, 1, 0, 0, 0, 1])
    np.testing.assert_array_equal(batch["present/text"], [1, 0, 1, 0, 0, 1])
    assert batch["present/text"].dtype == bool
    whole = TarSource(write_tar(tmp_path / "whole.tar", pairs(6)))
    (plain,) = batches(whole, 1, shuffle=False, optional=())
    for name in OPTIONAL:
        there = batch[f"present/{name}"]
        np.testing.assert_array_equal(batch[name][there], plain[name][there])
        assert (batch[name][~there] == 0).all()
    assert plain.keys() == batch.keys() - {"present/image", "present/text"}


def test_what_is_damaged_or_must_be_there_rejects_the_row(holes):
    (batch,) = batches(holes, 1, shuffle=False, optional=("text",))
    said = {row: REASONS[code - 1] for row, code in enumerate(batch["reject"]) if code}
    assert said == {2: "image missing", 3: "image not recognised", 4: "image missing"}
    assert batch["present/text"].tolist() == [True, False, False, False, False, True]
    assert "present/image" not in batch


def test_a_field_that_is_not_made_cannot_be_optional(holes):
    with pytest.raises(ValueError, match="optional fields must be fields, got smell"):
        batches(holes, 1, optional=("smell",))


def test_parts_have_their_shares_everywhere_and_an_epoch_of_their_own():
    sizes, shares = (7, 20, 3, 11), (0.4, 0.3, 0.1, 0.2)
    firsts = np.cumsum((0, *sizes[:-1]))
    mixture = Mixture(tuple(firsts[1:].tolist()), shares[1:])
    order = MixedOrder(sum(sizes), mixture=mixture, seed=5, shuffle=True)
    epochs, ids = np.transpose([order(place) for place in range(3_000)])
    part = np.searchsorted(firsts, ids, side="right") - 1
    for k, (size, share) in enumerate(zip(sizes, shares, strict=True)):
        here = np.cumsum(part == k)
        assert np.abs(here - share * np.arange(1, 3_001)).max() < 3
        own = Order(size, seed=5, shuffle=True, part=k)
        wanted = [own(place) for place in range(here[-1])]
        assert list(zip(epochs[part == k], ids[part == k] - firsts[k], strict=True)) == wanted


def test_shares_that_are_no_parts_of_a_whole_are_refused():
    for mixture, said in (
        (Mixture((2, 4), (0.5, 0.5)), "between 0 and 1, got 0.0"),
        (Mixture((2, 4), (0.7, 0.5)), "between 0 and 1, got -0.2"),
        (Mixture((4, 4), (0.3, 0.3)), "needs a sample, got 4 and 0 and 2"),
    ):
        with pytest.raises(ValueError, match=said):
            MixedOrder(6, mixture=mixture, seed=0, shuffle=False)


@pytest.fixture
def sets(holes):
    """Pictures with captions, pictures alone, captions alone."""
    parts = [OnlySource(holes, m) for m in (("image", "text"), ("image",), ("text",))]
    return ConcatSource(parts), Mixture((6, 12), (0.3, 0.2))


def test_a_set_shows_what_is_used_of_it(sets):
    (batch,) = batches(sets[0], 1, global_batch_size=18, shuffle=False)
    np.testing.assert_array_equal(batch["present/image"][6:], [1, 1, 0, 0, 0, 1] + [0] * 6)
    np.testing.assert_array_equal(batch["present/text"][6:], [0] * 6 + [1, 0, 1, 1, 0, 1])
    assert [part.without_caption for part in sets[0].survey()] == [2, None, 2]
    with pytest.raises(ValueError, match="some of image, text, audio, got smell"):
        OnlySource(sets[0], ("image", "smell"))


def test_sets_resume_and_are_the_same_for_any_number_of_processes(sets):
    source, mixture = sets
    whole = batches(source, 8, mixture=mixture)
    shares = [
        batches(source, 8, mixture=mixture, process_index=i, process_count=3, num_threads=2)
        for i in range(3)
    ]
    for batch, *parts in zip(whole, *shares, strict=True):
        for name, rows in batch.items():
            np.testing.assert_array_equal(rows, np.concatenate([part[name] for part in parts]))
    settings = dict(fields={"text": Texts(WORDS, length=8, pad_id=0)}, optional=("text",), seed=1,
                    num_threads=0, max_reject_share=1.0, mixture=mixture)  # fmt: skip
    before = make_loader(source, global_batch_size=6, **settings)
    ids = [next(before)["id"].tolist() for _ in range(8)]
    assert ids == [batch["id"].tolist() for batch in whole]
    after = make_loader(source, global_batch_size=6, **settings)
    first = make_loader(source, global_batch_size=6, **settings)
    next(first)
    state = json.loads(json.dumps(first.get_state()))
    assert state["mixture"] == [6, 12, 0.3, 0.2]
    after.set_state(state)
    assert [next(after)["id"].tolist() for _ in range(7)] == ids[1:]


def test_a_state_of_two_parts_is_as_it_was():
    assert Mixture((5,), (0.25,)).to_json() == [5, 0.25]


def test_a_part_of_which_nothing_can_be_used_is_refused_at_the_start(sets, tmp_path):
    bad = TarSource(write_tar(tmp_path / "bad.tar", [("a.png", b"")]))
    source = ConcatSource([sets[0], bad])
    loader = make_loader(
        source, fields={"image": Pictures(Noisy(), size=4)}, optional=("image",),
        global_batch_size=2, mixture=Mixture((18,), (0.1,)),
    )  # fmt: skip
    with pytest.raises(ValueError, match=r"of 1 looked at none can: image empty 1 \(a:"):
        loader.check()


def test_joined_samples_have_what_both_know_and_the_others_are_said(tmp_path):
    names = [
        ("x.json", b'{"kind": 1, "who": "other"}'),
        ("b/0002.json", b'{"kind": 2}'),
        ("0003.json", b'{"kind": 3}'),
        ("0003.txt", b"not this one"),
    ]
    one = TarSource(write_tar(tmp_path / "one.tar", [
        ("0003.png", encoded(pixels(3))), ("0003.txt", b"three"), ("b/0002.png", b"png"),
        ("lonely.png", b"png"), ("0003.json", b'{"who": "one"}'),
    ]))  # fmt: skip
    other = TarSource(write_tar(tmp_path / "other.tar", names))
    both = pickle.loads(pickle.dumps(JoinedSource(one, other)))
    assert [both.key(i) for i in range(len(both))] == ["0003", "b/0002"]
    assert both.meta(0) == {"kind": 3, "who": "one"} and both.captions(0) == (b"three",)
    assert both[0].image == encoded(pixels(3))
    with pytest.raises(Reject, match="caption missing"):
        both.captions(1)
    assert JoinedSource(other, one).image(0) == b"png"
    strays = both.survey()[-1].strays
    assert [(s.reason, s.count, s.example) for s in strays] == [
        ("other has no such key", 1, "lonely"),
        ("one has no such key", 1, "x"),
    ]
    assert both.fingerprint != JoinedSource(other, one).fingerprint
    with pytest.raises(ValueError, match="have none in common: lonely and x"):
        JoinedSource(PartSource(one, 2, 3), PartSource(other, 0, 1))
    twice = ConcatSource([other, other])
    with pytest.raises(ValueError, match="must be of one sample, got x twice"):
        JoinedSource(one, twice)
