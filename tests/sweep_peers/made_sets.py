"""Sets in CLIP_benchmark's layout, made by a seed: whatever such sets may have, by chance."""

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import webdataset
from PIL import Image

from tests.odd_images import exif, odd_images, picture, saved

WORDS = (
    "red green blue grey small large old new wooden metal cat dog bird fish car bus train boat "
    "tree house river cloud snow sand road bridge café naïve façade Ångström 東京 Москва"
).split()
TEMPLATES = (
    "a photo of a {c}.",
    "a bad photo of the {c}.",
    "{c}",
    "itap of {c} and {c}.",
    "a sketch of nothing in particular.",
    "THE {c}!",
)


@dataclass(frozen=True)
class Made:
    """A set that was made.

    Attributes:
        root: its folder.
        count: pictures.
        classes: classes that it names; 0 for captions.
        members: labels, arrays or captions, one a picture.
    """

    root: Path
    count: int
    classes: int
    members: list


def classification_set(root, *, seed, fields=0):
    """Classes of which some are absent and some have one name, pictures of which some are equal.

    Args:
        root: a new folder.
        seed: of everything.
        fields: integers in a KEY.npy beside each label, as DataComp has them.
    """
    rng = np.random.default_rng(seed)
    count, classes = int(rng.integers(30, 90)), int(rng.integers(2, 14))
    odds = rng.dirichlet(np.full(classes, 0.7))
    labels = rng.choice(classes, count, p=odds).tolist()
    beside = [{"cls": label} for label in labels]
    for each in beside if fields else ():
        each["npy"] = rng.integers(0, 4, fields)
    _describe(root, rng, classes)
    _write(root, rng, beside)
    return Made(root, count, classes, labels)


def multilabel_set(root, *, seed):
    """Several classes a picture, of some classes none."""
    rng = np.random.default_rng(seed)
    count, classes = int(rng.integers(30, 90)), int(rng.integers(2, 14))
    truths = rng.random((count, classes)) < rng.uniform(0, 0.5, classes)
    truths[:, rng.integers(classes)] = False
    _describe(root, rng, classes)
    (root / "dataset_type.txt").write_text("multilabel\n")
    _write(root, rng, [{"npy": row.astype(np.int64)} for row in truths])
    return Made(root, count, classes, list(truths))


def retrieval_set(root, *, seed, captions=5, known=0.2):
    """About so many captions a picture, none of some; a share of them is one of three."""
    rng = np.random.default_rng(seed)
    count = int(rng.integers(30, 80))
    often = [_caption(rng) for _ in range(3)]
    members = []
    for index in range(count):
        lines = [_caption(rng) for _ in range(captions if rng.random() < 0.7 else 1)]
        if rng.random() < known:
            lines[0] = often[rng.integers(len(often))]
        if rng.random() < 0.1:
            lines.insert(1, "")
        if index and rng.random() < 0.08:
            lines = []
        members.append(_joined(rng, lines))
    root.mkdir(parents=True)
    (root / "dataset_type.txt").write_text("retrieval")
    _write(root, rng, [{"txt": text} for text in members])
    return Made(root, count, 0, members)


def _describe(root, rng, classes):
    """Names of which some are there twice, a few templates."""
    root.mkdir(parents=True)
    names = [" ".join(rng.choice(WORDS, rng.integers(1, 4))) for _ in range(classes)]
    if rng.random() < 0.5:
        names[-1] = names[0]
    (root / "classnames.txt").write_text("".join(f" {name}\n" for name in names), "utf-8")
    chosen = [TEMPLATES[0], *rng.choice(TEMPLATES[1:], rng.integers(0, 5), replace=False)]
    (root / "zeroshot_classification_templates.txt").write_text("\n".join(chosen), "utf-8")


def _caption(rng):
    text = " ".join(rng.choice(WORDS, rng.integers(1, 30)))
    return text + rng.choice(["", ".", " \\n ", "  ", "&amp;"])


def _joined(rng, lines):
    """Captions with what ends a line for Python, too."""
    return "".join(line + rng.choice(["\n", "\r\n", "\u2028", "\x0b", "\x85"]) for line in lines)


def _write(root, rng, beside):
    """Samples in shards of unequal sizes."""
    folder = root / "test"
    folder.mkdir()
    shards = int(rng.integers(1, 5))
    ends = np.sort(rng.integers(1, len(beside), shards - 1))
    files = _pictures(rng, len(beside))
    for number, rows in enumerate(np.split(np.arange(len(beside)), ends)):
        with webdataset.TarWriter(str(folder / f"{number}.tar")) as writer:
            for row in rows.tolist():
                suffix, data = files[row]
                writer.write({"__key__": f"s{row:07d}", suffix: data, **beside[row]})
    (folder / "nshards.txt").write_text(str(shards))


def _pictures(rng, count):
    """Files of every kind, in any order, some of them twice."""
    odd = list(odd_images().values())
    found = []
    for _ in range(count):
        draw = rng.random()
        if draw < 0.3:
            data = odd[rng.integers(len(odd))]
        elif draw < 0.4 and found:
            data = found[rng.integers(len(found))][1]
        else:
            data = _photo(rng, seed=int(rng.integers(2**31)))
        found.append((_suffix(data), data))
    return found


def _photo(rng, *, seed):
    height, width = (int(size) for size in rng.integers(20, 160, 2))
    pixels = picture(height, width, seed=seed).astype(np.float64)
    tinted = pixels * rng.uniform(0.2, 1, 3) + rng.uniform(0, 50, 3)
    image = Image.fromarray(tinted.clip(0, 255).astype(np.uint8))
    kind = rng.choice(["WEBP", "JPEG", "PNG", "TURNED"])
    if kind == "TURNED":
        return saved(image, "JPEG", exif=exif(int(rng.integers(1, 9))))
    return saved(image, str(kind), **(dict(lossless=True) if kind == "WEBP" else {}))


def _suffix(data):
    kind = Image.open(io.BytesIO(data)).format
    return {"WEBP": "webp", "PNG": "png"}.get(kind, "jpg")
