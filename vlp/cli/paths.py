"""Paths on the command line."""

from __future__ import annotations

import argparse
import re

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")


def local_path(value: str) -> str:
    """The value of a flag that names where to write, as argparse's `type`.

    Raises:
        ArgumentTypeError: it lies in an object store.
    """
    if _SCHEME.match(value):
        raise argparse.ArgumentTypeError(
            f"must be a path of this machine's file systems, got {value}; vlp does not write to "
            "object stores yet: give a mounted folder and copy it there"
        )
    return value
