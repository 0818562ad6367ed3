"""Folders of embeddings without a model: random unit vectors."""

import numpy as np

from vlp.jobs.embed_folder import EmbedFolder

DIM, SIZE, SAMPLES = 8, 10, 24
MANIFEST = dict(
    model="m",
    preprocess=None,
    tokenizer=None,
    data="d",
    samples=SAMPLES,
    shard_size=SIZE,
    captions="all",
    dtype="float32",
    dim=DIM,
)


def vectors(seed: int, n: int) -> np.ndarray:
    """Unit-norm rows."""
    x = np.random.default_rng(seed).normal(size=(n, DIM))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def columns(ids, seed: int) -> dict:
    """The columns of a shard; keys and captions name their sample."""
    return {
        "embedding": vectors(seed, len(ids)),
        "id": np.asarray(ids, np.int64),
        "key": [f"k{i}" for i in ids],
        "file": [f"{i // 4}.tar" for i in ids],
        "caption": [f"a caption of {i} 日本" for i in ids],
    }


def written(shards: EmbedFolder, shard: int) -> dict:
    """What `EmbedFolder.write` takes: sample 3 of each shard is rejected, all have two captions."""
    first, stop = shards.samples(shard)
    images = [i for i in range(first, stop) if i % SIZE != 3]
    captions = [i for i in range(first, stop) for _ in range(2)]
    return dict(
        images=columns(images, shard),
        captions=columns(captions, 100 + shard),
        rejected=1,
        left_out=2,
    )


def fill(folder, **changes) -> EmbedFolder:
    """All shards of a job."""
    shards = EmbedFolder(folder, MANIFEST | changes)
    shards.claim()
    for shard in range(len(shards)):
        shards.write(shard, **written(shards, shard))
    return shards


def files(folder) -> dict[str, bytes]:
    """Every file below a folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }
