"""Compiled programs are kept between runs."""

from __future__ import annotations

from data_pipelines.caches import cache_folder


def use_compilation_cache(*, from_s: float = 1.0) -> None:
    """Keeps compiled programs between runs, unless JAX was told of another place.

    Args:
        from_s: programs that compile faster, in seconds, are compiled anew each time.
    """
    import jax

    if not jax.config.jax_compilation_cache_dir:  # type: ignore[attr-defined]
        jax.config.update("jax_compilation_cache_dir", str(cache_folder("xla")))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", from_s)
