"""Embeddings of whole data sets as files: shards of numpy and parquet, and an index to search."""
