"""Evaluation of dual encoders: embedding, retrieval, zero-shot classification, reports, search."""
