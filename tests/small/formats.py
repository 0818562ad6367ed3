"""Tiny data sets in the formats that people have, written as their own libraries write them."""

import io
import json
import tarfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import tensorflow_datasets as tfds

from tests.small.runs import COLOURS, SHAPES, add, picture

PAIRS = [(colour, shape) for colour in COLOURS for shape in SHAPES]
HF_PICTURE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
HF = pa.schema([("image", HF_PICTURE), ("text", pa.string()), ("label", pa.int64())])


def write_rows(path: Path, rows: Iterable[dict], schema: pa.Schema | None = None) -> None:
    """A parquet file with four rows a group."""
    pq.write_table(pa.Table.from_pylist(list(rows), schema=schema), path, row_group_size=4)


def uid(number: int) -> str:
    """What DataComp calls a sample: 32 hexadecimal digits."""
    return np.random.default_rng(number).bytes(16).hex()


def meta(number: int) -> dict[str, object]:
    """What img2dataset knows of a picture, with DataComp's uid."""
    colour, shape = PAIRS[number]
    return dict(
        uid=uid(number),
        url=f"https://example.org/{number}.png",
        caption=f"a {colour} {shape}",
        key=f"{number:09d}",
        status="success",
        error_message=None,
        width=20,
        re_caption=f"there is a {shape} that is {colour}",
    )


def img2dataset_tars(folder: Path) -> None:
    """`--output_format=webdataset`: tars, the metadata of each as parquet, and statistics."""
    folder.mkdir(parents=True)
    for shard in range(2):
        numbers = range(shard * 6, shard * 6 + 6)
        with tarfile.open(folder / f"{shard:05d}.tar", "w") as tar:
            for number in numbers:
                key = f"{number:09d}"
                add(tar, f"{key}.jpg", picture(*PAIRS[number]))
                add(tar, f"{key}.txt", str(meta(number)["caption"]).encode())
                add(tar, f"{key}.json", json.dumps(meta(number), indent=4).encode())
        write_rows(folder / f"{shard:05d}.parquet", map(meta, numbers))
        (folder / f"{shard:05d}_stats.json").write_text("{}")


def img2dataset_parquet(folder: Path) -> None:
    """`--output_format=parquet`: a column named by the format of the pictures."""
    folder.mkdir()
    for shard in range(2):
        rows = [
            meta(number) | dict(jpg=picture(*PAIRS[number]))
            for number in range(shard * 6, shard * 6 + 6)
        ]
        write_rows(folder / f"{shard:05d}.parquet", rows)


def img2dataset_files(folder: Path) -> None:
    """`--output_format=files`: a folder a shard, and the metadata of each as parquet."""
    for shard in range(2):
        below = folder / f"{shard:05d}"
        below.mkdir(parents=True)
        numbers = range(shard * 6, shard * 6 + 6)
        for number in numbers:
            (below / f"{number:09d}.jpg").write_bytes(picture(*PAIRS[number]))
            (below / f"{number:09d}.txt").write_text(str(meta(number)["caption"]))
            (below / f"{number:09d}.json").write_text(json.dumps(meta(number)))
        write_rows(folder / f"{shard:05d}.parquet", map(meta, numbers))


def hf_rows(numbers: range) -> list[dict[str, object]]:
    """Rows with Hugging Face's column of pictures."""
    return [
        dict(
            image=dict(bytes=picture(*PAIRS[number]), path=f"{number}.png"),
            text=meta(number)["caption"],
            label=number % 3,
        )
        for number in numbers
    ]


def hf_parquet(folder: Path) -> None:
    """A repository of parquet files with two splits."""
    (folder / "data").mkdir(parents=True)
    (folder / "README.md").write_text("words")
    for split in ("train", "test"):
        for shard in range(2):
            path = folder / "data" / f"{split}-{shard:05d}-of-00002.parquet"
            write_rows(path, hf_rows(range(shard * 6, shard * 6 + 6)), schema=HF)


def hf_saved(folder: Path) -> None:
    """What `DatasetDict.save_to_disk` writes."""
    for split in ("train", "test"):
        below = folder / split
        below.mkdir(parents=True)
        name = "data-00000-of-00001.arrow"
        with pa.ipc.new_stream(below / name, HF) as writer:
            writer.write_table(pa.Table.from_pylist(hf_rows(range(12)), schema=HF), max_chunksize=5)
        state = {"_data_files": [{"filename": name}], "_split": split}
        (below / "state.json").write_text(json.dumps(state))
        (below / "dataset_info.json").write_text("{}")
    (folder / "dataset_dict.json").write_text(json.dumps({"splits": ["train", "test"]}))


def class_folders(folder: Path) -> None:
    """A folder a class, as torchvision's ImageFolder has them."""
    for number, (colour, shape) in enumerate(PAIRS):
        (folder / f"{colour} {shape}").mkdir(parents=True)
        (folder / f"{colour} {shape}" / f"{number}.png").write_bytes(picture(colour, shape))


class Drawings(tfds.core.GeneratorBasedBuilder):
    """The shapes as a data set of TFDS."""

    __module__ = "drawings"  # of a class within a package TFDS asks where the package lies
    VERSION = tfds.core.Version("1.0.0")

    def _info(self) -> tfds.core.DatasetInfo:
        image = tfds.features.Image(encoding_format="png")
        features = tfds.features.FeaturesDict({"image": image, "caption": tfds.features.Text()})
        return tfds.core.DatasetInfo(builder=self, features=features)

    def _split_generators(self, _):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        for number, pair in enumerate(PAIRS):
            image, caption = io.BytesIO(picture(*pair)), meta(number)["caption"]
            yield number, dict(image=image, caption=caption)


def tfds_prepared(folder: Path) -> None:
    """What TFDS writes for a builder of one's own."""
    Drawings(data_dir=folder, file_format="array_record").download_and_prepare()


def datacomp(folder: Path) -> None:
    """A pool of DataComp: img2dataset's tars with uids, and an array of those that are kept."""
    img2dataset_tars(folder / "shards")
    named = [(int(uid(n)[:16], 16), int(uid(n)[16:32], 16)) for n in range(1, 11)]
    kept = np.array(named, np.dtype("u8,u8"))
    kept.sort()
    np.save(folder / "kept.npy", kept)
