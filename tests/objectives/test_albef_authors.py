"""ALBEF as its authors' code computes it; what the numbers are: tests/authors/README.md."""

import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from tests.interop.tiny import in_memory
from vlp.interop.adapt import complete
from vlp.interop.albef import layout
from vlp.interop.layout import read_params, write_tensors
from vlp.interop.loaded import model_of, param_shapes, params_of
from vlp.losses import (
    captioning_loss,
    distilled_language_loss,
    matching_loss,
    momentum_contrastive_loss,
)
from vlp.models import Encoded
from vlp.objectives.common.mining import mine
from vlp.objectives.common.tokens import token_shares
from vlp.parallel.exchange import rows_taken

AUTHORS = Path(__file__).parents[1] / "authors"
PAD = 0
close = functools.partial(np.testing.assert_allclose, rtol=0, atol=1e-5)


@functools.cache
def numbers(name):
    return dict(np.load(AUTHORS / f"albef_{name}.npz", allow_pickle=False))


@pytest.mark.parametrize("alpha", ["alpha0", "alpha04"])
def test_contrast_with_queue_and_soft_targets(alpha):
    x = numbers("itc")

    def loss(zimg, ztxt, temperature):
        return jnp.mean(
            momentum_contrastive_loss(
                zimg,
                ztxt,
                keys_img=jnp.concatenate([x["image_feat_m"], x["image_queue"].T]),
                keys_txt=jnp.concatenate([x["text_feat_m"], x["text_queue"].T]),
                present=jnp.ones(18, bool),
                scale=1.0 / temperature,
                distillation=0.0 if alpha == "alpha0" else float(x["alpha"]),
            )
        )

    inputs = [jnp.asarray(x[name]) for name in ("image_feat", "text_feat", "temp")]
    value, gradients = jax.value_and_grad(loss, argnums=(0, 1, 2))(*inputs)
    close(value, x[f"{alpha}/loss_ita"])
    for gradient, name in zip(gradients, ("image_feat", "text_feat", "temp"), strict=True):
        close(gradient, x[f"{alpha}/grad/{name}"])


def test_matching_with_given_negatives():
    x = numbers("itm")
    logits = x["vl_embeddings"] @ x["itm_head.weight"].T + x["itm_head.bias"]
    close(logits, x["vl_output"])
    belongs = jnp.asarray(x["itm_labels"] == 1)
    value, gradient = jax.value_and_grad(lambda z: jnp.mean(matching_loss(z, belongs)))(
        jnp.asarray(logits)
    )
    close(value, x["loss_itm"])
    close(gradient, x["grad/vl_output"])


@pytest.mark.parametrize("alpha", ["alpha0", "alpha04"])
def test_masked_words_with_given_masks_and_soft_targets(alpha):
    x = numbers("mlm")
    targets = jnp.asarray(np.where(x["labels"] < 0, PAD, x["labels"]))
    share = token_shares(targets, pad_id=PAD, weight=jnp.ones(6))
    soft = 0.0 if alpha == "alpha0" else 0.4

    def loss(logits):
        hard = captioning_loss(logits, targets, pad_id=PAD)
        theirs = distilled_language_loss(logits, jnp.asarray(x["logits_m"]), targets, pad_id=PAD)
        return jnp.mean(share * ((1 - soft) * hard + soft * theirs))

    value, gradient = jax.value_and_grad(loss)(jnp.asarray(x["logits"]))
    close(value, x[f"{alpha}/loss_mlm"])
    close(gradient, x[f"{alpha}/grad/logits"])


TEACHER = ("visual_encoder", "vision_proj", "text_encoder", "text_proj")


def state_of(*, teacher):
    """The authors' weights; the teacher's have names of their own, but for heads it lacks."""
    state = {k.removeprefix("state/"): v for k, v in numbers("pretrain").items() if "state/" in k}
    for part in TEACHER if teacher else ():
        moved = {k: v for k, v in state.items() if k.startswith(f"{part}_m.")}
        state |= {name.replace(f"{part}_m.", f"{part}.", 1): v for name, v in moved.items()}
    return state


@functools.cache
def kwargs_and_rules():
    kwargs = layout.kwargs(layout.cleared(in_memory(state_of(teacher=False))).shapes)
    for tower in ("image", "text", "fusion"):
        kwargs[tower]["num_heads"] = 4  # no head is 64 wide here
    return kwargs, layout.rules(complete(kwargs))


@functools.cache
def params(*, teacher):
    kwargs, rules = kwargs_and_rules()
    theirs = layout.cleared(in_memory(state_of(teacher=teacher)))
    return read_params(rules, theirs, param_shapes(kwargs))


def encoded(model, tower, projection, inputs):
    pooled, tokens = tower(inputs)
    z = projection(pooled)
    return Encoded(z / jnp.linalg.norm(z, axis=1, keepdims=True), tokens, pooled)


def both(model):
    """The images are given as normalised pixels."""
    x = numbers("pretrain")
    pixels = jnp.asarray(x["image"].transpose(0, 2, 3, 1))
    return (
        encoded(model, model.image, model.image_projection, pixels),
        encoded(model, model.text, model.text_projection, jnp.asarray(x["text"])),
    )


def step_losses(model, teacher, alpha):
    """The three losses of the authors' step, by their picks of negatives and masks."""
    x = numbers("pretrain")
    text, masked = jnp.asarray(x["text"]), jnp.asarray(x["masked_text"])
    image, caption = both(model)
    slow_image, slow_caption = both(teacher)
    old = {name: x[f"state/{name}_queue"].T for name in ("image", "text")}
    contrastive = momentum_contrastive_loss(
        image.embedding,
        caption.embedding,
        keys_img=jnp.concatenate([slow_image.embedding, old["image"]]),
        keys_txt=jnp.concatenate([slow_caption.embedding, old["text"]]),
        present=jnp.ones(18, bool),
        scale=jnp.exp(model.log_scale[...]),
        distillation=alpha,
    )
    wrong_image = rows_taken(image, jnp.asarray(x["negative_image_of_text"]), mesh=None)
    chosen = jnp.asarray(x["negative_text_of_image"])
    three = (
        (image, caption, text),
        (wrong_image, caption, text),
        (image, rows_taken(caption, chosen, mesh=None), text[chosen]),
    )
    logits = model.match(*jax.tree.map(lambda *parts: jnp.concatenate(parts), *three))
    matching = matching_loss(logits, jnp.arange(18) < 6)
    targets = jnp.asarray(np.where(x["labels"] < 0, PAD, x["labels"]))
    guesses = model.predict_tokens(image, masked)
    theirs = teacher.predict_tokens(slow_image, masked)
    hard = captioning_loss(guesses, targets, pad_id=PAD)
    soft = distilled_language_loss(guesses, theirs, targets, pad_id=PAD)
    share = token_shares(targets, pad_id=PAD, weight=jnp.ones(6))
    words = jnp.mean(share * ((1 - alpha) * hard + alpha * soft))
    outputs = dict(
        image_embeds=image.tokens,
        text_embeds=caption.tokens,
        fused_positive=model.fuse(image, caption, text),
        vl_output=logits,
        mlm_logits=guesses,
        mlm_logits_m=theirs,
        image_feat_m=slow_image.embedding,
        text_feat_m=slow_caption.embedding,
    )
    return dict(ita=jnp.mean(contrastive), itm=jnp.mean(matching), mlm=words), outputs


@functools.cache
def whole_step(alpha):
    """Losses, outputs and gradients by the authors' names."""
    kwargs, rules = kwargs_and_rules()
    x = numbers("pretrain")
    student, start = params(teacher=False), params(teacher=True)
    decay = float(x["momentum"])
    slow = {name: decay * start[name] + (1 - decay) * student[name] for name in student}
    graphdef, state = nnx.split(model_of(kwargs, student))
    teacher = model_of(kwargs, slow)

    def total(state):
        losses, outputs = step_losses(nnx.merge(graphdef, state), teacher, alpha)
        return sum(losses.values()), (losses, outputs)

    gradient, (losses, outputs) = jax.jit(jax.grad(total, has_aux=True))(state)
    return losses, outputs, write_tensors(rules, params_of(nnx.merge(graphdef, gradient)))


@pytest.mark.parametrize(("alpha", "prefix"), [(0.0, "alpha0/"), (0.4, "")])
def test_the_whole_step_gives_the_authors_losses(alpha, prefix):
    losses, *_ = whole_step(alpha)
    for name, value in losses.items():
        close(value, numbers("pretrain")[f"{prefix}loss_{name}"], err_msg=name)


def test_towers_fusion_and_heads_give_the_authors_outputs():
    _, outputs, _ = whole_step(0.4)
    for name, value in outputs.items():
        close(value, numbers("pretrain")[name], err_msg=name)


@pytest.mark.parametrize(("alpha", "prefix"), [(0.0, "alpha0/"), (0.4, "")])
def test_every_gradient_has_the_authors_norm(alpha, prefix):
    x = numbers("pretrain")
    *_, gradients = whole_step(alpha)
    for name, want in zip(x["gradient_names"], x[f"{prefix}gradient_norms"], strict=True):
        if name == "temp":  # ours is its logarithm's
            continue
        got = np.linalg.norm(gradients[str(name)])
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5, err_msg=name)


def test_negatives_are_drawn_by_the_authors_weights():
    x = numbers("pretrain")
    scale = 1 / x["state/temp"]
    for way, z, keys in (
        ("i2t", x["image_feat"], x["text_feat_m"]),
        ("t2i", x["text_feat"], x["image_feat_m"]),
    ):
        scores = jnp.asarray(scale * z @ keys.T)
        many = jax.random.split(jax.random.key(0), 4000)
        draw = jax.jit(
            jax.vmap(
                lambda key, scores=scores: mine(scores, matches=jnp.eye(6, dtype=bool), key=key)[0]
            )
        )
        counts = np.stack([np.bincount(c, minlength=6) for c in np.asarray(draw(many)).T])
        want = x[f"weights_{way}"] / x[f"weights_{way}"].sum(axis=1, keepdims=True)
        assert np.abs(counts / 4000 - want).max() < 4 * 0.5 / np.sqrt(4000)
