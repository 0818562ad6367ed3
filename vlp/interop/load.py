"""A trained model, its image preprocessing and its tokenizer, from the folder of a run.

import vlp
model, preprocess, tokenize = vlp.load("runs/emoji")
zimg = model.encode_image(preprocess(["cat.png"])).embedding
ztxt = model.encode_text(tokenize(["a cat face", "a red heart"])).embedding
print(zimg @ ztxt.T)
"""

import dataclasses
import functools
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int, Key, UInt8

from data_pipelines.images import ImagePreprocess
from data_pipelines.text import SentencePieceTokenizer
from vlp.interop.card import FILE, check_tokenizer, validate_card
from vlp.models import DualEncoder, Encoded
from vlp.training.checkpoint import find_checkpoint, load_params, read_json

WEIGHTS = ("auto", "params", "ema")


class LoadedEncoder(DualEncoder):
    """A `DualEncoder` with weights, whose methods may be called as they are.

    Each is compiled at the first call with each shape of input, so keep batches of one size where
    speed matters. Inside a function of your own under `jax.jit` it is like any other module.
    """

    def encode_image(  # type: ignore[override]  # for evaluation only: nothing to `train`
        self,
        images: UInt8[Array | np.ndarray, "n h w 3"],
        *,
        keys: Key[Array, " n"] | None = None,
        patch_drop: float = 0.0,
    ) -> Encoded:
        """Unit-norm embeddings `[n, d]`, and tokens, of preprocessed images."""
        return _encode_image(*nnx.split(self), images, keys, patch_drop)

    def encode_text(self, text: Int[Array | np.ndarray, "n l"]) -> Encoded:
        """Unit-norm embeddings `[n, d]`, and tokens, of tokenized captions."""
        return _encode_text(*nnx.split(self), text)

    def logits(self, zimg: Float[Array, "n d"], ztxt: Float[Array, "m d"]) -> Float[Array, "n m"]:
        """What the model was trained to judge by: scaled (and shifted) cosines."""
        logits = zimg @ ztxt.T * jnp.exp(self.log_scale[...])
        return logits if self.bias is None else logits + self.bias[...]


@functools.partial(jax.jit, static_argnums=(0, 4))
def _encode_image(graphdef: Any, state: Any, images: Any, keys: Any, patch_drop: float) -> Encoded:
    model = nnx.merge(graphdef, state)
    return DualEncoder.encode_image(model, images, keys=keys, patch_drop=patch_drop)


@functools.partial(jax.jit, static_argnums=0)
def _encode_text(graphdef: Any, state: Any, text: Any) -> Encoded:
    return DualEncoder.encode_text(nnx.merge(graphdef, state), text)


@dataclasses.dataclass(frozen=True)
class Run:
    """One checkpoint of a run, opened.

    Attributes:
        model: the model with its weights.
        preprocess: any images to uint8 `[n, size, size, 3]`.
        tokenizer: the run's tokenizer.
        card: see `vlp.interop.card`.
        step: updates the weights have seen.
        weights: "params", or "ema": the average over the run.
        folder: the folder of the run.
    """

    model: LoadedEncoder
    preprocess: ImagePreprocess
    tokenizer: SentencePieceTokenizer
    card: dict[str, Any]
    step: int
    weights: str
    folder: Path

    def tokenize(self, texts: str | Sequence[str]) -> Int[np.ndarray, "n l"]:
        """Token ids int32 of one caption or several, as long as the model's text input."""
        texts = [texts] if isinstance(texts, str) else list(texts)
        return self.tokenizer.encode(texts, self.card["tokenizer"]["length"])


def load(
    path: str | os.PathLike, *, weights: str = "auto"
) -> tuple[LoadedEncoder, ImagePreprocess, Callable[[str | Sequence[str]], np.ndarray]]:
    """What one needs to embed images and texts with a trained model.

    Args:
        path: the workdir of `vlp train`, for its newest undamaged checkpoint, or the folder of one
            checkpoint.
        weights: "ema" for the average of the weights, "params" for the weights themselves, "auto"
            for the average where the run kept one.

    Returns:
        The model (`encode_image`, `encode_text`), `preprocess` (paths, Pillow images or arrays to
        uint8 `[n, size, size, 3]`) and `tokenize` (captions to int32 `[n, l]`).

    Raises:
        ValueError: not a run, no checkpoint yet, all damaged, or the wrong tokenizer beside it.
    """
    run = load_run(path, weights=weights)
    return run.model, run.preprocess, run.tokenize


def load_run(path: str | os.PathLike, *, weights: str = "auto") -> Run:
    """As `load`, with the card and the pieces by name."""
    if weights not in WEIGHTS:
        raise ValueError(f"weights must be one of {', '.join(WEIGHTS)}, got {weights!r}")
    folder, checkpoint = _find(Path(path))
    card = validate_card(read_json(checkpoint, "card"), source=f"the card in {checkpoint}")
    tokenizer = _tokenizer(folder, card)
    model, used = _model(card, checkpoint, weights)
    return Run(
        model=model,
        preprocess=ImagePreprocess.from_dict(card["preprocess"]),
        tokenizer=tokenizer,
        card=card,
        step=int(checkpoint.name),
        weights=used,
        folder=folder,
    )


def _find(path: Path) -> tuple[Path, Path]:
    """The folders of the run and of the checkpoint that `path` means."""
    path = path.resolve()
    if path.name.isdecimal() and path.parent.name == "checkpoints":
        folder, checkpoints = path.parent.parent, path
    else:
        folder = path.parent if path.name == "checkpoints" else path
        checkpoints = folder / "checkpoints"
    if not folder.is_dir() or not (checkpoints.exists() or (folder / FILE).exists()):
        raise ValueError(
            f"a run must be a folder with checkpoints/ and {FILE}, {path} is none; "
            "give the --workdir of `vlp train`, or one of its checkpoints/STEP"
        )
    return folder, Path(find_checkpoint(checkpoints))


def _tokenizer(folder: Path, card: dict[str, Any]) -> SentencePieceTokenizer:
    path = folder / card["tokenizer"]["file"]
    if not path.is_file():
        raise ValueError(
            f"the run's tokenizer must be at {path}, found none; copy it back from where it trained"
        )
    tokenizer = SentencePieceTokenizer.load(path, name=card["tokenizer"]["name"])
    check_tokenizer(card, tokenizer)
    return tokenizer


def _model(card: dict[str, Any], checkpoint: Path, weights: str) -> tuple[LoadedEncoder, str]:
    abstract = nnx.eval_shape(lambda: LoadedEncoder(**card["model"], rngs=nnx.Rngs(0)))
    graphdef, state = nnx.split(abstract)
    params, used = _params(checkpoint, weights)
    given = dict(jax.tree_util.tree_leaves_with_path(params))
    wanted = dict(jax.tree_util.tree_leaves_with_path(nnx.to_pure_dict(state)))
    wrong = [p for p in given.keys() | wanted.keys() if not _fits(given.get(p), wanted.get(p))]
    if wrong:
        names = sorted(jax.tree_util.keystr(path, simple=True, separator="/") for path in wrong)
        raise ValueError(
            f"the weights in {checkpoint} must fit the card's model, {len(wrong)} arrays do not, "
            f"such as {names[0]}; put back the card this run was trained with"
        )
    nnx.replace_by_pure_dict(state, jax.tree.map(jnp.asarray, params))
    return nnx.merge(graphdef, state), used


def _fits(given: Any, wanted: Any) -> bool:
    return given is not None and wanted is not None and given.shape == wanted.shape


def _params(checkpoint: Path, weights: str) -> tuple[Any, str]:
    if weights == "params":
        return load_params(checkpoint), "params"
    try:
        return load_params(checkpoint, which="teacher"), "ema"
    except ValueError:
        if weights == "ema":
            raise
        return load_params(checkpoint), "params"
