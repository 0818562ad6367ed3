"""Makes the compact form from two WebDataset tars, one a vendor, and CLDR's annotations.

python -m data_pipelines.emoji.build --noto noto.tar --twemoji twemoji.tar \\
    --annotations annotations/en/annotations.json annotationsDerived/en/annotations.json
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from data_pipelines.decode import decode
from data_pipelines.emoji import compact
from data_pipelines.emoji.annotations import Annotations, annotated, read_annotations
from data_pipelines.emoji.captions import caption
from data_pipelines.sources.tar import TarSource


def build(
    tars: dict[str, Path], annotations: Annotations, *, folder: Path = compact.FOLDER
) -> None:
    """Writes the compact form of the vendors' tars.

    Args:
      tars: by vendor.
      annotations: see `annotations.read_annotations`.
      folder: where to.

    Raises:
      ValueError: the vendors disagree about keys or metadata, a caption is not the rule's, or an
        emoji has no annotation.
    """
    entries: list[dict[str, Any]] = []
    pixels = {}
    for vendor, tar in tars.items():
        source = TarSource(tar)
        samples = [source[index] for index in range(len(source))]
        pixels[vendor] = np.stack([decode(sample.image) for sample in samples])
        metas = [annotated(sample.meta, annotations) for sample in samples]
        found = [{field: meta[field] for field in compact.FIELDS} for meta in metas]
        for sample, entry in zip(samples, found, strict=True):
            if sample.key != entry["unified"].lower() or entry["caption"] != caption(entry):
                raise ValueError(
                    f"a key must be its code points and a caption its name and skin tones, {tar} "
                    f"has {sample.key!r} with {entry}; rewrite the tar"
                )
        if entries and found != entries:
            raise ValueError(
                f"vendors must describe the same emoji in the same order, {tar} does not; rewrite "
                "the tars from one list"
            )
        entries = found
    compact.write(entries, pixels, folder=folder)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    for vendor in compact.LEVELS:
        parser.add_argument(f"--{vendor}", required=True, type=Path, metavar="TAR")
    parser.add_argument(
        "--annotations", required=True, type=Path, nargs="+", metavar="JSON", help="of CLDR"
    )
    given = vars(parser.parse_args(arguments))
    build(given, read_annotations(given.pop("annotations")))
    for path in compact.paths():
        print(f"{path}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
