"""Sets of prompt templates for zero-shot classification, by name or from a file."""

from pathlib import Path

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
}


def templates(name: str) -> tuple[str, ...]:
    """The templates of a set, or of a file with one template a line.

    Args:
      name: A key of `TEMPLATES`, or the path of a UTF-8 file; empty lines and lines that begin
        with `#` are skipped.

    Returns:
      Templates, each with exactly one `{}` where the class name goes.

    Raises:
      ValueError: If there is neither such a set nor such a file, or a line has no single `{}`.
    """
    if name in TEMPLATES:
        return TEMPLATES[name]
    path = Path(name)
    if not path.is_file():
        raise ValueError(
            f"prompts must be one of {', '.join(TEMPLATES)} or a file with one template a line, "
            f"got {name!r}"
        )
    lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    found = tuple(line for line in lines if line and not line.startswith("#"))
    for line in found or ("",):
        if line.count("{}") != 1:
            raise ValueError(
                f"every template must hold one {{}} for the class name, got {line!r} in {path}; "
                "write for example: a drawing of {}."
            )
    return found
