"""Stored vectors in a batch are what the model says of the very picture and caption in it."""

import itertools

import numpy as np
import pytest
from ml_collections import ConfigDict

from tests.interop import tiny
from tests.small.runs import TINY, last_of_each, write_pairs
from vlp.cli.config import load_config
from vlp.cli.main import main
from vlp.interop.save import save_run
from vlp.run.fields import batch_shapes
from vlp.run.inputs import open_inputs
from vlp.run.workdir import Workdir

NAMES = ("image", "text", "old/image_embedding", "old/text_embedding")
CAPTIONS = {"red-dot-0.txt": b"a red dot\nround and red\none more", "blue-bar-1.txt": b"bar\nblue"}
SAMPLES = 36


@pytest.fixture(scope="module")
def teacher():
    return tiny.make_run("clip")


@pytest.fixture(scope="module")
def root(teacher, tmp_path_factory):
    """Pairs of which some have several captions, and a model."""
    root = tmp_path_factory.mktemp("vectors")
    save_run(teacher, root / "teacher")
    write_pairs(root / "pairs.tar", replace=CAPTIONS)
    return root


def experiment(root, *flags):
    """The flags of a training on the pairs."""
    own = [f"--config={TINY}:data=lines:{root / 'pairs.tar'}", "--config.preprocess.size=24"]
    return last_of_each(*own, "--config.seed=7", *flags)


def embed(root, name, *flags):
    out = root / name
    places = [f"--model={root / 'teacher'}", f"--data=lines:{root / 'pairs.tar'}", f"--out={out}"]
    sizes = ["--shard-size=7", "--batch-size=8", "--captions=all"]
    assert main(["embed", *places, *last_of_each(*sizes, *flags)]) == 0
    return str(out)


@pytest.fixture(scope="module")
def plain(root):
    return embed(root, "plain")


@pytest.fixture(scope="module")
def views(root):
    return embed(root, "views", "--views=2", *experiment(root))


@pytest.fixture
def inputs(root, monkeypatch, tmp_path):
    """The inputs of a training by these vectors, its seed another than theirs."""

    def open_with(folder, *, names=NAMES, vectors=None, **data):
        monkeypatch.setattr("vlp.run.inputs.objective_fields", lambda config: names)
        head, *flags = experiment(root)
        config = load_config(head.removeprefix("--config="), flags).unlock()
        config.update(seed=1)
        config.data.update(caption_first_probability=0.5, **data)
        config.data.vectors = ConfigDict(vectors or {"old": folder})
        config.train.global_batch_size = 12
        return open_inputs(config, Workdir(tmp_path / "run"))

    return open_with


def by_id(inputs, *, epochs):
    """The rows of each sample, by epoch."""
    batches = list(itertools.islice(inputs.loader, epochs * SAMPLES // 12))
    whole = {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}
    assert (whole["weight"] == 1).all()
    return [
        {name: rows[epoch * SAMPLES :][:SAMPLES] for name, rows in whole.items()}
        for epoch in range(epochs)
    ]


def test_the_vector_of_a_view_is_of_the_picture_in_the_batch(teacher, views, inputs):
    shown = []
    for epoch in by_id(inputs(views), epochs=4):
        wanted = teacher.model.encode_image(epoch["image"]).embedding
        np.testing.assert_allclose(epoch["old/image_embedding"], wanted, atol=1e-5)
        shown.append(epoch["image"][np.argsort(epoch["id"])])
    np.testing.assert_array_equal(shown[0], shown[2])
    np.testing.assert_array_equal(shown[1], shown[3])
    assert not np.array_equal(shown[0], shown[1])


def test_the_vector_of_a_caption_is_of_the_caption_in_the_batch(teacher, views, inputs):
    made = inputs(views)
    several = set()
    for epoch in by_id(made, epochs=4):
        for index, ids, vector in zip(
            epoch["id"], epoch["text"], epoch["old/text_embedding"], strict=True
        ):
            captions = [caption.decode() for caption in made.source.captions(int(index))]
            drawn = [np.array_equal(row, ids) for row in made.tokenize(captions)].index(True)
            wanted = teacher.model.encode_text(teacher.tokenize([captions[drawn]])).embedding[0]
            np.testing.assert_allclose(vector, wanted, atol=1e-5)
            several |= {drawn}
    assert several == {0, 1, 2}


def test_without_views_a_picture_keeps_its_vector_and_its_own_augmentation(teacher, plain, inputs):
    first, second = by_id(inputs(plain), epochs=2)
    images = np.concatenate(
        [teacher.preprocess(inputs(plain).source.image(i)) for i in range(SAMPLES)]
    )
    wanted = teacher.model.encode_image(images).embedding
    for epoch in (first, second):
        np.testing.assert_allclose(epoch["old/image_embedding"], wanted[epoch["id"]], atol=1e-5)
    (own,) = by_id(inputs(plain, names=("image", "old/image_embedding")), epochs=1)
    np.testing.assert_array_equal(own["image"], first["image"])


def test_the_step_is_lowered_for_the_vectors_that_are_loaded(plain, inputs):
    config = load_config(f"{TINY}:data=x", []).unlock()
    config.data.vectors = ConfigDict({"old": plain})
    batch = next(inputs(plain).loader)
    for name, like in batch_shapes(config, NAMES[2:]).items():
        assert batch[name].shape[1:] == like.shape[1:] == (20,) and batch[name].dtype == like.dtype


@pytest.mark.slow
def test_worker_processes_find_the_same_vectors(views, inputs):
    one, other = inputs(views), inputs(views, workers=1, threads=0)
    for name, rows in next(other.loader).items():
        np.testing.assert_array_equal(rows, next(inputs(views).loader)[name])
    one.loader.close()
    other.loader.close()


def test_of_several_sets_the_vectors_are_of_one(views, root, inputs):
    pairs = f"lines:{root / 'pairs.tar'}"
    other = write_pairs(root / "other.tar", copies=1)
    sets = dict(a=dict(data=str(other)), b=dict(data=pairs, fields=("image", "text")))
    names = (*NAMES, "present/old/image_embedding", "present/old/text_embedding")
    made = inputs(views, names=names, train="", sets=ConfigDict(sets))
    alone = {int(i): row for i, row in zip(*_first_epoch(inputs(views)), strict=True)}
    for batch in itertools.islice(made.loader, 4):
        there = batch["id"] >= 12
        np.testing.assert_array_equal(batch["present/old/image_embedding"], there)
        for index, row in zip(batch["id"][there], batch["old/image_embedding"][there], strict=True):
            np.testing.assert_array_equal(row, alone[int(index) - 12])


def _first_epoch(inputs):
    (epoch,) = by_id(inputs, epochs=1)
    return epoch["id"], epoch["old/image_embedding"]


def test_vectors_that_do_not_fit_are_refused_by_name(plain, views, root, inputs, tmp_path):
    other = write_pairs(root / "fewer.tar", copies=1)
    with pytest.raises(ValueError, match="vectors.old: .* must be of the data that are trained on"):
        inputs(plain, train=str(other))
    with pytest.raises(ValueError, match=r"vectors.new: .* reads none of them, such as new/image"):
        inputs(plain, vectors={"old": plain, "new": views})
    with pytest.raises(ValueError, match="vectors.old: a folder of embeddings must hold manifest"):
        inputs(str(tmp_path))
    seeds = embed(root, "seeds", "--views=2", *experiment(root, "--config.seed=8"))
    names = (*NAMES, "new/image_embedding")
    with pytest.raises(ValueError, match="must be of the same augmentations"):
        inputs(views, names=names, vectors={"old": views, "new": seeds})
    turned = embed(root, "turned", "--views=1", *experiment(root, "--config.augment.rotate=3.0"))
    with pytest.raises(ValueError, match=r"otherwise than here \(rotate: .* there, .* here\); set"):
        inputs(turned)
    done = next((root / "seeds" / "done").glob("*.json"))
    done.unlink()
    with pytest.raises(ValueError, match="must be finished, 5 of 6 shards are there"):
        inputs(seeds)


def test_a_caption_that_was_not_embedded_is_a_missing_vector(root, inputs):
    first = embed(root, "first", "--captions=first")
    made = inputs(first, max_reject_share=1.0)
    for _ in range(12):
        next(made.loader)
    assert 0 < made.loader.rejects.pop("vector missing") < 12 and not made.loader.rejects


def test_flags_of_views_that_cannot_be_are_refused(root, capsys):
    for flags, said in (
        (["--views=2"], "--views=K and --config=EXPERIMENT go together"),
        (experiment(root), "--views=K and --config=EXPERIMENT go together"),
        (["--views=2", "--index", *experiment(root)], "--index is of images as they are"),
        (["--views=0", *experiment(root)], "--views must be at least 1, got 0"),
        (["--views=2", *experiment(root, "--config.preprocess.size=16")], "give --image-size=16"),
    ):
        places = [f"--model={root / 'teacher'}", f"--data={root / 'pairs.tar'}"]
        assert main(["embed", *places, f"--out={root / 'no'}", *flags]) != 0
        assert said in capsys.readouterr().err and not (root / "no").exists()
