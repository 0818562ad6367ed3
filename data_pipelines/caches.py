"""Where things are kept that can be made again: `$VLP_CACHE`, or else `~/.cache/vlp`."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """The folder, which need not be there yet."""
    return Path(os.environ.get("VLP_CACHE") or Path.home() / ".cache" / "vlp")
