"""ArrayRecord: a data set that TFDS itself writes, and files of tf.train.Example."""

import io
import os
import pickle
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds
from array_record.python.array_record_module import ArrayRecordWriter
from data_makers import encoded, pixels
from tensorflow_datasets.proto import tf_example_pb2

from data_pipelines.faults import Reject
from data_pipelines.opening import open_source
from data_pipelines.sources.base import check_lasting

FEATURES = tfds.features.FeaturesDict(
    {
        "image": tfds.features.Image(encoding_format="png"),
        "captions": tfds.features.Sequence({"text": tfds.features.Text(), "id": np.int64}),
        "label": tfds.features.ClassLabel(names=["cat", "dog"]),
    }
)


class Sketches(tfds.core.GeneratorBasedBuilder):
    """Six pictures to train with and two to test."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        return tfds.core.DatasetInfo(builder=self, features=FEATURES)

    def _split_generators(self, _):
        return {"train": self._generate_examples(range(6)), "test": self._generate_examples((7, 8))}

    def _generate_examples(self, seeds):
        for seed in seeds:
            texts = [dict(text=f"caption {seed}", id=0), dict(text=f"other {seed}", id=1)]
            picture = io.BytesIO(encoded(pixels(seed)))
            yield seed, dict(image=picture, captions=texts, label=seed % 2)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tfds")
    Sketches(data_dir=folder, file_format="array_record").download_and_prepare()
    return folder


def seeds_of(source):
    """The seed of every sample's picture, by the caption that stands beside it."""
    seeds = [int(source.captions(index)[0].split()[-1]) for index in range(len(source))]
    for index, seed in enumerate(seeds):
        assert source.image(index) == encoded(pixels(seed))
    return sorted(seeds)


def test_a_data_set_of_tfds_is_read_by_name_and_by_folder_without_tensorflow(prepared, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(prepared))
    loaded = "tensorflow" in sys.modules  # by another test
    for spec in ("sketches[train]", "sketches:1.0.0[train]", f"{prepared}/sketches/1.0.0[train]"):
        source = open_source(f"tfds:{spec}")
        assert seeds_of(source) == list(range(6))
        seed = int(source.captions(2)[0].split()[-1])
        assert source.captions(2) == (f"caption {seed}".encode(), f"other {seed}".encode())
        name = ("cat", "dog")[seed % 2]
        assert source.meta(2) == {"label": seed % 2, "label_name": name}
        assert source.key(2) == "sketches/1.0.0[train]:2"
    assert seeds_of(open_source("tfds:sketches[test]")) == [7, 8]
    assert len(open_source("tfds:sketches[train[:50%]]")) == 3
    assert len(open_source("tfds:sketches[train+test]")) == 8
    assert ("tensorflow" in sys.modules) == loaded


def test_a_tfds_source_pickles_and_its_fingerprint_is_of_data_and_split(prepared):
    train, test = (
        open_source(f"tfds:{prepared}/sketches/1.0.0[{name}]") for name in ("train", "test")
    )
    copy = pickle.loads(pickle.dumps(train))
    assert seeds_of(copy) == list(range(6)) and copy.fingerprint == train.fingerprint
    assert train.fingerprint != test.fingerprint


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("tfds:sketches", r"splits train, test; name one: tfds:sketches\[train\]"),
        ("tfds:sketches[valid]", "has the splits train, test, got 'valid'"),
        ("tfds:sketches:2.0.0[train]", "must be prepared, .* holds sketches/1.0.0"),
        ("tfds:paintings[train]", "nothing of that name; prepare it with tfds build"),
        ("tfds:sketches[train", "is the form, got"),
    ],
)
def test_what_is_not_there_is_refused_with_what_is(prepared, monkeypatch, spec, said):
    monkeypatch.setenv("TFDS_DATA_DIR", str(prepared))
    with pytest.raises(ValueError, match=said):
        open_source(spec)


def test_tfds_of_another_format_is_refused_with_the_remedy(prepared, tmp_path):
    folder = tmp_path / "sketches" / "1.0.0"
    folder.mkdir(parents=True)
    for path in (prepared / "sketches" / "1.0.0").iterdir():
        data = path.read_bytes().replace(b'"array_record"', b'"tfrecord"')
        (folder / path.name.replace("array_record", "tfrecord")).write_bytes(data)
    with pytest.raises(ValueError, match="ArrayRecord files only.*file_format='array_record'"):
        open_source(f"tfds:{folder}[train]")


def example(**values):
    features = {}
    for name, value in values.items():
        listed = value if isinstance(value, list) else [value]
        if all(isinstance(one, bytes) for one in listed):
            features[name] = dict(bytes_list=dict(value=listed))
        else:
            features[name] = dict(int64_list=dict(value=listed))
    return tf_example_pb2.Example(features=dict(feature=features)).SerializeToString()


def write_records(path, records):
    writer = ArrayRecordWriter(str(path), "group_size:1")
    for record in records:
        writer.write(record)
    writer.close()
    return path


def break_reading(folder):
    """From now on the system fails to read what this process has open there; undone when closed."""
    opened = {number: Path(f"/proc/self/fd/{number}").resolve() for number in descriptors()}
    with open("/proc/self/mem", "rb", buffering=0) as unreadable:  # an I/O error at its beginning
        for number, path in opened.items():
            if path.is_relative_to(folder):
                os.dup2(unreadable.fileno(), number)


def descriptors():
    return [int(name) for name in os.listdir("/proc/self/fd")]


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="needs Linux")
@pytest.mark.parametrize("kind", ["records", "tfds"])
def test_a_record_that_the_disk_does_not_give_is_no_damage(prepared, tmp_path, kind):
    if kind == "tfds":
        shutil.copytree(prepared, tmp_path / "own")
        source = open_source(f"tfds:{tmp_path}/own/sketches/1.0.0[test]")
    else:
        records = [example(image=encoded(pixels(i)), caption=b"a") for i in range(3)]
        source = open_source(write_records(tmp_path / "a.array_record", records))
    source.captions(0)
    break_reading(tmp_path)
    with pytest.raises(Reject, match="Input/output error") as caught:
        source.captions(1)
    assert caught.value.reason == "read failed"
    with pytest.raises(ValueError, match="must be read to know"):
        check_lasting(caught.value, source.file(1))


def test_files_of_examples_are_one_after_the_other(tmp_path):
    for file in range(2):
        seeds = range(3 * file, 3 * file + 3)
        write_records(
            tmp_path / f"a.array_record-{file:05d}-of-00002",
            [
                example(image=encoded(pixels(i)), caption=[b"one %d" % i, b"two"], width=i)
                for i in seeds
            ],
        )
    for source in (open_source(f"{tmp_path}/a.array_record*"), open_source(tmp_path)):
        assert len(source) == 6
        for index in (5, 0, 3):
            assert source.image(index) == encoded(pixels(index))
            assert source.captions(index) == (b"one %d" % index, b"two")
            assert source.meta(index) == {"width": index}
        assert source.key(4) == "a-00001-of-00002:1"
    assert pickle.loads(pickle.dumps(source)).image(4) == encoded(pixels(4))


def test_a_record_that_is_none_is_rejected_and_a_field_it_lacks_is_missing(tmp_path):
    good = example(jpg=encoded(pixels(0)), txt=b"words")
    path = write_records(tmp_path / "a.arrayrecord", [good, b"\xff" * 9, example(txt=b"words")])
    source = open_source(path)
    for index, reason in ((1, "shard damaged"), (2, "image missing")):
        with pytest.raises(Reject, match=reason):
            source.image(index)
    assert source.captions(2) == (b"words",)


def test_pictures_are_known_by_their_content_where_the_name_says_nothing(tmp_path):
    path = write_records(
        tmp_path / "a.array_record", [example(content=encoded(pixels(0)), title=b"words")]
    )
    assert open_source(path).image(0) == encoded(pixels(0))


def test_what_is_no_array_record_or_holds_other_records_is_refused(tmp_path):
    (tmp_path / "a.array_record").write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"must be ArrayRecord files .*; write them again"):
        open_source(tmp_path / "a.array_record")
    path = write_records(tmp_path / "b.array_record", [b"\xff" * 9])
    with pytest.raises(ValueError, match=r"must be tf\.train\.Example"):
        open_source(path)
