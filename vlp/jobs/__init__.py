"""Work over whole data sets: evaluation, embedding, captions, filtering, search."""
