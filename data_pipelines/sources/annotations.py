"""What a tar says of its samples beside their pictures: labels, captions, arrays, as bytes."""

from collections.abc import Collection

from data_pipelines.io import open_file
from data_pipelines.sources.tar_members import walk

_LARGEST = 2**24  # bytes; nothing that describes a picture is as large


def read_annotations(path: str, *, suffixes: Collection[str]) -> dict[str, dict[str, bytes]]:
    """The members of a tar that have one of these suffixes, by the key of their sample.

    Args:
      path: of the tar, here or in a store.
      suffixes: what stands behind the first dot of a member's name, in lower case: "cls", "npy".

    Raises:
      OSError: it cannot be read.
      ValueError: it is no tar, it is cut, or a member is larger than 16 MiB.
    """
    found: dict[str, dict[str, bytes]] = {}
    file = open_file(path)
    try:
        for member in walk(file.read, 0, file.length):
            folder, _, base = member.name.removeprefix("./").rpartition("/")
            stem, _, suffix = base.partition(".")
            if member.is_link or suffix.lower() not in suffixes:
                continue
            if member.size > _LARGEST:
                raise ValueError(
                    f"{path}: {member.name} must be at most {_LARGEST:,} bytes, got {member.size:,}"
                )
            key = f"{folder}/{stem}" if folder else stem
            found.setdefault(key, {})[suffix.lower()] = file.read(member.start, member.size)
    finally:
        file.close()
    return found
