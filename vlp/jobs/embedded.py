"""Folders of `vlp embed` as jobs over the same data read them."""

from typing import Any

from data_pipelines.sources.base import Source
from data_pipelines.sources.fingerprints import same_data
from vlp.vectors.shards import check_plain, done_files, read_manifest, stem

_MADE_BY = ("model", "captions", "dtype", "preprocess", "tokenizer")


def embedded_by(folder: str) -> dict[str, Any]:
    """What made these vectors of the data they are of: JSON values, the model's fingerprint first.

    Raises:
        ValueError: it is no such folder.
    """
    manifest = read_manifest(folder)
    return {name: manifest.get(name) for name in _MADE_BY}


def embedded_shards(folder: str, source: Source) -> list[tuple[str, str]]:
    """The files of each shard's pictures and captions, without their suffix.

    Args:
        folder: of `vlp embed`.
        source: the data that must be embedded there, whole.

    Raises:
        ValueError: it is no such folder, of other data or of augmented pictures, or not finished.
    """
    manifest = read_manifest(folder)
    check_plain(manifest, folder)
    if not same_data(manifest.get("data"), source.fingerprint):
        raise ValueError(
            f"{folder} must have the vectors of --data, it has those of {manifest['data_source']}; "
            "embed --data, and give that folder"
        )
    done = done_files(folder)
    shards = -(-manifest["samples"] // manifest["shard_size"])
    if len(done) < shards:
        raise ValueError(
            f"{folder} must be whole, it has {len(done)} of {shards} shards; start the same vlp "
            "embed again"
        )
    names = [int(path.stem) for path in done]
    return [(str(stem(folder, "images", k)), str(stem(folder, "captions", k))) for k in names]
