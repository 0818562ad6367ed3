"""Lists of words and phrases in files."""

from pathlib import Path


def read_words(path: str | Path) -> tuple[str, ...]:
    """The lines of a file, without blanks around them, without empty ones and repeats.

    Raises:
      ValueError: there is none, or the file cannot be read.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} must be a text in UTF-8, a phrase a line: {error}") from error
    words = tuple(dict.fromkeys(filter(None, map(str.strip, lines))))
    if not words:
        raise ValueError(f"{path} must have a word or phrase a line, got none")
    return words
