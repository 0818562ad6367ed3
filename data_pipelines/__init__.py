"""Host side of vlp: where image-text pairs come from and how they become numpy batches.

Nothing here knows jax, a mesh or a model: the process index and count are handed in, and what
comes out is `dict[str, np.ndarray]`.
"""
