"""Several captions of a sample at once: which they are, what a row holds, and what is refused."""

import json
from collections import Counter

import numpy as np
import pytest
from data_makers import Noisy, pairs, write_tar
from small_loader import COUNT, TOKENIZER, assert_equal, joined, take

from data_pipelines.faults import REASONS, Reject
from data_pipelines.fields import Example, Pictures
from data_pipelines.loader import make_loader
from data_pipelines.several_texts import SeveralTexts, check_several, draw_captions
from data_pipelines.sources import TarSource
from data_pipelines.sources.drawn import ByWeight
from data_pipelines.sources.labels import LabelCaptions
from data_pipelines.sources.within import Within


class Captioned(Within):
    """The same captions for all samples of a source."""

    def __init__(self, source, captions):
        self.source, self.limits, self.name = source, source.limits, source.name
        self._captions = captions

    def captions(self, index):
        return self._captions


@pytest.fixture
def source(tmp_path):
    return TarSource(write_tar(tmp_path / "a.tar", pairs(COUNT)))


def drawn(source, count, *, epochs=2_000, first_probability=0.5):
    examples = (Example(source, 0, epoch, 0) for epoch in range(epochs))
    return [
        tuple(draw_captions(each, count=count, first_probability=first_probability))
        for each in examples
    ]


def shares(found):
    return {each: number / len(found) for each, number in Counter(found).items()}


def loader(source, *, count=2, **values):
    texts = SeveralTexts(TOKENIZER, count=count, length=24)
    fields = {"text": texts, "image": Pictures(Noisy(), size=4)}
    settings = dict(global_batch_size=4, seed=1, num_threads=0, max_reject_share=0.5) | values
    return make_loader(source, fields=fields, **settings)


def test_the_first_caption_is_drawn_as_often_as_asked_and_the_others_alike(source):
    same = Captioned(source, ("a", "b", "c"))
    found = drawn(same, 2, first_probability=0.6)
    ways = {("a", "b"): 0.3, ("a", "c"): 0.3}
    ways |= dict.fromkeys([("b", "a"), ("b", "c"), ("c", "a"), ("c", "b")], 0.1)
    assert shares(found) == pytest.approx(ways, abs=0.04)
    first = shares(drawn(same, 2, first_probability=1.0))
    assert first == pytest.approx({("a", "b"): 0.5, ("a", "c"): 0.5}, abs=0.04)


def test_weighted_captions_are_drawn_by_the_weights_of_those_that_are_left(source):
    same = Captioned(source, ByWeight([("a", 1), ("b", 1), ("c", 2)]))
    ways = {("a", "b"): 1 / 12, ("a", "c"): 2 / 12, ("b", "a"): 1 / 12, ("b", "c"): 2 / 12}
    ways |= {("c", "a"): 1 / 4, ("c", "b"): 1 / 4}
    assert shares(drawn(same, 2)) == pytest.approx(ways, abs=0.04)
    assert {frozenset(found) for found in drawn(same, 9, epochs=20)} == {frozenset("abc")}


def test_labels_have_a_caption_a_template_with_names_in_any_order(source):
    same = Captioned(source, LabelCaptions(["cat", "dog"], ["a {}", "the {}"]))
    found = drawn(same, 5, epochs=400)
    assert all({one[0], other[0]} == {"a", "t"} for one, other in found)
    assert {each for pair in found for each in pair} == {
        "a cat, dog", "a dog, cat", "the cat, dog", "the dog, cat",
    }  # fmt: skip


def test_a_row_has_all_captions_of_a_sample_and_then_no_more(source):
    texts = SeveralTexts(TOKENIZER, count=5, length=8)
    row = texts(Example(source, 3, 0, 0))
    assert (row.shape, row.dtype) == ((5, 8), np.int32)
    lines = TOKENIZER.encode([line.decode() for line in source.captions(3)], 8)
    assert {tuple(ids) for ids in row[:3]} == {tuple(ids) for ids in lines}
    np.testing.assert_array_equal(row[3:], -1)
    np.testing.assert_array_equal(texts.absent, -1)


def test_rows_are_the_same_for_any_number_of_processes_and_after_a_resume(source):
    whole = take(loader(source), 6)
    parts = [
        take(loader(source, process_index=i, process_count=2, num_threads=2), 6) for i in range(2)
    ]
    assert_equal(joined(parts), whole)
    before, after = loader(source), loader(source)
    take(before, 2)
    after.set_state(json.loads(json.dumps(before.get_state())))
    assert_equal(take(after, 4), whole[2:])
    rows = np.concatenate([batch["text"] for batch in whole])
    assert len({row.tobytes() for row in rows}) > COUNT  # of 24: each epoch draws anew


def test_a_caption_that_cannot_be_used_rejects_its_row(tmp_path):
    members = pairs(COUNT)
    members[10] = ("0003.captions", b"good\n\xff\nfine")
    bad = TarSource(write_tar(tmp_path / "bad.tar", members))
    batch = next(loader(bad, count=3, shuffle=False))
    np.testing.assert_array_equal(batch["weight"], [1, 1, 1, 0])
    assert REASONS[batch["reject"][3] - 1] == "caption not utf-8"
    np.testing.assert_array_equal(batch["text"][3], -1)


@pytest.mark.parametrize("count", [0, -2, 1.5])
def test_a_number_that_is_none_of_captions_is_refused(count):
    with pytest.raises(ValueError, match=f"captions_per_image must be a whole .* got {count}"):
        SeveralTexts(None, count=count, length=8)


def test_more_captions_than_any_sample_has_are_refused(source):
    check_several(source, 3)
    with pytest.raises(ValueError, match="got 4, and 10 samples of a .* have 3 at most; set it to"):
        check_several(source, 4)


def test_samples_that_cannot_be_read_say_nothing_about_captions(source, monkeypatch):
    def away(index):
        raise Reject("read failed")

    monkeypatch.setattr(source, "captions", away)
    check_several(source, 4)
