"""Sets that TFDS prepared: their labels by number, by WordNet's id, and VTAB's derived ones."""

import io

import numpy as np
import pytest
import tensorflow_datasets as tfds

from tests.sweeps.layouts.made import opened, opens, png
from vlp.sweeps.layouts.derived import clevr_count, clevr_distance, kitti_distance

IDS = ["n01440764", "n01443537", "n01498041", "n01531178"]  # the last two are ImageNet-A's
FEATURES = tfds.features.FeaturesDict(
    {
        "image": tfds.features.Image(encoding_format="png"),
        "label": tfds.features.ClassLabel(names=IDS),
        "real_label": tfds.features.Sequence(tfds.features.ClassLabel(num_classes=1000)),
        "objects": tfds.features.Sequence(
            {"size": np.int64, "pixel_coords": tfds.features.Tensor(shape=(3,), dtype=np.float32)}
        ),
    }
)


class Shapes(tfds.core.GeneratorBasedBuilder):
    """Four pictures of things, to test."""

    VERSION = tfds.core.Version("1.0.0")
    code_path = None  # a module of a package would be looked for by a library that is not here

    def _info(self):
        return tfds.core.DatasetInfo(builder=self, features=FEATURES)

    def _split_generators(self, _):
        return {"test": self._generate_examples(2, 4), "train": self._generate_examples(0, 4)}

    def _generate_examples(self, first, last):
        for i in range(first, last):
            things = [dict(size=1, pixel_coords=[0.0, 0.0, 8.2 + j]) for j in range(3 + i)]
            yield (
                i,
                dict(image=io.BytesIO(png(i)), label=i, real_label=[i] * (i > 2), objects=things),
            )


@pytest.fixture(autouse=True, scope="module")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tfds")
    Shapes(data_dir=folder, file_format="array_record").download_and_prepare()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TFDS_DATA_DIR", str(folder))
        yield


COMMON = dict(tfds="shapes[test]", tasks=["classification"])


def test_numbers_of_all_classes_become_those_of_the_part_by_their_ids(tmp_path):
    found = opened(tmp_path, layout="data", default_classes="imagenet-a", **COMMON)
    assert sorted(found.labels.tolist()) == [0, 1]
    assert found.class_names[0] == "stingray" and len(found.class_names) == 200


def test_labels_are_called_as_tfds_calls_them_where_nobody_says_else(tmp_path):
    found = opens(tmp_path, **COMMON)
    assert list(found.class_names) == IDS and sorted(found.labels.tolist()) == [2, 3]


def test_several_labels_or_none_are_an_array(tmp_path):
    found = opens(tmp_path, label="real_label", default_classes="imagenet1k", **COMMON)
    assert found.labels.shape == (2, 1000)
    assert sorted(np.flatnonzero(row).tolist() for row in found.labels) == [[], [3]]
    assert "1 pictures have no 'real_label'" in found.notes


def test_vtabs_labels_are_made_of_what_a_set_says(tmp_path):
    found = opens(tmp_path, label="clevr_count", default_classes="clevr_count_all", **COMMON)
    assert sorted(found.labels.tolist()) == [2, 3] and found.class_names[2] == "five"
    far = opens(tmp_path, label="clevr_distance", **COMMON)
    assert far.labels.tolist() == [0, 0]  # one class, 8.2 of both
    with pytest.raises(ValueError, match="kitti_distance needs the fields of its set.*'type'"):
        opens(tmp_path, label="kitti_distance", **COMMON)


def test_a_set_below_the_root_comes_before_tfds_and_what_is_not_prepared_is_not_there(tmp_path):
    (tmp_path / "birds/a").mkdir(parents=True)
    (tmp_path / "birds/b").mkdir()
    (tmp_path / "birds/a/1.png").write_bytes(png(0))
    (tmp_path / "birds/b/2.png").write_bytes(png(1))
    assert list(opened(tmp_path, layout="folders", **COMMON).class_names) == ["a", "b"]
    with pytest.raises(ValueError, match="it is not there"):
        opens(tmp_path, name="others", tfds="circles[test]")


def test_derived_labels_by_hand():
    def clevr(*depths):
        return {"objects": {"size": [0] * len(depths), "pixel_coords": [[0, 0, z] for z in depths]}}

    assert clevr_count(clevr(1, 2, 3)) == 0 and clevr_count(clevr(*range(10))) == 7
    limits = (7.9, 8.0, 8.1, 8.6, 9.2, 9.6, 10.1)
    assert [clevr_distance(clevr(z, 50)) for z in limits] == [0, 0, 1, 2, 3, 4, 5]

    def kitti(*things):
        kinds, depths = zip(*things, strict=True) if things else ((), ())
        return {"objects": {"type": kinds, "location": [[0, 0, z] for z in depths]}}

    assert kitti_distance(kitti((0, 7.0), (1, 30.0))) == 0
    assert kitti_distance(kitti((2, 8.5))) == 1 and kitti_distance(kitti((0, 21.0))) == 2
    assert kitti_distance(kitti((5, 3.0))) == kitti_distance(kitti()) == 3
