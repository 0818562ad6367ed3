"""How alike all images and all texts of a batch are: what the contrastive losses compare."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

MASKED = -1e30  # a finite minus infinity: no NaN in gradients, even where everything is masked


class Tokens(NamedTuple):
    """Unit-norm vectors of the tokens of each sample, and which of them are real; None: all."""

    vectors: Float[Array, "n t d"]
    mask: Bool[Array, "n t"] | None = None


# What a tower gives for a batch: a vector a sample, several, or those of its tokens.
Embeddings: TypeAlias = Float[Array, "_ ... d"] | Tokens
# One matrix, rows images and columns texts; or two, as images see the texts and as texts see the
# images, where these differ.
Matrices: TypeAlias = Float[Array, "n m"] | tuple[Float[Array, "n m"], Float[Array, "n m"]]
Similarity: TypeAlias = str | Callable[..., Matrices]


def cosines(zimg: Float[Array, "n d"], ztxt: Float[Array, "m d"]) -> Float[Array, "n m"]:
    """Inner products of all images with all texts: operands in their own dtype, float32 sums."""
    return _products("nd,md->nm", zimg, ztxt)


def max_over_queries(zimg: Float[Array, "n q d"], ztxt: Float[Array, "m d"]) -> Float[Array, "n m"]:
    """The largest of each text's inner products with the vectors of an image.

    References:
        Li et al., 2023 (BLIP-2), https://arxiv.org/abs/2301.12597, section 3.2 (ITC).
    """
    return jnp.max(_products("nqd,md->nqm", zimg, ztxt), axis=1)


def late_interaction(zimg: Tokens, ztxt: Tokens) -> tuple[Float[Array, "n m"], Float[Array, "n m"]]:
    """The mean over one side's real tokens of the largest inner product with one of the other's.

    The first matrix is the mean over the image's tokens, the second over the text's. A sample
    without real tokens has similarity 0 to all.

    References:
        Yao et al., 2022 (FILIP), https://arxiv.org/abs/2111.07783, section 3.1.
    """
    image, text = (
        jnp.ones(z.vectors.shape[:2], bool) if z.mask is None else z.mask for z in (zimg, ztxt)
    )
    products = _products("npd,mld->nmpl", zimg.vectors, ztxt.vectors)
    both = image[:, None, :, None] & text[None, :, None, :]
    products = jnp.where(both, products, MASKED)

    def mean_of_best(axis: int) -> Float[Array, "n m"]:
        best, real = jnp.max(products, axis=axis), jnp.any(both, axis=axis)
        count = jnp.maximum(jnp.sum(real, axis=2), 1).astype(jnp.float32)
        return jnp.sum(jnp.where(real, best, 0.0), axis=2) / count

    return mean_of_best(3), mean_of_best(2)


SIMILARITIES: dict[str, Callable[..., Matrices]] = {
    "dot": cosines,
    "max_over_queries": max_over_queries,
    "late_interaction": late_interaction,
}


def similarities(
    similarity: Similarity, zimg: Embeddings, ztxt: Embeddings
) -> tuple[Float[Array, "n m"], ...]:
    """As images see texts and as texts see images; one matrix where that is the same.

    Raises:
        ValueError: when there is no similarity of this name.
    """
    if isinstance(similarity, str) and similarity not in SIMILARITIES:
        raise ValueError(
            f"similarity must be one of {', '.join(SIMILARITIES)}, or a function, "
            f"got {similarity!r}"
        )
    function = SIMILARITIES[similarity] if isinstance(similarity, str) else similarity
    found = function(zimg, ztxt)
    return found if isinstance(found, tuple) else (found,)


def mean_of(ways: tuple[Array, ...]) -> Array:
    """The mean of one or two arrays."""
    return ways[0] if len(ways) == 1 else 0.5 * (ways[0] + ways[1])


def own_similarity(
    similarity: Similarity, zimg: Embeddings, ztxt: Embeddings
) -> Float[Array, " n"]:
    """Each pair's own, the mean of both ways, without those of all others."""
    if similarity == "dot":
        zimg, ztxt = vectors(zimg), vectors(ztxt)
        return jnp.sum(zimg.astype(jnp.float32) * ztxt.astype(jnp.float32), axis=1)

    def own(image: Any, text: Any) -> Float[Array, ""]:
        image, text = jax.tree.map(lambda x: x[None], (image, text))
        return mean_of(similarities(similarity, image, text))[0, 0]

    return jax.vmap(own)(zimg, ztxt)


def vectors(z: Embeddings) -> Float[Array, "_ ... d"]:
    """The embeddings themselves, without the mask of tokens."""
    return z.vectors if isinstance(z, Tokens) else z


def replaced(z: Embeddings, new: Float[Array, "_ ... d"]) -> Embeddings:
    """Other vectors in place of the embeddings', with the same mask of tokens."""
    return z._replace(vectors=new) if isinstance(z, Tokens) else new


def product(form: str, a: Array, b: Array) -> Float[Array, "..."]:
    """An einsum of operands in the dtype of `b`, with float32 sums at full precision."""
    return jnp.einsum(
        form,
        a.astype(b.dtype),
        b,
        precision=jax.lax.Precision.HIGHEST,
        preferred_element_type=jnp.float32,
    )


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _products(form: str, zimg: Array, ztxt: Array) -> Array:
    """The same with derivatives that are such products too; JAX would take float32 operands."""
    return product(form, zimg, ztxt)


def _products_forward(form, zimg, ztxt):
    return product(form, zimg, ztxt), (zimg, ztxt)


def _products_backward(form, saved, slopes):
    (zimg, ztxt), (inputs, of_products) = saved, form.split("->")
    of_images, of_texts = inputs.split(",")
    to_images = product(f"{of_products},{of_texts}->{of_images}", slopes, ztxt)
    to_texts = product(f"{of_products},{of_images}->{of_texts}", slopes, zimg)
    return to_images.astype(zimg.dtype), to_texts.astype(ztxt.dtype)


_products.defvjp(_products_forward, _products_backward)
