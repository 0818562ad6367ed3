"""Models with weights, whose methods may be called as they are."""

import dataclasses
import functools
import hashlib
import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int

from data_pipelines.audio import Spectrogram, open_spectrogram
from data_pipelines.text import Tokenizer
from vlp.interop.given import captions, checked_images, checked_text
from vlp.interop.runs import RUN
from vlp.metrics import scores
from vlp.models.base import Encoded, Model
from vlp.models.build import model_class, without_kind
from vlp.models.naflex import device_images
from vlp.remote import Place
from vlp.training.params import by_path, leaf_paths, path_name

# What of a model takes arrays.
METHODS = (
    "encode", "encode_image", "encode_text", "hidden_states", "image_hidden_states",
    "text_hidden_states", "fuse", "match", "decode", "predict_tokens", "predict_words",
    "predict_pixels",
)  # fmt: skip
_STATIC = (bool, int, float, str)  # settings, which a compiled function is made for


class Loaded(Model):
    """A model with weights; abstract, see `loaded_class`.

    Compiles the methods of the class behind it, once for each shape of input: keep batches of one
    size where speed matters. Inside a function of your own under `jax.jit` such a model is like
    any other module.
    """

    encode_image: Callable[..., Encoded]
    encode_text: Callable[..., Encoded]

    def logits(
        self, zimg: Float[Array, "n *q d"], ztxt: Float[Array, "m d"]
    ) -> Float[Array, "n m"]:
        """What the model was trained to judge by: scaled (and shifted) cosines."""
        logits = scores(zimg, ztxt) * jnp.exp(self.log_scale[...])
        return logits if self.bias is None else logits + self.bias[...]

    def _checked(self, given: dict[str, Any]) -> dict[str, Any]:
        """Arguments from outside, with arrays that a tower can take."""
        name, tower = given.get("name"), self.kwargs.get("text")
        for argument, value in given.items():
            if argument == "images" or (argument == "inputs" and name == "image"):
                given[argument] = checked_images(device_images(value))
            elif tower and (argument == "text" or (argument == "inputs" and name == "text")):
                given[argument] = checked_text(value, vocab_size=tower["vocab_size"])
        return given


def _compiling(method: str, function: Callable) -> Callable:
    """A method that compiles the one of that name in the class behind."""
    names = tuple(inspect.signature(function).parameters)[1:]

    @functools.wraps(function)
    def call(self: Loaded, *args: Any, **kwargs: Any) -> Any:
        given = self._checked(dict(zip(names, args, strict=False)) | kwargs)
        fixed = {name: value for name, value in given.items() if isinstance(value, _STATIC)}
        arrays = {name: value for name, value in given.items() if name not in fixed}
        return _compiled(method, *nnx.split(self), tuple(fixed.items()), arrays)

    return call


@functools.cache
def loaded_class(make: type[Model]) -> Any:
    """The class of a model with weights, whose methods on arrays may be called as they are."""
    methods = {
        name: _compiling(name, function)
        for name in METHODS
        if (function := getattr(make, name, None)) is not None
    }
    return type(f"Loaded{make.__name__}", (Loaded, make), methods)


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

    model: Loaded
    preprocess: Any
    tokenizer: Tokenizer | None
    card: dict[str, Any]
    step: int
    weights: str
    folder: Place
    format: str = RUN
    tensors: frozenset[str] = frozenset()
    left_out: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def spectrogram(self) -> Spectrogram | None:
        """Sounds to what `model.encode("audio", ...)` takes; None where the model does not hear."""
        values = self.card.get("audio")
        return values and open_spectrogram(values)

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


def abstract_model(kwargs: Mapping[str, Any]) -> Loaded:
    """The model of these keyword arguments, with shapes in place of arrays.

    Raises:
        ValueError: a setting is unknown or does not fit another.
    """
    make = loaded_class(model_class(kwargs))
    return nnx.eval_shape(lambda: make(**without_kind(kwargs), rngs=nnx.Rngs(0)))


def param_shapes(kwargs: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """The shapes of a model's parameters, by name."""
    state = nnx.to_pure_dict(nnx.state(abstract_model(kwargs)))
    return {path_name(path): leaf.shape for path, leaf in leaf_paths(state)}


def without_weights(fit: Callable[..., Any]) -> Callable[..., None]:
    """Of a function that brings a model into another stack's shape one that only says whether it
    can: it takes the model's keyword arguments alone, and raises as the other does.

    Args:
        fit: of keyword arguments, parameters by name, and settings.
    """

    def check(kwargs: Mapping[str, Any], **settings: Any) -> None:
        shapes, zero = param_shapes(kwargs), np.float32(0)  # seen as arrays, without their memory
        zeros = {name: np.broadcast_to(zero, shape) for name, shape in shapes.items()}
        fit(kwargs, zeros, **settings)

    return check


def model_of(kwargs: Mapping[str, Any], params: Mapping[str, Any]) -> Loaded:
    """The model of these keyword arguments with these parameters, by name."""
    graphdef, state = nnx.split(abstract_model(kwargs))
    filled = by_path(
        nnx.to_pure_dict(state),
        lambda path, leaf: jax.device_put(np.asarray(params[path_name(path)], leaf.dtype)),
    )
    nnx.replace_by_pure_dict(state, filled)
    return nnx.merge(graphdef, state)


def with_settings(
    model: Model,
    *,
    image: Mapping[str, Any] | None = None,
    text: Mapping[str, Any] | None = None,
    **towers: Any,
) -> Loaded:
    """The same weights in a model with settings that change none of them.

    Args:
        model: whose weights.
        image, text: of that tower.
        **towers: of every tower that was given such a setting, such as `dtype`.

    Raises:
        ValueError: a tower has no such setting.
    """
    kwargs = model.kwargs
    for name in ("image", "text"):
        if kwargs[name] is not None:
            kwargs[name] |= {key: towers[key] for key in towers if key in kwargs[name]}
    for name, own in (("image", image), ("text", text)):
        if kwargs[name] is not None:
            kwargs[name] |= own or {}
    return nnx.merge(nnx.graphdef(abstract_model(kwargs)), nnx.state(model))


def params_of(model: nnx.Module) -> dict[str, np.ndarray]:
    """A model's parameters, by name."""
    state = nnx.to_pure_dict(nnx.state(model))
    return {path_name(path): np.asarray(leaf) for path, leaf in leaf_paths(state)}


def fingerprint(model: Any) -> str:
    """A hash of a model's architecture and parameters, hexadecimal."""
    digest = hashlib.sha256(json.dumps(model.kwargs, sort_keys=True).encode())
    for name, array in sorted(params_of(model).items()):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


@functools.partial(jax.jit, static_argnums=(0, 1, 3))
def _compiled(
    method: str, graphdef: Any, state: Any, fixed: tuple[tuple[str, Any], ...], arrays: Any
) -> Any:
    model = nnx.merge(graphdef, state)
    return getattr(super(Loaded, model), method)(**dict(fixed), **arrays)
