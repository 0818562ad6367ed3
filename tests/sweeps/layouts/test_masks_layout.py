"""Pictures with masks beside them, and what is refused of them."""

import struct

import numpy as np
import pytest
from PIL import Image

from tests.odd_images import saved
from tests.sweeps.layouts.made import opened, opens, png, put, saved_array
from vlp.sweeps.entry import Entry
from vlp.sweeps.models import ModelRef
from vlp.sweeps.places import find, open_entry
from vlp.sweeps.plan import Plan

MASK = np.uint8([[0, 1, 255, 1]] * 6).repeat(2, axis=1)  # of `png`'s 6 x 8 pixels
NAMES = "sky\ncat\n"


def mask(**changes):
    return saved_array(MASK if not changes else changes["array"])


def palette(array):
    image = Image.fromarray(array, "P")
    image.putpalette([7, 8, 9] * 256)
    return saved(image)


def files(**changes):
    """Two pictures with masks; `changes` with "__" for "/" and None for a file that is not."""
    whole = {
        "images/a.png": png(0), "images/b.jpg": saved(Image.new("RGB", (8, 6)), "JPEG"),
        "masks/a.png": mask(), "masks/b.png": palette(MASK), "classnames.txt": NAMES,
    } | changes  # fmt: skip
    return {f"birds/{name}": content for name, content in whole.items() if content is not None}


def test_each_picture_has_its_mask_by_name_and_classes_are_lines(tmp_path):
    put(tmp_path, files())
    found = opened(tmp_path, layout="masks")
    assert [found.pictures.key(i) for i in range(2)] == ["a.png", "b.jpg"]
    assert list(found.class_names) == ["sky", "cat"] and not found.notes
    for index in range(2):  # grey, and a palette whose colours mean nothing
        assert found.masks.read(index).tolist() == MASK.tolist()


def test_a_palette_of_few_bits_gives_its_indices(tmp_path):
    image = Image.fromarray(MASK % 2, "P")
    image.putpalette([0, 0, 0, 250, 250, 250])
    put(tmp_path, files(**{"masks/b.png": saved(image, bits=1)}))
    assert opens(tmp_path).masks.read(1).tolist() == (MASK % 2).tolist()


def test_names_may_have_folders(tmp_path):
    put(tmp_path, files(**{"images/val/c.png": png(1), "masks/val/c.png": mask()}))
    found = opens(tmp_path)
    assert found.masks.files == ["a.png", "b.png", "val/c.png"]


def test_names_of_the_entry_go_before_those_of_the_folder(tmp_path):
    put(tmp_path, files() | {"names.txt": "air\ndog\nhorse\n"})
    found = opens(tmp_path, classes=str(tmp_path / "names.txt"), templates="photo")
    assert list(found.class_names) == ["air", "dog", "horse"]
    assert found.templates == ("a photo of a {}.",)


def test_two_folders_of_these_names_may_be_classes_where_other_tasks_are_asked(tmp_path):
    put(tmp_path, files(**{"classnames.txt": None}))
    entry = Entry("birds", tasks=("classification",))
    assert find(entry, str(tmp_path))[0] == "folders"


def test_without_the_folder_the_set_is_not_there(tmp_path):
    put(tmp_path, {"birds/one.png": png(0)})
    with pytest.raises(ValueError, match="the set birds must be at .* it is not there"):
        opens(tmp_path, tasks=["segmentation"])


def test_other_files_are_said(tmp_path):
    put(tmp_path, files(**{"images/readme.txt": "hello"}))
    assert opens(tmp_path).notes == ["1 files in images/ are no pictures: readme.txt"]


def test_a_picture_and_a_mask_that_are_links_to_nothing_are_said(tmp_path):
    put(tmp_path, files())
    for name in ("images/c.jpg", "masks/c.png"):
        (tmp_path / "birds" / name).symlink_to(tmp_path / "nothing")
    found = opens(tmp_path)
    assert len(found) == 2 and found.notes == [
        "1 files in images/ are passed over: 1 like c.jpg (no file, or a link to nothing)",
        "1 files in masks/ are passed over: 1 like c.png (no file, or a link to nothing)",
    ]


def test_a_folder_of_links_to_nothing_is_refused_with_what_it_has(tmp_path):
    put(tmp_path, files(**{"images/a.png": None, "images/b.jpg": None}))
    (tmp_path / "birds" / "images").mkdir()
    (tmp_path / "birds/images/a.png").symlink_to(tmp_path / "nothing")
    with pytest.raises(ValueError, match="it has 0 other files; 1 files .* a link to nothing"):
        opens(tmp_path, tasks=["segmentation"])


def grey_of(bits):
    """A PNG of 8 x 6 pixels whose header says so many bits of grey."""
    data = bytearray(mask())
    data[24] = bits
    return bytes(data)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"masks/a.png": None}, "each picture a mask, .*masks/NAME.png: 1 of 2 have none, .*a.png"),
        ({"images/b.jpg": None}, "each mask a picture, .*NAME.jpg: 1 of 2 have none, .*b.png"),
        ({"images/a.jpg": png(0)}, "one picture of each name, it has a.jpg and a.png; remove one"),
        ({"masks/a.png": saved_array(MASK[:3])}, "as large as .* 8 x 3 pixels and .* 8 x 6; write"),
        ({"masks/a.png": saved_array(MASK.T.copy())}, "6 x 8 pixels and .* 8 x 6"),
        ({"masks/a.png": png(0)}, "a.png is RGB of 8 bits; write the number"),
        ({"masks/a.png": saved(Image.fromarray(MASK.astype(np.uint16)))}, "grey of 16 bits; write"),
        ({"masks/a.png": grey_of(4)}, "grey of 4 bits; write"),
        ({"masks/a.png": saved(Image.fromarray(MASK), "JPEG")}, "a PNG, .* write the masks"),
        ({"masks/a.png": b""}, "must be a PNG"),
        ({"classnames.txt": None}, "classnames.txt must name the classes, .* give `classes`"),
        ({"masks/a.png": None, "masks/b.png": None}, "masks must be a folder"),
        ({"images/a.png": None, "images/b.jpg": None, "images/x.txt": "x"}, "it has 1 other files"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_with_its_remedy(tmp_path, changes, said):
    put(tmp_path, files(**changes))
    with pytest.raises(ValueError, match=said):
        opens(tmp_path, tasks=["segmentation"])


def test_a_mask_that_is_cut_off_is_refused_when_it_is_read(tmp_path):
    noise = np.random.default_rng(0).integers(2, size=(6, 8), dtype=np.uint8)
    put(tmp_path, files(**{"masks/a.png": saved_array(noise)[:-30]}))
    found = opens(tmp_path)
    with pytest.raises(ValueError, match="a.png must be a PNG that can be read: .* fetch"):
        found.masks.read(0)


def test_a_mask_larger_than_the_limit_is_refused_before_it_is_decoded(tmp_path):
    put(tmp_path, files())
    data = bytearray(mask())
    data[16:24] = struct.pack(">II", 2**16, 2**16)
    found = opens(tmp_path)
    (tmp_path / "birds/masks/a.png").write_bytes(bytes(data))
    with pytest.raises(ValueError, match="must be a PNG that can be read: image too large"):
        found.masks.read(0)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "AVIF", "TIFF", "JPEG2000"])
def test_the_size_of_a_picture_of_any_kind_is_compared(tmp_path, kind):
    noise = Image.fromarray(
        np.random.default_rng(0).integers(256, size=(70, 90, 3), dtype=np.uint8)
    )
    file = f"images/a.{dict(JPEG2000='jp2').get(kind, kind.lower())}"
    changes = {"images/a.png": None, file: saved(noise, kind)}
    put(tmp_path, files(**changes))
    with pytest.raises(ValueError, match="as large as .* 8 x 6 pixels and .* 90 x 70; write"):
        opens(tmp_path)
    put(tmp_path, files(**changes | {"masks/a.png": saved_array(np.zeros((70, 90), np.uint8))}))
    assert len(opens(tmp_path)) == 2


def test_a_picture_that_cannot_be_read_is_left_to_the_embedding(tmp_path):
    put(tmp_path, files(**{"images/a.png": b"<html>"}))
    assert len(opens(tmp_path)) == 2


def test_a_drawn_part_has_its_own_masks(tmp_path):
    more = {f"{kind}/p{i}.png": png(i) if kind == "images" else saved_array(MASK * 0 + i % 2)
            for i in range(8) for kind in ("images", "masks")}  # fmt: skip
    put(tmp_path, files(**more))
    plan = Plan([ModelRef("", "")], [Entry("birds")], tmp_path, str(tmp_path), limit=4)
    found = open_entry(plan.entries[0], plan)
    assert len(found) == len(found.masks) == 4
    for index in range(4):
        name = found.pictures.key(index).partition(".")[0]
        assert found.masks.files[index] == f"{name}.png"
