"""Text files of a set, here or in a store, and the prompts made of them."""

import re
from collections.abc import Sequence

from data_pipelines.io import exists, name_of, open_file

_FIELD = re.compile(r"\{\{|\}\}|\{c\}|\{\}|[{}]")


def read_text(address: str) -> str:
    """The text of a file.

    Raises:
        ValueError: it is not there, cannot be read, or is not UTF-8.
    """
    try:
        file = open_file(address)
        try:
            return file.read(0, file.size).decode("utf-8")
        finally:
            file.close()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror or error if isinstance(error, OSError) else error
        raise ValueError(
            f"{address} must be a text in UTF-8, it cannot be read: {reason}"
        ) from error


def lines_of(address: str) -> list[str] | None:
    """The stripped lines of a file, empty ones too, as CLIP_benchmark has them; None without."""
    return [line.strip() for line in read_text(address).splitlines()] if exists(address) else None


def check_templates(templates: Sequence[str], *, where: str) -> list[str]:
    """Sentences on templates without a place for the class's name.

    Raises:
        ValueError: none has a place, or one has braces of another kind.
    """
    for template in templates:
        wrong = {part for part in _FIELD.findall(template)} & {"{", "}"}
        if wrong:
            raise ValueError(
                f"{where}: a template has {{c}} where the class's name goes, and doubled braces "
                f"where braces are meant, got {template!r}"
            )
    without = [template for template in templates if filled(template, "\0") == filled(template, "")]
    if len(without) == len(templates):
        raise ValueError(
            f"{where}: a template must have {{c}} where the class's name goes, none of "
            f"{len(templates)} has, such as {templates[0] if templates else ''!r}; add it"
        )
    if not without:
        return []
    return [
        f"{len(without)} of {len(templates)} templates have no place for a name: {without[0]!r}"
    ]


def filled(template: str, name: str) -> str:
    """A template with the name of a class in its places, as `str.format(c=name)` would."""
    put = {"{{": "{", "}}": "}", "{c}": name, "{}": name}
    return _FIELD.sub(lambda found: put.get(found[0], found[0]), template)


def short(address: str) -> str:
    """The end of an address: the folder and the file."""
    return "/".join(address.rstrip("/").rsplit("/", 2)[-2:]) or name_of(address)
