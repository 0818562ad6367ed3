"""Sets of prompt templates for zero-shot classification, by name or from a file."""

import re
from pathlib import Path

from vlp.evals.known_names import known_templates
from vlp.evals.text_files import read_json, read_lines


def _clip80() -> tuple[str, ...]:
    """The 80 prompts by which CLIP was judged on ImageNet: a few patterns, each with a and the."""
    photos = (
        "bad", "low resolution", "cropped", "bright", "dark", "close-up", "black and white",
        "pixelated", "jpeg corrupted", "blurry", "good",
    )  # fmt: skip
    drawn = (
        "sculpture", "rendering", "tattoo", "drawing", "painting", "doodle", "sketch", "rendition",
    )  # fmt: skip
    looks = ("hard to see", "clean", "dirty", "cool", "large", "nice", "weird", "small")
    made = ("embroidered", "plastic", "origami", "toy", "cartoon", "plushie")
    pictures = [*(f"a {how} photo" for how in photos), *(f"a {what}" for what in drawn)]
    pictures += ["a photo", "graffiti", "art", "itap"]
    found = ["a photo of many {}.", "a photo of my {}.", "a photo of one {}.", "itap of my {}."]
    for article in ("a", "the"):
        found += [f"{picture} of {article} {{}}." for picture in pictures]
        found += [f"a photo of {article} {look} {{}}." for look in looks]
        found += [f"{article} {of} {{}}." for of in made]
        found.append(f"{article} {{}} in a video game.")
    return tuple(found)


TEMPLATES: dict[str, tuple[str, ...]] = {
    # The bare name: right for models trained on tags and names.
    "simple": ("{}",),
    # What the emoji captions look like, with and without the words a person would add.
    "emoji": ("{}", "an emoji of {}", "{} emoji"),
    # One sentence a caption on the web might hold.
    "photo": ("a photo of a {}.",),
    # The seven prompts that the authors of CLIP found to do best on ImageNet; from their notebook
    # Prompt_Engineering_for_ImageNet (github.com/openai/CLIP, MIT licence, (c) 2021 OpenAI).
    "clip7": (
        "itap of a {}.",
        "a bad photo of the {}.",
        "a origami {}.",
        "a photo of the large {}.",
        "a {} in a video game.",
        "art of the {}.",
        "a photo of the small {}.",
    ),
    # All 80 of the same notebook, whose mean is the classifier of the paper.
    "clip80": _clip80(),
}


_PLACE = re.compile(r"\{\w*\}")  # {} as here; {c} as in CLIP_benchmark, {classname} in others


def templates(name: str) -> tuple[str, ...]:
    """The templates of a set, or of a file.

    Args:
      name: A key of `TEMPLATES`, one of the field's sets ("cifar10", see `known_names`), or the
        path of a UTF-8 file: one template a line, where empty lines and lines that begin with `#`
        are skipped, or a JSON list of templates.

    Returns:
      Templates, each with exactly one `{}` where the class name goes; files may write `{c}`,
      `{classname}` or any other word in the braces.

    Raises:
      ValueError: If there is neither such a set nor such a file, a line has no single place for
        the name, or it has the quotes and commas of a program around it.
    """
    if name in TEMPLATES:
        return TEMPLATES[name]
    path = Path(name)
    if not path.is_file() and name in known_templates():
        return known_templates()[name]
    if not path.is_file():
        raise ValueError(
            f"templates must be one of {', '.join(TEMPLATES)} or a file with one template a line, "
            f"or those of one of {', '.join(sorted(known_templates()))}, got {name!r}"
        )
    found = _json_list(path) if path.suffix.lower() == ".json" else _plain_lines(path)
    if not found:
        raise ValueError(f"{path} must hold one template at least, for example: a drawing of {{}}.")
    return tuple(_template(text, where) for where, text in found)


def _plain_lines(path: Path) -> list[tuple[str, str]]:
    """The templates of a file with one a line, each behind the place where it is."""
    lines = enumerate(read_lines(path), start=1)
    return [(f"{path}, line {i}", line) for i, line in lines if line and line[0] != "#"]


def _json_list(path: Path) -> list[tuple[str, str]]:
    """The templates of a JSON list, each behind the place where it is."""
    found = read_json(path)
    if not isinstance(found, list) or not all(isinstance(text, str) for text in found):
        keys = f" with {', '.join(list(found)[:5])}" if isinstance(found, dict) else ""
        raise ValueError(
            f"{path} must be a list of templates, got {type(found).__name__}{keys}; save the list "
            "that is meant in a file of its own"
        )
    return [(f"{path}, template {number}", text) for number, text in enumerate(found, start=1)]


def _template(text: str, where: str) -> str:
    """The template with its place written as `{}`."""
    if len(_PLACE.findall(text)) != 1 or "{{" in text or "}}" in text:
        raise ValueError(
            f"{where}: every template must hold one {{}} for the class name, got {text!r}; write "
            "for example: a drawing of {}."
        )
    return _PLACE.sub("{}", text)
