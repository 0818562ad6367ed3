"""Where things are kept that can be made again: `$VLP_CACHE`, or else `~/.cache/vlp`."""

import os
from pathlib import Path


def cache_folder(name: str = "") -> Path:
    """The folder for things of one kind, or for all of them; it may not be there yet."""
    return Path(os.environ.get("VLP_CACHE") or Path.home() / ".cache" / "vlp") / name
