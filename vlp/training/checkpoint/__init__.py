"""Checkpoints: what is in one, which are there, which of them are whole."""
