"""Makes the compact form from two WebDataset tars, one a vendor.

python -m data_pipelines.emoji.build --noto noto.tar --twemoji twemoji.tar
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from data_pipelines.decode import decode
from data_pipelines.emoji import compact
from data_pipelines.emoji.captions import caption
from data_pipelines.sources.tar import TarSource


def build(tars: dict[str, Path], *, folder: Path = compact.FOLDER) -> None:
    """Writes the compact form of the vendors' tars.

    Raises:
      ValueError: the vendors disagree about keys or metadata, or a caption is not the rule's.
    """
    entries: list[dict[str, Any]] = []
    pixels = {}
    for vendor, tar in tars.items():
        source = TarSource(tar)
        samples = [source[index] for index in range(len(source))]
        pixels[vendor] = np.stack([decode(sample.image) for sample in samples])
        found = [{field: sample.meta[field] for field in compact.FIELDS} for sample in samples]
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
    build(vars(parser.parse_args(arguments)))
    for path in compact.paths():
        print(f"{path}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
