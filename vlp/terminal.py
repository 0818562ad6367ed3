"""What the user sees of a command: how it was started, and messages while it works."""

from __future__ import annotations

import logging
import os
import shutil
import sys
from pathlib import Path


class _Format(logging.Formatter):
    """Messages alone; warnings and errors with their level in front."""

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        return text if record.levelno < logging.WARNING else f"{record.levelname.lower()}: {text}"


class _Once(logging.Filter):
    """Lets each message through once."""

    def __init__(self) -> None:
        super().__init__()
        self._said: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        text = record.getMessage()
        new = text not in self._said
        self._said.add(text)
        return new


def set_up_logging() -> None:
    """Sends messages to standard error, ours from INFO on; call it before JAX is imported."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    handler = logging.StreamHandler()
    handler.setFormatter(_Format())
    logging.basicConfig(handlers=[handler])
    logging.getLogger("vlp").setLevel(logging.INFO)
    logging.getLogger("absl").setLevel(logging.ERROR)  # orbax tells more than users can use
    logging.getLogger("gcsfs").addFilter(_Once())  # it says of every file what it says of a bucket


def called() -> str:
    """How the user starts vlp, for commands to paste: `vlp` where that is found, else its path."""
    command = Path(sys.argv[0])
    if command.name == "main.py":
        return "python -m vlp.cli.main"
    if command.name != "vlp":  # called as a function
        return "vlp"
    found = shutil.which("vlp")
    return "vlp" if found and Path(found).resolve() == command.resolve() else sys.argv[0]
