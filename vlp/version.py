"""The version of the package, importable without its dependencies."""

__version__ = "0.1.0"


def versions() -> dict[str, str]:
    """Versions of what decides a number."""
    import platform
    from importlib.metadata import version

    packages = {name: version(name) for name in ("jax", "jaxlib", "flax", "numpy", "pillow")}
    return {"vlp": __version__, **packages, "python": platform.python_version()}
