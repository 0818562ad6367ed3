"""Small runs of both shapes: random weights everywhere, so that no term of a sum is zero."""

import functools
import random
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from data_pipelines.images import ImagePreprocess
from data_pipelines.text import SentencePieceTokenizer, train_sentencepiece
from vlp.interop.card import build_card, write_card
from vlp.interop.loaded import Loaded, Run, abstract_model
from vlp.interop.tensors import Tensors
from vlp.training.checkpoint.checkpoints import Checkpoints
from vlp.training.state import TrainState

SIZE, LENGTH, VOCABULARY = 24, 12, 420
_WORDS = """a the red blue heart cat dog face smiling woman man family flag: of japan café naïve
日本語 person’s hands raised light skin tone #1 number 100 don't stop ✨ < > & ;""".split()


@functools.cache
def tokenizer() -> SentencePieceTokenizer:
    """A small vocabulary with single letters, whole words and bytes."""
    rng = random.Random(0)
    lines = [" ".join(rng.choices(_WORDS, k=6)) for _ in range(1500)]
    return train_sentencepiece(lines, vocab_size=VOCABULARY, name="tiny")


def kwargs(kind: str) -> dict:
    """The arguments of a dual encoder that CLIPModel ("clip") or SiglipModel can express."""
    image = dict(image_size=SIZE, patch_size=8, width=24, depth=2, num_heads=3)
    text = dict(vocab_size=VOCABULARY, length=LENGTH, width=16, depth=2, num_heads=2)
    if kind == "clip":
        image |= dict(pool="cls", pre_norm=True, patch_bias=False, norm_eps=1e-5)
        image["activation"] = "quick_gelu"
        text |= dict(causal=True, pool="eot", norm_eps=1e-5)
        return dict(image=image, text=text, embed_dim=20)
    shared = dict(activation="gelu_tanh")
    image |= dict(pool="map", patch_bias=True, **shared)
    text |= dict(causal=False, pool="last", **shared)
    projections = dict(image_projection="none", text_projection="linear_bias")
    return dict(
        image=image, text=text, embed_dim=24, init_scale=10.0, init_bias=-10.0, **projections
    )


def merged(base: dict, changes: dict) -> dict:
    """`base` with dotted settings such as {"image.pool": "mean"} changed."""
    result = {key: dict(value) if isinstance(value, dict) else value for key, value in base.items()}
    for name, value in changes.items():
        section, _, key = name.rpartition(".")
        (result[section] if section else result)[key] = value
    return result


def model(settings: dict, *, seed: int = 0) -> Loaded:
    """A dual encoder with noise on every parameter, biases and scales included.

    Filled by numpy: compiling the initialisation would take longer than all else in a test.
    """
    rng = np.random.default_rng(seed)
    abstract = abstract_model(settings)
    graphdef, state = nnx.split(abstract)

    def fill(path, leaf):
        name = jax.tree_util.keystr(path)
        centre = 1.0 if "scale" in name or "variance" in name else 0.0
        return jnp.asarray(centre + 0.2 * rng.normal(size=leaf.shape), jnp.float32)

    return nnx.merge(graphdef, jax.tree_util.tree_map_with_path(fill, state))


def in_memory(arrays: dict) -> Tensors:
    """Arrays as what a file of weights gives."""
    shapes = {name: array.shape for name, array in arrays.items()}
    return Tensors("arrays", shapes, arrays.__getitem__)


def make_run(kind: str, *, resize: str = "squash", seed: int = 0, **changes) -> Run:
    """A run in memory; `changes` as in `merged`."""
    built = model(merged(kwargs(kind), changes), seed=seed)
    preprocess = ImagePreprocess(built.image.image_size, resize=resize)
    card = build_card(
        model=built.kwargs,
        preprocess=preprocess.to_dict(),
        tokenizer=tokenizer(),
        text_length=LENGTH,
        objective=kind,
        licence="apache-2.0",
        attribution="Drawings: nobody.\nNames: everybody.",
    )
    return Run(
        model=built,
        preprocess=preprocess,
        tokenizer=tokenizer(),
        card=card,
        step=3,
        weights="params",
        folder=Path("tiny"),
    )


def save_run(run: Run, folder: Path, *, steps=(1,), average: Run | None = None) -> Path:
    """Writes a run as training does: card, tokenizer, and a checkpoint for each of `steps`."""

    def params(of: Run, step: int):
        pure = nnx.to_pure_dict(nnx.state(of.model))
        return jax.tree.map(lambda leaf: leaf * np.float32(step), pure)

    folder.mkdir(parents=True, exist_ok=True)
    run.tokenizer.save(folder / run.card["tokenizer"]["file"])
    write_card(run.card, folder)
    checkpoints = Checkpoints(folder / "checkpoints", config={}, card=run.card)
    for step in steps:
        state = TrainState(
            step=jnp.asarray(step, jnp.int32),
            params=params(run, step),
            opt_state=(),
            averaged=params(average, step) if average else None,
        )
        checkpoints.save(step, state)
    checkpoints.close()
    return folder
