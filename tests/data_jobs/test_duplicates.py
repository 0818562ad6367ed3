import dataclasses
from functools import partial

import numpy as np
import pytest
from PIL import Image

from data_pipelines.decode import decode
from data_pipelines.jobs.duplicates import Near, by_embedding, by_look
from data_pipelines.jobs.facts import gather_facts
from data_pipelines.jobs.verdicts import judge
from data_pipelines.opening import open_source
from tests.data_jobs.planted import NEAR, encoded, lines, noise, write_samples


def dropped(work, flags, near=None, against=None):
    near = near or Near()
    gather_facts(work, flags, pictures=True)
    if against is not None:
        gather_facts(against, flags, pictures=True, where="against")
    judge(work, flags, partial(by_look, work=work, near=near, against=against))
    return {line["index"]: line for line in lines(work.out) if not line["kept"]}


def test_the_first_of_equal_and_of_near_pictures_stays(tmp_path, start, flags):
    one, other = noise(1), noise(2)
    samples = [encoded(one), encoded(other), encoded(one), NEAR["half the size"](one)]
    data = write_samples(tmp_path / "d.tar", [(image, "words") for image in samples])
    found = dropped(start(data), flags)
    assert {i: (line["reason"], line["of"]) for i, line in found.items()} == {
        2: ("duplicate", 0),
        3: ("near duplicate", 0),
    }


def test_with_minus_one_bits_only_equal_files_go(tmp_path, start, flags):
    one = noise(1)
    samples = [encoded(one), encoded(one), NEAR["half the size"](one)]
    data = write_samples(tmp_path / "d.tar", [(image, "words") for image in samples])
    assert set(dropped(start(data), flags, Near(bits=-1))) == {1}


def test_of_a_chain_the_first_stays_and_each_other_is_near_to_what_it_names(tmp_path, start, flags):
    left, right = (np.asarray(noise(seed), float) for seed in (1, 2))
    chain = [
        Image.fromarray((left + (right - left) * t).astype(np.uint8))
        for t in np.linspace(0, 0.5, 24)
    ]
    data = write_samples(tmp_path / "d.tar", [(encoded(image), "words") for image in chain])
    near = Near(bits=8, cell=12)
    found = dropped(start(data, part_size=3), flags, near)
    small = [np.asarray(i.resize((8, 8), Image.Resampling.BILINEAR), float).mean(-1) for i in chain]
    cells = np.array([[np.abs(a - b).max() for a in small] for b in small])
    assert set(found) == set(range(1, 24)) and cells[0, 23] > 40
    assert all(cells[i, line["of"]] < 13 and line["of"] < i for i, line in found.items())


def test_empty_pictures_are_no_near_duplicates_of_each_other(tmp_path, start, flags):
    plain = [encoded(Image.new("RGB", (40, 40 + i), (250, 250, 250))) for i in range(3)]
    data = write_samples(tmp_path / "d.tar", [(image, "words") for image in plain])
    assert not dropped(start(data), flags)


def test_pictures_to_be_judged_on_are_found_whatever_their_place(tmp_path, start, flags):
    judged = [noise(seed) for seed in range(5)]
    own = [noise(100 + seed) for seed in range(5)]
    leaks = [encoded(judged[3]), NEAR["twice the size"](judged[1])]
    samples = [encoded(own[0]), leaks[0], *map(encoded, own[1:]), leaks[1]]
    data = write_samples(tmp_path / "d.tar", [(image, "words") for image in samples])
    test = write_samples(tmp_path / "t.tar", [(encoded(image), "words") for image in judged])
    work = start(data)
    against = dataclasses.replace(work, spec=str(test), samples=5)
    found = dropped(work, flags, against=against)
    assert {i: (line["of"], line["reason"]) for i, line in found.items()} == {
        1: (-1 - 3, "duplicate of a picture to be judged on"),
        6: (-1 - 1, "near duplicate of a picture to be judged on"),
    }


def scores(base, planted, found):
    """Precision and recall of what was dropped."""
    right = sum(i in planted for i in found)
    return right / max(1, len(found)), right / len(planted)


def planted_copies(pictures, changes):
    """The pictures, then one copy of each, changed in turn; which of all are copies."""
    kinds = list(changes.values())
    copies = [kinds[i % len(kinds)](picture) for i, picture in enumerate(pictures)]
    originals = [encoded(picture) for picture in pictures]
    return [*originals, *copies], range(len(pictures), 2 * len(pictures))


def flat(pixels):
    image = Image.fromarray(pixels)
    ground = Image.new("RGBA", image.size, (255, 255, 255, 255))
    return Image.alpha_composite(ground, image).convert("RGB")


def test_copies_among_emoji_are_found_and_hardly_anything_else(tmp_path, start, flags):
    source = open_source("emoji:twemoji")
    things = {"Animals & Nature", "Food & Drink", "Objects", "Activities"}  # few of them alike
    indices = [i for i in range(len(source)) if source.meta(i)["category"] in things]
    pictures = [flat(decode(source.image(i))) for i in indices]
    samples, copies = planted_copies(pictures, NEAR)
    data = write_samples(tmp_path / "d.tar", [(image, "words") for image in samples])
    found = dropped(start(data, part_size=400), flags)
    precision, recall = scores(samples, copies, found)
    assert precision > 0.98 and recall > 0.98
    named = [found[i]["of"] == i - len(pictures) for i in copies if i in found]
    assert np.mean(named) > 0.97


def photographs():
    """Stretches of photographs that do not overlap."""
    data = pytest.importorskip("skimage.data")
    for name in ("astronaut", "coffee", "chelsea", "rocket"):
        pixels = getattr(data, name)()
        for top in range(0, pixels.shape[0] - 95, 96):
            for left in range(0, pixels.shape[1] - 127, 128):
                yield Image.fromarray(pixels[top : top + 96, left : left + 128])


def test_copies_among_photographs_are_found_and_nothing_else(tmp_path, start, flags):
    pictures = [each for each in photographs() if np.asarray(each.convert("L")).std() > 12]
    samples, copies = planted_copies(pictures, NEAR)
    data = write_samples(tmp_path / "d.tar", [(image, "words") for image in samples])
    found = dropped(start(data, part_size=40), flags)
    precision, recall = scores(samples, copies, found)
    assert len(pictures) > 50 and precision == 1.0 and recall > 0.97


def test_embeddings_that_are_near_are_found_across_shards_and_a_missing_one_is_said(
    tmp_path, start, flags
):
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((12, 16))
    vectors[7] = vectors[2] + 0.01 * rng.standard_normal(16)  # in another shard
    vectors[9] = vectors[8] + 0.01 * rng.standard_normal(16)  # in the same
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    stems = []
    for shard in range(3):
        ids = np.arange(4 * shard, 4 * shard + 4)
        ids = ids[ids != 6]  # its picture could not be read
        stems.append(str(tmp_path / f"{shard}"))
        np.save(f"{stems[-1]}.npy", vectors[ids].astype(np.float32))
        pq.write_table(pa.table({"id": ids}), f"{stems[-1]}.parquet")
    data = write_samples(tmp_path / "d.tar", [(encoded(noise(i)), "words") for i in range(12)])
    work = start(data)
    gather_facts(work, flags, pictures=False)
    judge(work, flags, partial(by_embedding, samples=12, shards=stems, cosine=0.9))
    left_out = {line["index"]: line for line in lines(work.out) if not line["kept"]}
    assert left_out.pop(6)["reason"] == "no vector"
    assert {index: line["of"] for index, line in left_out.items()} == {7: 2, 9: 8}


def test_a_picture_that_may_be_read_another_time_is_no_fact(tmp_path, start, flags):
    work = start(write_samples(tmp_path / "d.tar", [(encoded(noise(1)), "words")]))
    (tmp_path / "d.tar").unlink()
    with pytest.raises(Exception, match="must be read, 1 samples lie in files that were not"):
        gather_facts(work, flags, pictures=True)
    assert not list((work.out / "facts").glob("*.parquet"))
