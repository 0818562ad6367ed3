"""A dual encoder of two matrices, its contrastive loss, and batches as a function of the step."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from vlp.objectives import Losses, Momentum, Objective, Term
from vlp.parallel.mesh import make_mesh
from vlp.training.optim.groups import resolve
from vlp.training.optim.optimizers import make_optimizer
from vlp.training.optim.schedules import make_schedule
from vlp.training.setup import make_training
from vlp.training.state import abstract_model

PAIRS, SIZE, WIDTH, WORDS, LENGTH = 16, 4, 16, 32, 5


class ImageTower(nnx.Module):
    """A matrix, then a stack of two residual layers held as one array."""

    def __init__(self, *, rngs):
        self.embed = nnx.Linear(SIZE * SIZE * 3, WIDTH, rngs=rngs)
        self.blocks = nnx.Dict(kernel=nnx.Param(rngs.params.normal((2, WIDTH, WIDTH)) / 8))

    def __call__(self, x):
        x = self.embed(x)
        layers = self.blocks["kernel"][...]
        return jax.lax.scan(lambda x, layer: (x + jnp.tanh(x @ layer), None), x, layers)[0]


class TextTower(nnx.Module):
    """The mean of word vectors."""

    def __init__(self, *, rngs):
        self.tokens = nnx.Param(rngs.params.normal((WORDS, WIDTH)))

    def __call__(self, text):
        return self.tokens[...][text].mean(axis=1)


class Toy(nnx.Module):
    """Image and text towers and a temperature."""

    def __init__(self, rngs):
        self.image = ImageTower(rngs=rngs)
        self.text = TextTower(rngs=rngs)
        self.log_scale = nnx.Param(jnp.ones(()))

    def encode_image(self, images):
        pixels = images.reshape(len(images), -1).astype(jnp.float32) / 255 - 0.5
        return unit_norm(self.image(pixels))

    def encode_text(self, text):
        return unit_norm(self.text(text))


def unit_norm(x):
    return x * jax.lax.rsqrt(jnp.sum(x * x, axis=-1, keepdims=True) + 1e-6)


class ToyClip(Objective):
    """CLIP's loss with noise on the images, so that randomness counts; NaN for a white image.

    Args:
        carries: count the batches.
        momentum: of an average.
    """

    def __init__(self, *, carries=False, momentum=None):
        self.carries, self.momentum = carries, momentum

    def make_carry(self, model, *, global_batch_size):
        return jnp.zeros(()) if self.carries else None

    def __call__(self, ctx):
        rows, scale = contrast(ctx.model, ctx.batch, key=ctx.key)
        carry = ctx.carry + 1.0 if self.carries else None
        return Losses({"contrastive": Term(rows)}, {"scale": scale, "rows": rows}, carry)


def contrast(model, batch, *, key):
    """Losses an example, and the scale."""
    zimg = model.encode_image(batch["image"])
    zimg = zimg + 0.01 * jax.random.normal(key, zimg.shape)
    ztxt = model.encode_text(batch["text"])
    scale = jnp.exp(model.log_scale[...])
    logits = zimg @ ztxt.T * scale + jnp.where(batch["weight"] > 0, 0.0, -1e9)[None, :]
    rows = -jnp.diagonal(jax.nn.log_softmax(logits, axis=1))
    white = jnp.all(batch["image"] == 255, axis=(1, 2, 3))
    return rows + jnp.where(white, jnp.nan, 0.0) * zimg[:, 0], scale


COUNTING = ToyClip(carries=True, momentum=Momentum(0.8, warmup=True))


def make_batch(step):
    """The global batch of a step, host-only keys included."""
    rng = np.random.default_rng(step)
    return {
        "image": rng.integers(0, 255, (PAIRS, SIZE, SIZE, 3), dtype=np.uint8),
        "text": rng.integers(0, WORDS, (PAIRS, LENGTH), dtype=np.int32),
        "weight": np.asarray([1.0] * (PAIRS - 2) + [0.0, 0.0], np.float32),
        "id": np.arange(PAIRS, dtype=np.int64) + step * PAIRS,
        "reject": np.zeros(PAIRS, np.uint8),
    }


def device_batch(step):
    """The part of it that the device sees."""
    return {k: v for k, v in make_batch(step).items() if k not in ("id", "reject")}


class Loader:
    """Batches of steps 1, 2, ..., this process's share of each."""

    def __init__(self, *, process=0, processes=1, white=()):
        self.step, self.white = 0, white
        share = PAIRS // processes
        self.share = slice(process * share, (process + 1) * share)

    def __next__(self):
        self.step += 1
        batch = make_batch(self.step)
        if self.step in self.white:
            batch["image"][:] = 255
        return {name: value[self.share] for name, value in batch.items()}

    def get_state(self):
        return {"step": self.step}

    def set_state(self, state):
        self.step = state["step"]


def make_toy_training(
    *, mesh=None, objective=None, optimizer="adamw", peak=1e-2, groups=None, **settings
):
    """A training of the toy; arrays of 8 elements and more are worth dividing."""
    return make_training(
        lambda rngs: Toy(rngs),
        objective or ToyClip(),
        mesh=mesh if mesh is not None else make_mesh(data=1, devices=jax.devices()[:1]),
        optimizer=make_optimizer(
            optimizer,
            schedule=make_schedule("cosine", peak=peak, steps=20, warmup=2),
            weight_decay=0.1,
            groups=resolve(groups or {}, abstract_model(Toy)[1]),
        ),
        global_batch_size=PAIRS,
        fsdp_min_elements=8,
        **settings,
    )
