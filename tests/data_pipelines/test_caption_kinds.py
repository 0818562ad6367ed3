"""Captions of several kinds: which are there, and how often each is drawn."""

import json
from collections import Counter

import pytest
from data_makers import encoded, pixels, write_tar

from data_pipelines.faults import Reject
from data_pipelines.fields import Example, draw_caption
from data_pipelines.opening import open_source
from data_pipelines.sources.caption_kinds import CaptionKinds


def source_of(tmp_path, *said, text=b"alt text"):
    """A sample for each JSON, with a picture and a text."""
    members = []
    for number, fields in enumerate(said):
        raw = fields if isinstance(fields, bytes) else json.dumps(fields).encode()
        members += [(f"{number}.png", encoded(pixels(number))), (f"{number}.json", raw)]
        members += [(f"{number}.txt", text)] if text is not None else []
    return open_source(write_tar(tmp_path / "a.tar", members))


def drawn(source, index, count=4_000):
    examples = (Example(source, index, epoch, 0) for epoch in range(count))
    found = Counter(draw_caption(each, first_probability=1.0) for each in examples)
    return {caption: number / count for caption, number in found.items()}


def test_each_kind_is_drawn_as_often_as_its_weight_says(tmp_path):
    source = source_of(tmp_path, dict(re_caption="long words", syn_text=["one", "two"]))
    kinds = CaptionKinds(source, dict(own=1, re_caption=2, syn_text=5))
    assert set(kinds.captions(0)) == {b"alt text", "long words", "one", "two"}
    shares = {"alt text": 1 / 8, "long words": 2 / 8, "one": 2.5 / 8, "two": 2.5 / 8}
    assert drawn(kinds, 0) == pytest.approx(shares, abs=0.03)
    assert kinds.image(0) == source.image(0) and kinds.meta(0) == source.meta(0)


def test_what_a_sample_lacks_leaves_its_weight_to_the_others(tmp_path):
    source = source_of(tmp_path, dict(re="a"), dict(re=None), dict(re=["", " "]), dict(re=7))
    kinds = CaptionKinds(source, dict(own=0.25, re=0.75))
    assert drawn(kinds, 0) == pytest.approx({"alt text": 0.25, "a": 0.75}, abs=0.03)
    for index in (1, 2, 3):
        assert kinds.captions(index) == (b"alt text",)


def test_what_is_damaged_leaves_its_weight_to_nothing(tmp_path, monkeypatch):
    kinds = CaptionKinds(source_of(tmp_path, dict(re="a"), b"{"), dict(own=0.25, re=0.75))
    with pytest.raises(Reject, match="metadata invalid"):
        kinds.captions(1)

    def away(index):
        raise Reject("read failed")

    monkeypatch.setattr(kinds.source, "captions", away)
    with pytest.raises(Reject, match="read failed"):
        kinds.captions(0)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [(dict(), "caption missing"), (dict(re=""), "caption empty"), (b"{", "metadata invalid")],
)
def test_a_sample_without_any_of_them_is_rejected(tmp_path, fields, reason):
    kinds = CaptionKinds(source_of(tmp_path, dict(re="a"), fields, text=None), dict(re=1))
    with pytest.raises(Reject) as caught:
        kinds.captions(1)
    assert caught.value.reason == reason


def test_columns_of_a_table_are_kinds(tmp_path):
    (tmp_path / "0.png").write_bytes(encoded(pixels(0)))
    (tmp_path / "captions.csv").write_text("image,caption,translated\n0.png,one,eins\n")
    kinds = CaptionKinds(open_source(tmp_path), dict(translated=1))
    assert kinds.captions(0) == ("eins",)


def test_weights_change_the_stream_and_their_order_does_not(tmp_path):
    source = source_of(tmp_path, dict(re="a"))
    one, same, other = (
        CaptionKinds(source, weights).fingerprint
        for weights in (dict(own=1, re=2), dict(re=2, own=1), dict(own=2, re=1))
    )
    assert one == same != other and one.startswith(source.fingerprint)


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        (dict(own=0, re=1), "weights above 0"),
        (dict(recaption=1), "'recaption' must be in the field.*the fields are re, and 'own'"),
    ],
)
def test_weights_that_mean_nothing_are_refused(tmp_path, weights, said):
    with pytest.raises(ValueError, match=said):
        CaptionKinds(source_of(tmp_path, dict(re="a")), weights)
