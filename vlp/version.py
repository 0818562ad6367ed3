"""The version of the package, importable without its dependencies."""

__version__ = "0.1.0"
