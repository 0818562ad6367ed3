"""Models with weights, whose methods may be called as they are."""

import dataclasses
import functools
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int

from data_pipelines.text import Tokenizer
from vlp.interop.given import captions, checked_images, checked_text
from vlp.interop.runs import RUN
from vlp.models import Albef, Blip, CoCa, DualEncoder, Encoded, Vlmo
from vlp.models.build import model_class
from vlp.models.naflex import device_images
from vlp.training.params import leaf_paths, path_name


class Compiled(nnx.Module):
    """Compiles the methods of the class behind it, once for each shape of input.

    Keep batches of one size where speed matters. Inside a function of your own under `jax.jit`
    such a model is like any other module.
    """

    kwargs: Any
    log_scale: Any
    bias: Any

    def encode_image(self, images: Any, **settings: Any) -> Encoded:
        """Unit-norm embeddings `[n, d]`, and tokens, of preprocessed images."""
        return _call("encode_image", self, checked_images(device_images(images)), **settings)

    def encode_text(self, text: Int[Array | np.ndarray, "n l"]) -> Encoded:
        """Unit-norm embeddings `[n, d]`, and tokens, of tokenized captions."""
        return _call("encode_text", self, self._ids(text))

    def image_hidden_states(self, images: Any) -> Float[Array, "states n t w"]:
        """What enters the image tower's first block and what leaves each of them."""
        return _call("image_hidden_states", self, checked_images(device_images(images)))

    def text_hidden_states(
        self, text: Int[Array | np.ndarray, "n l"]
    ) -> Float[Array, "states n t w"]:
        """What enters the text tower's first block and what leaves each of them."""
        return _call("text_hidden_states", self, self._ids(text))

    def logits(self, zimg: Float[Array, "n d"], ztxt: Float[Array, "m d"]) -> Float[Array, "n m"]:
        """What the model was trained to judge by: scaled (and shifted) cosines."""
        logits = zimg @ ztxt.T * jnp.exp(self.log_scale[...])
        return logits if self.bias is None else logits + self.bias[...]

    def _ids(self, text: Any) -> Any:
        tower = self.kwargs["text"]
        return checked_text(text, vocab_size=tower["vocab_size"]) if tower else text


class LoadedEncoder(Compiled, DualEncoder):  # type: ignore[misc]  # its settings pass through
    """A `DualEncoder` with weights."""


class LoadedCoCa(LoadedEncoder, CoCa):  # type: ignore[misc]
    """A `CoCa` with weights."""

    def decode(
        self, image_tokens: Float[Array, "n t c"], text_tokens: Float[Array, "n l w"]
    ) -> Float[Array, "n l v"]:
        """The logits of what follows each text token."""
        return _call("decode", self, image_tokens, text_tokens)


class LoadedAlbef(LoadedEncoder, Albef):  # type: ignore[misc]
    """An `Albef` with weights."""

    def match(
        self, image: Encoded, caption: Encoded, text: Int[Array | np.ndarray, "n l"]
    ) -> Float[Array, "n 2"]:
        """Logits of "these do not belong together" and "they do"."""
        return _call("match", self, image, caption, self._ids(text))

    def predict_tokens(
        self, image: Encoded, text: Int[Array | np.ndarray, "n l"]
    ) -> Float[Array, "n l v"]:
        """The logits of the token at each place of a text with masks, given its image."""
        return _call("predict_tokens", self, image, self._ids(text))


class LoadedBlip(LoadedEncoder, Blip):  # type: ignore[misc]
    """A `Blip` with weights."""

    def match(
        self, image: Encoded, caption: Encoded, text: Int[Array | np.ndarray, "n l"]
    ) -> Float[Array, "n 2"]:
        """Logits of "these do not belong together" and "they do"."""
        return _call("match", self, image, caption, self._ids(text))

    def decode(self, image: Encoded, text: Int[Array | np.ndarray, "n l"]) -> Float[Array, "n l v"]:
        """The logits of what follows each token of a caption."""
        return _call("decode", self, image, self._ids(text))


class LoadedVlmo(LoadedEncoder, Vlmo):  # type: ignore[misc]
    """A `Vlmo` with weights."""

    def match(
        self, image: Encoded, caption: Encoded, text: Int[Array | np.ndarray, "n l"]
    ) -> Float[Array, "n 2"]:
        """Logits of "these do not belong together" and "they do"."""
        return _call("match", self, image, caption, self._ids(text))

    def predict_tokens(
        self, image: Encoded, text: Int[Array | np.ndarray, "n l"]
    ) -> Float[Array, "n l v"]:
        """The logits of the token at each place of a text with masks, given its image."""
        return _call("predict_tokens", self, image, self._ids(text))

    def predict_words(self, text: Int[Array | np.ndarray, "n l"]) -> Float[Array, "n l v"]:
        """The logits of the token at each place of a text with masks, without an image."""
        return _call("predict_words", self, self._ids(text))


LOADED = {
    DualEncoder: LoadedEncoder,
    Albef: LoadedAlbef,
    Blip: LoadedBlip,
    CoCa: LoadedCoCa,
    Vlmo: LoadedVlmo,
}


@dataclasses.dataclass(frozen=True)
class Run:
    """A model, opened: one checkpoint of a run, or the files of another stack.

    Attributes:
        model: the model with its weights.
        preprocess: any images to what `model.encode_image` takes; None without an image tower.
        tokenizer: of the text tower; None without one, or where it was left out on purpose.
        card: see `vlp.interop.card`.
        step: updates the weights have seen; 0 for weights of another stack.
        weights: "params", or "ema": the average over the run.
        folder: where it was read.
        format: "run", or a key of `vlp.interop.formats.READERS`.
        tensors: names of what was read of another stack's files.
        left_out: what else the files of another stack hold, and why the model is without it; by
            their names of tensors.
    """

    model: LoadedEncoder
    preprocess: Any
    tokenizer: Tokenizer | None
    card: dict[str, Any]
    step: int
    weights: str
    folder: Path
    format: str = RUN
    tensors: frozenset[str] = frozenset()
    left_out: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def tokenize(self, texts: str | Sequence[str]) -> Int[np.ndarray, "n l"]:
        """Token ids int32 of one caption or several, as long as the model's text input.

        Raises:
            ValueError: the model was loaded without a tokenizer, or something is no text.
        """
        if self.tokenizer is None:
            raise ValueError(
                "tokenize needs a tokenizer, and this model was loaded without one; "
                "load it with tokenizer=FILE"
            )
        return self.tokenizer.encode(captions(texts), self.card["tokenizer"]["length"])


def abstract_model(kwargs: Mapping[str, Any]) -> LoadedEncoder:
    """The model of these keyword arguments, with shapes in place of arrays.

    Raises:
        ValueError: a setting is unknown or does not fit another.
    """
    make = LOADED[model_class(kwargs)]
    return nnx.eval_shape(lambda: make(**kwargs, rngs=nnx.Rngs(0)))


def param_shapes(kwargs: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """The shapes of a model's parameters, by name."""
    state = nnx.to_pure_dict(nnx.state(abstract_model(kwargs)))
    return {path_name(path): leaf.shape for path, leaf in leaf_paths(state)}


def zeros(kwargs: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """A model's parameters by name, all zero and without memory: for what only looks at shapes."""
    zero = np.float32(0)
    return {name: np.broadcast_to(zero, shape) for name, shape in param_shapes(kwargs).items()}


def model_of(kwargs: Mapping[str, Any], params: Mapping[str, Any]) -> LoadedEncoder:
    """The model of these keyword arguments with these parameters, by name."""
    graphdef, state = nnx.split(abstract_model(kwargs))
    filled = jax.tree_util.tree_map_with_path(
        lambda path, leaf: jax.device_put(np.asarray(params[_name(path)], leaf.dtype)),
        nnx.to_pure_dict(state),
    )
    nnx.replace_by_pure_dict(state, filled)
    return nnx.merge(graphdef, state)


def params_of(model: nnx.Module) -> dict[str, np.ndarray]:
    """A model's parameters, by name."""
    state = nnx.to_pure_dict(nnx.state(model))
    return {path_name(path): np.asarray(leaf) for path, leaf in leaf_paths(state)}


def fingerprint(model: DualEncoder) -> str:
    """A hash of a model's architecture and parameters, hexadecimal."""
    digest = hashlib.sha256(json.dumps(model.kwargs, sort_keys=True).encode())
    for name, array in sorted(params_of(model).items()):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _name(path: Any) -> str:
    return jax.tree_util.keystr(path, simple=True, separator="/")


def _call(method: str, model: Compiled, *args: Any, **kwargs: Any) -> Any:
    fixed = tuple((key, kwargs.pop(key)) for key in ("patch_drop", "train") if key in kwargs)
    graphdef, state = nnx.split(model)
    return _compiled(method, graphdef, fixed, state, args, kwargs)


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _compiled(
    method: str,
    graphdef: Any,
    fixed: tuple[tuple[str, Any], ...],
    state: Any,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Any:
    model = nnx.merge(graphdef, state)
    return getattr(super(Compiled, model), method)(*args, **dict(fixed), **kwargs)
