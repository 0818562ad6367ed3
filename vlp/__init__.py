"""Vision-language pretraining in JAX: train, evaluate and export dual encoders."""

from typing import Any

from vlp.version import __version__

__all__ = ["__version__", "load"]


def load(path: Any, *, weights: str = "auto") -> tuple[Any, Any, Any]:
    """Model, image preprocessing and tokenizer of a run; see `vlp.interop.load.load`."""
    from vlp.interop.load import load as load_run  # imports JAX: only when a model is wanted

    return load_run(path, weights=weights)
