"""What a command says while it works: messages as they are, warnings under their name."""

from __future__ import annotations

import logging
import os


class _Format(logging.Formatter):
    """Messages alone; warnings and errors with their level in front."""

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        return text if record.levelno < logging.WARNING else f"{record.levelname.lower()}: {text}"


def set_up_logging() -> None:
    """Sends messages to standard error, ours from INFO on; call it before JAX is imported."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    handler = logging.StreamHandler()
    handler.setFormatter(_Format())
    logging.basicConfig(handlers=[handler])
    logging.getLogger("vlp").setLevel(logging.INFO)
    logging.getLogger("absl").setLevel(logging.ERROR)  # orbax tells more than users can use
