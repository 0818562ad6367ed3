"""What a model may be able to do beyond encoding, one signature each for all that can.

In all of them `image` and `caption` are what `encode` returned for the images and the texts, and
`text` is token ids. Logits are float32.
"""

from collections.abc import Mapping
from typing import Any, Protocol, TypeAlias, runtime_checkable

from jaxtyping import Array, Bool, Float, Int, UInt8

from vlp.models.base import Encoded
from vlp.nn.vocabulary import Words

# Models that nobody changes, by the name that `config.frozen` gives them.
Frozen: TypeAlias = Mapping[str, Any]


@runtime_checkable
class ReadsFrozen(Protocol):
    """Reads towers whose weights are other models'.

    Attributes:
        frozen: names of the models that it must be given before it encodes.
    """

    frozen: tuple[str, ...]

    def given(self, frozen: Frozen) -> Any:
        """The same model with the towers of these in their places."""
        ...


@runtime_checkable
class Fuses(Protocol):
    """Reads image and text together."""

    def fuse(
        self, image: Encoded, caption: Encoded, text: Int[Array, "n l"]
    ) -> Float[Array, "n l w"]:
        """The text's tokens after reading the image."""
        ...


@runtime_checkable
class Matches(Protocol):
    """Tells whether image and text belong together."""

    def match(
        self, image: Encoded, caption: Encoded, text: Int[Array, "n l"]
    ) -> Float[Array, "n 2"]:
        """The logits of "these do not belong together" and "they do"."""
        ...


@runtime_checkable
class PredictsTokens(Protocol):
    """Tells hidden words from the rest of the text and the image."""

    def predict_tokens(self, image: Encoded, text: Int[Array, "n l"]) -> Float[Array, "n l v"]:
        """The logits of the token at each position of a text with masks."""
        ...


@runtime_checkable
class PredictsWords(Protocol):
    """Tells hidden words from the rest of the text alone."""

    def predict_words(self, text: Int[Array, "n l"]) -> Float[Array, "n l v"]:
        """The logits of the token at each position of a text with masks."""
        ...

    def predicted_words(self, text: Int[Array, "n l"]) -> Words:
        """The same in front of the vocabulary, where logits would be too many to hold."""
        ...


@runtime_checkable
class TellsLabels(Protocol):
    """Tells which labels an image has."""

    def tell_labels(self, image: Encoded) -> Float[Array, "n k"]:
        """The logit of each label."""
        ...


@runtime_checkable
class PredictsPixels(Protocol):
    """Paints hidden patches."""

    def predict_pixels(
        self, images: UInt8[Array, "n h w 3"], *, hidden: Bool[Array, "n p"]
    ) -> Float[Array, "n p c"]:
        """The pixels of each patch, from an image in which some patches are hidden."""
        ...


@runtime_checkable
class Decodes(Protocol):
    """Tells what follows each token of a caption, having read the image."""

    def decode(
        self, image: Encoded, caption: Encoded, text: Int[Array, "n l"]
    ) -> Float[Array, "n l-1 v"]:
        """The logits of what follows each token but the last: of `text[:, 1:]`."""
        ...

    def decoded(self, image: Encoded, caption: Encoded, text: Int[Array, "n l"]) -> Words:
        """The same in front of the vocabulary, where logits would be too many to hold."""
        ...


@runtime_checkable
class WritesCaptions(Protocol):
    """Writes captions token by token.

    Attributes:
        end_id: the token that ends a caption.
        pad_id: what fills a row behind it.
        caption_length: the most tokens of a caption, the first and the last included.
    """

    end_id: int
    pad_id: int
    caption_length: int

    def start_caption(self, image: Encoded, *, length: int) -> tuple[Int[Array, " n"], Any]:
        """The first token of each caption, and a cache with everything of the image in it.

        The cache is a pytree whose leaves all have the batch as their second axis.

        Args:
            image: what `encode` returned for the images.
            length: tokens of a caption.

        Raises:
            ValueError: when the model has no parameters for it, or does not know the first token.
        """
        ...

    def next_token(
        self, cache: Any, ids: Int[Array, " n"], position: Int[Array, ""]
    ) -> tuple[Float[Array, "n v"], Any]:
        """The logits of what follows the tokens `ids`, float32, and the cache with these in it.

        Args:
            cache: of `start_caption` or the position before.
            ids: none of them padding.
            position: where they stand in the caption, from 0.
        """
        ...


def given(model: Any, frozen: Frozen) -> Any:
    """The model with those frozen ones that it reads, if it reads any."""
    return model.given(frozen) if isinstance(model, ReadsFrozen) else model


def offers(model: Any, capability: type) -> bool:
    """Whether a model has a capability, and the parameters for it.

    Args:
        model: one of a class that may do several things may lack the parameters of some: its
            attribute `lacks` names these methods.
        capability: a protocol of this file.
    """
    methods = {name for name in vars(capability) if not name.startswith("_")}
    return isinstance(model, capability) and not methods & set(getattr(model, "lacks", ()))
