"""Labels as captions: a template drawn anew in every epoch, the same for the same seed."""

import itertools
import json
import pickle
from collections import Counter

import numpy as np
import pytest
from data_makers import Noisy, encoded, pairs, pixels, write_tar

from data_pipelines.faults import REASONS, Reject
from data_pipelines.fields import Pictures, Texts
from data_pipelines.loader import Mixture, make_loader
from data_pipelines.opening import open_source
from data_pipelines.sources import (
    ConcatSource,
    FolderSource,
    LabelSource,
    ShuffledCaptions,
    Source,
    TarSource,
)
from data_pipelines.sources.labels import label_name, label_names
from data_pipelines.sources.part import PartSource

TEMPLATES = ("a photo of the {}.", "art of the {}", "{}", "a {x} of {}")
NAMES = ["tabby cat", "dog", ["cat", "animal"], "red fox"]
COUNT = 12


class Words:
    """Captions as they are, in code points."""

    pad_id = 0

    def encode(self, texts, length):
        rows = [[ord(c) for c in text.ljust(length, "\0")[:length]] for text in texts]
        return np.asarray(rows, np.int32)


def said(batch):
    return ["".join(map(chr, row)).rstrip("\0") for row in batch["text"]]


def labelled(path, names, *, field="label"):
    """Images without captions whose JSON holds a label."""
    members = []
    for i, name in enumerate(names):
        members.append((f"{i:04d}.png", encoded(pixels(100 + i))))
        members.append((f"{i:04d}.json", json.dumps({field: name, "other": i}).encode()))
    return TarSource(write_tar(path, members))


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    names = list(itertools.islice(itertools.cycle(NAMES), COUNT))
    return labelled(tmp_path_factory.mktemp("labels") / "jft.tar", names)


@pytest.fixture(scope="module")
def source(images):
    return LabelSource(images, field="label", templates=TEMPLATES)


@pytest.fixture(scope="module")
def web(tmp_path_factory):
    return TarSource(write_tar(tmp_path_factory.mktemp("web") / "align.tar", pairs(5)))


def loader(source, **values):
    first = values.pop("first_probability", 0.5)
    fields = {
        "text": Texts(Words(), length=60, pad_id=0, first_probability=first),
        "image": Pictures(Noisy(), size=4),
    }
    defaults = dict(fields=fields, global_batch_size=COUNT, seed=1, num_threads=0)
    return make_loader(source, **(defaults | values))


def epochs(source, count, **values):
    """What is said of each sample, epoch by epoch."""
    return [
        dict(zip(batch["id"].tolist(), said(batch), strict=True))
        for batch in itertools.islice(loader(source, **values), count)
    ]


def filled(names):
    """All captions that an image of these names may get."""
    orders = itertools.permutations(names) if isinstance(names, list) else [[names]]
    joined = [", ".join(order) for order in orders]
    return {template.replace("{}", text) for template in TEMPLATES for text in joined}


def test_a_sample_has_one_caption_a_template_and_needs_none_of_its_own(source, images):
    assert isinstance(source, Source) and len(source) == COUNT
    sample = source[2]
    assert sample.captions == source.captions(2) == (
        "a photo of the cat, animal.", "art of the cat, animal", "cat, animal",
        "a {x} of cat, animal",
    )  # fmt: skip
    assert source.captions(0)[0] == TEMPLATES[0].format("tabby cat")
    assert (sample.key, sample.image, sample.meta["other"]) == ("0002", images.image(2), 2)
    with pytest.raises(Reject, match="caption missing"):
        images[2]


def test_training_says_a_template_of_the_label_and_another_in_other_epochs(source):
    rounds = epochs(source, 40)
    for index in range(COUNT):
        spoken = Counter(round[index] for round in rounds)
        assert set(spoken) <= filled(NAMES[index % 4])
        assert len(spoken) >= 4
    counts = Counter(round[index].replace(name, "{}")
                     for round in rounds for index in range(COUNT)
                     for name in [NAMES[index % 4]] if isinstance(name, str))  # fmt: skip
    assert counts.keys() == set(TEMPLATES) and sum(counts.values()) == 360
    assert all(60 <= count <= 120 for count in counts.values())  # 90 each, within 4 deviations
    both = {round[2] for round in rounds}
    assert {text for text in both if "cat, animal" in text} and {
        text for text in both if "animal, cat" in text
    }


def test_the_seed_decides_and_neither_threads_processes_nor_a_resume_matter(source):
    whole = epochs(source, 6)
    assert whole == epochs(source, 6) == epochs(source, 6, num_threads=3)
    assert whole != epochs(source, 6, seed=2)
    shares = [
        epochs(source, 6, process_index=index, process_count=2, num_threads=0) for index in (0, 1)
    ]
    assert [one | other for one, other in zip(*shares, strict=True)] == whole
    before = loader(source)
    for _ in range(2):
        next(before)
    after = loader(pickle.loads(pickle.dumps(source)))
    after.set_state(json.loads(json.dumps(before.get_state())))
    rest = [dict(zip(b["id"].tolist(), said(b), strict=True)) for b in itertools.islice(after, 4)]
    assert rest == whole[2:]


def test_the_pictures_do_not_depend_on_the_templates(images):
    one, other = (
        next(loader(LabelSource(images, field="label", templates=templates)))
        for templates in (TEMPLATES, TEMPLATES[:1])
    )
    np.testing.assert_array_equal(one["image"], other["image"])


def test_a_state_fits_the_same_templates_and_field_only(images, source):
    state = loader(source).get_state()
    other = LabelSource(images, field="label", templates=TEMPLATES[:2])
    with pytest.raises(ValueError, match="only fits the stream .*its source is"):
        loader(other).set_state(state)


def test_beside_pairs_each_keeps_its_own_captions(source, web):
    both = ConcatSource([web, source])
    for round in epochs(both, 3, global_batch_size=17, first_probability=1.0):
        for index, text in round.items():
            wanted = {f"caption {index}"} if index < 5 else filled(NAMES[(index - 5) % 4])
            assert text in wanted
    assert both.meta(6) == source.meta(1) == PartSource(both, 6, 8).meta(0)
    noisy = ShuffledCaptions(both, share=1.0)
    drawn = [epoch[0] for epoch in epochs(noisy, 6, global_batch_size=17)]
    assert len(set(drawn)) > 1 and noisy.meta(0) == web.meta(0)


@pytest.mark.parametrize("share", [0.5, 0.25, 0.9])
def test_a_mixture_keeps_its_shares_in_every_batch_and_each_part_its_epochs(source, web, share):
    both, mixture = ConcatSource([web, source]), Mixture((5,), (share,))
    stream = list(itertools.islice(loader(both, global_batch_size=20, mixture=mixture), 12))
    second = round(20 * share)
    assert [int((batch["id"] >= 5).sum()) for batch in stream] == [second] * 12
    ids = np.concatenate([batch["id"] for batch in stream])
    for part, size in ((ids[ids < 5], 5), (ids[ids >= 5], COUNT)):
        for epoch in range(len(part) // size):
            assert len(set(part[epoch * size : (epoch + 1) * size].tolist())) == size


def test_a_mixture_resumes_and_is_the_same_for_any_number_of_processes(source, web):
    both, mixture = ConcatSource([web, source]), Mixture((5,), (0.5,))
    stream = loader(both, global_batch_size=4, mixture=mixture)
    whole = [next(stream)["id"].tolist() for _ in range(8)]
    before = loader(both, global_batch_size=4, mixture=mixture)
    for _ in range(3):
        next(before)
    state = json.loads(json.dumps(before.get_state()))
    after = loader(both, global_batch_size=2, mixture=mixture, num_threads=2)
    after.set_state(state)
    ids = np.concatenate([next(after)["id"] for _ in range(10)]).tolist()
    assert ids == [index for round in whole[3:] for index in round]
    after.close()
    with pytest.raises(ValueError, match="only fits the stream .*its mixture is"):
        loader(both, mixture=Mixture((5,), (0.25,))).set_state(state)
    with pytest.raises(ValueError, match="between 0 and 1, got 1.0"):
        loader(both, mixture=Mixture((5,), (1.0,)))
    with pytest.raises(ValueError, match="every part of a mixture needs a sample, got 0 and 17"):
        loader(both, mixture=Mixture((0,), (0.5,)))


def test_without_a_field_the_captions_are_the_names(tmp_path):
    (tmp_path / "captions.csv").write_text("image,caption\na.png,Cat\na.png,animal\n")
    (tmp_path / "a.png").write_bytes(encoded(pixels(0)))
    folder = FolderSource(tmp_path)
    source = LabelSource(folder, field="", templates=("a photo of the {}",))
    assert source[0].captions == ("a photo of the Cat, animal",)
    with pytest.raises(ValueError, match="the fields are none; .*or say .. if the captions are"):
        LabelSource(folder, field="label", templates=TEMPLATES)


def test_captions_that_are_names_need_no_json(tmp_path):
    members = [("a.png", encoded(pixels(0))), ("a.txt", b"tabby cat"), ("a.json", b"[1]")]
    source = LabelSource(
        TarSource(write_tar(tmp_path / "a.tar", members)), field="", templates=("a {}",)
    )
    assert source[0].captions == ("a tabby cat",)


def test_emoji_by_their_category_make_pairs(tmp_path, monkeypatch):
    monkeypatch.setenv("VLP_CACHE", str(tmp_path))
    source = LabelSource(open_source("emoji:noto"), field="category", templates=TEMPLATES[:2])
    (batch,) = itertools.islice(loader(source, global_batch_size=64), 1)
    names = {source.meta(int(index))["category"] for index in batch["id"]}
    for index, text in zip(batch["id"], said(batch), strict=True):
        category = source.meta(int(index))["category"]
        assert text in {template.format(category) for template in TEMPLATES[:2]}
    assert len(names) > 3 and (batch["weight"] == 1).all()


def test_a_sample_without_a_label_is_marked_and_the_others_stay(tmp_path):
    names = ["cat", None, 7, ["dog", 3], " ", [], "dog"]
    source = LabelSource(labelled(tmp_path / "a.tar", names), field="label", templates=("{}",))
    (batch,) = loader(source, global_batch_size=7, shuffle=False, epochs=1, max_reject_share=1)
    assert said(batch) == ["cat", "", "", "", "", "", "dog"]
    code = 1 + REASONS.index("label missing")
    assert batch["reject"].tolist() == [0, code, code, code, code, code, 0]


def test_what_cannot_give_captions_is_refused(images, tmp_path):
    with pytest.raises(
        ValueError, match="'class' of jft holds none, and the fields are label, other"
    ):
        LabelSource(images, field="class", templates=TEMPLATES)
    numbers = labelled(tmp_path / "a.tar", [3, 4])
    with pytest.raises(
        ValueError,
        match=r"holds 3, 4; give names for them \(config.data.label_classes\), or write names",
    ):
        LabelSource(numbers, field="label", templates=TEMPLATES)
    for templates in ((), ("a photo",), ("{} and {}",)):
        with pytest.raises(ValueError, match="each with one {} where the names go, got"):
            LabelSource(images, field="label", templates=templates)


@pytest.mark.parametrize(
    ("value", "names"),
    [
        (0, ["0"]), (False, ["False"]), (True, ["True"]), (2.0, ["2"]), (-1, ["-1"]),
        (" cat ", ["cat"]), (["cat", 0, "", None, False], ["cat", "0", "False"]), ("0", ["0"]),
        ("1.0", ["1"]), ("-2.00", ["-2"]), ("v1.0", ["v1.0"]), ("1.5", ["1.5"]),
        ('"cat"', ["cat"]), ('a "big" cat', ['a "big" cat']), ("cafe\u0301", ["caf\u00e9"]),
        (None, []), ("", []), ("  ", []), ([], []), ([None], []),
    ],
)  # fmt: skip
def test_every_value_that_is_there_is_a_label(value, names):
    assert label_names(value) == names
    if not isinstance(value, list):
        assert label_name(value) == "".join(names)


@pytest.mark.parametrize("value", [0.5, {"name": "cat"}, [["cat"]], float("inf"), "1\n2"])
def test_what_is_no_label_is_refused_with_the_value(value):
    with pytest.raises(ValueError, match="a label is a name, a whole number, true or false, got"):
        label_names(value)


def test_numbers_become_captions_by_the_names_of_their_classes(tmp_path):
    images = labelled(tmp_path / "a.tar", [0, 1, [0, "dog"], False, 2])
    classes = {"0": "cat", "1": "dog", "False": "nothing"}
    source = LabelSource(images, field="label", templates=("{}",), classes=classes)
    assert [source.captions(i)[0] for i in range(4)] == ["cat", "dog", "cat, dog", "nothing"]
    with pytest.raises(Reject, match="label missing"):
        source.captions(4)
    others = LabelSource(images, field="label", templates=("{}",), classes=classes | {"2": "ox"})
    assert source.fingerprint != others.fingerprint
    with pytest.raises(ValueError, match="must name the labels: .* holds 0, 1, .*named are"):
        LabelSource(images, field="label", templates=("{}",), classes={"7": "cat"})
