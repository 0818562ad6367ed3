"""Vision-language pretraining in JAX: train, evaluate, import and export image-text encoders."""

from typing import Any

from vlp.version import __version__

__all__ = ["__version__", "load"]


def load(
    source: Any,
    *,
    weights: str = "auto",
    image_size: int | None = None,
    text_length: int | None = None,
    tokenizer: Any = None,
    allow_pickle_weights: bool = False,
) -> tuple[Any, Any, Any]:
    """Model, image preprocessing and tokenizer; see `vlp.interop.load.load`."""
    from vlp.interop.load import load as load_any  # imports JAX: only when a model is wanted

    return load_any(
        source,
        weights=weights,
        image_size=image_size,
        text_length=text_length,
        tokenizer=tokenizer,
        allow_pickle_weights=allow_pickle_weights,
    )
