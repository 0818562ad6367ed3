"""BLIP as its authors' code computes it; what the numbers are: tests/authors/README.md."""

import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from safetensors.numpy import save_file

from tests.interop.tiny import in_memory
from tests.models.following import following
from vlp.interop.adapt import complete
from vlp.interop.blip import layout
from vlp.interop.layout import read_params, write_tensors
from vlp.interop.load import load_run
from vlp.interop.loaded import model_of, param_shapes, params_of
from vlp.losses import captioning_loss, matching_loss, momentum_contrastive_loss
from vlp.models import Encoded
from vlp.objectives.common.mining import mine
from vlp.objectives.common.tokens import token_shares
from vlp.parallel.exchange import rows_taken

AUTHORS = Path(__file__).parents[1] / "authors"
PAD = 0
TEACHER = ("visual_encoder", "vision_proj", "text_encoder", "text_proj")
close = functools.partial(np.testing.assert_allclose, rtol=0, atol=1e-5)


@functools.cache
def numbers(name):
    return dict(np.load(AUTHORS / f"blip_{name}.npz", allow_pickle=False))


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
    for tower in ("image", "text"):
        kwargs[tower]["num_heads"] = 4  # no head is 64 wide here
    return kwargs | {"end_id": 3}, layout.rules(complete(kwargs))


@functools.cache
def params(*, teacher):
    kwargs, rules = kwargs_and_rules()
    state = state_of(teacher=teacher)
    # The teacher has no decoder of its own, whose copies would be the student's.
    copies = layout.cleared(in_memory(state_of(teacher=False))).left_out
    theirs = {name: array for name, array in state.items() if name not in copies}
    return read_params(rules, theirs, param_shapes(kwargs))


def encoded(tower, projection, inputs):
    pooled, tokens = tower(inputs)
    z = projection(pooled)
    return Encoded(z / jnp.linalg.norm(z, axis=1, keepdims=True), tokens, pooled)


def both(model):
    """The images are given as normalised pixels."""
    x = numbers("pretrain")
    pixels = jnp.asarray(x["image"].transpose(0, 2, 3, 1))
    return (
        encoded(model.image, model.image_projection, pixels),
        encoded(model.text, model.text_projection, jnp.asarray(x["text"])),
    )


def contrast(zimg, ztxt, keys_img, keys_txt, *, scale, alpha, queues):
    return momentum_contrastive_loss(
        zimg,
        ztxt,
        keys_img=jnp.concatenate([keys_img, queues["image_queue"].T]),
        keys_txt=jnp.concatenate([keys_txt, queues["text_queue"].T]),
        present=jnp.ones(18, bool),
        scale=scale,
        distillation=alpha,
    )


def captions(logits, targets):
    """The loss of captions, over all tokens of the batch."""
    share = token_shares(targets, pad_id=PAD, weight=jnp.ones(len(targets)))
    return share * captioning_loss(logits, targets, pad_id=PAD, label_smoothing=0.1)


@pytest.mark.parametrize("prefix", ["alpha0", "alpha04"])
def test_contrast_with_queue_and_soft_targets(prefix):
    x = numbers("itc")
    alpha = 0.0 if prefix == "alpha0" else float(x["alpha"])
    keys = (x["image_feat_m"], x["text_feat_m"])

    def loss(zimg, ztxt, temperature):
        scale = 1.0 / temperature
        return jnp.mean(contrast(zimg, ztxt, *keys, scale=scale, alpha=alpha, queues=x))

    inputs = [jnp.asarray(x[name]) for name in ("image_feat", "text_feat", "temp")]
    value, gradients = jax.value_and_grad(loss, argnums=(0, 1, 2))(*inputs)
    close(value, x[f"{prefix}/loss_ita"])
    for gradient, name in zip(gradients, ("image_feat", "text_feat", "temp"), strict=True):
        close(gradient, x[f"{prefix}/grad/{name}"])


def test_captions_with_smoothed_labels():
    x = numbers("lm")
    targets = jnp.asarray(np.where(x["decoder_targets"] < 0, PAD, x["decoder_targets"]))[:, 1:]

    def loss(logits):
        return jnp.mean(captions(logits[:, :-1], targets))

    value, gradient = jax.value_and_grad(loss)(jnp.asarray(x["logits"]))
    close(value, x["loss_lm"])
    close(gradient, x["grad/logits"])


def step_losses(model, teacher, alpha):
    """The three losses of the authors' step, by their picks of negatives."""
    x = numbers("pretrain")
    text = jnp.asarray(x["text"])
    image, caption = both(model)
    slow_image, slow_caption = both(teacher)
    scale = jnp.exp(model.log_scale[...])
    queues = {f"{name}_queue": x[f"state/{name}_queue"] for name in ("image", "text")}
    contrastive = contrast(
        image.embedding,
        caption.embedding,
        slow_image.embedding,
        slow_caption.embedding,
        scale=scale,
        alpha=alpha,
        queues=queues,
    )
    wrong_image = rows_taken(image, jnp.asarray(x["negative_image_of_text"]), mesh=None)
    chosen = jnp.asarray(x["negative_text_of_image"])
    three = (
        (image, caption, text),
        (wrong_image, caption, text),
        (image, rows_taken(caption, chosen, mesh=None), text[chosen]),
    )
    logits = model.match(*jax.tree.map(lambda *parts: jnp.concatenate(parts), *three))
    words = following(model, image, None, text)
    losses = dict(
        ita=jnp.mean(contrastive),
        itm=jnp.mean(matching_loss(logits, jnp.arange(18) < 6)),
        lm=jnp.mean(captions(words[:, :-1], text[:, 1:])),
    )
    outputs = dict(
        image_embeds=image.tokens,
        text_embeds=caption.tokens,
        vl_output=logits,
        lm_logits=words,
        image_feat_m=slow_image.embedding,
        text_feat_m=slow_caption.embedding,
    )
    return losses, outputs


@functools.cache
def whole_step(alpha):
    """Losses, outputs and gradients by the authors' names."""
    kwargs, rules = kwargs_and_rules()
    student, start = params(teacher=False), params(teacher=True)
    decay = float(numbers("pretrain")["momentum"])
    slow = {name: decay * start[name] + (1 - decay) * student[name] for name in student}
    graphdef, state = nnx.split(model_of(kwargs, student))
    teacher = model_of(kwargs, slow)

    def total(state):
        losses, outputs = step_losses(nnx.merge(graphdef, state), teacher, alpha)
        return sum(losses.values()), (losses, outputs)

    gradient, (losses, outputs) = jax.jit(jax.grad(total, has_aux=True))(state)
    return losses, outputs, write_tensors(rules, params_of(nnx.merge(graphdef, gradient)))


ALPHAS = pytest.mark.parametrize(("alpha", "prefix"), [(0.0, "alpha0/"), (0.4, "")])


@ALPHAS
def test_the_whole_step_gives_the_authors_losses(alpha, prefix):
    losses, *_ = whole_step(alpha)
    for name, value in losses.items():
        close(value, numbers("pretrain")[f"{prefix}loss_{name}"], err_msg=name)


def test_the_three_modes_give_the_authors_outputs():
    _, outputs, _ = whole_step(0.4)
    for name, value in outputs.items():
        close(value, numbers("pretrain")[name], err_msg=name)


@ALPHAS
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
    scores = jnp.asarray(scale * x["image_feat"] @ x["text_feat_m"].T)
    many = jax.random.split(jax.random.key(0), 4000)
    same = jnp.eye(6, dtype=bool)
    draw = jax.jit(jax.vmap(lambda key: mine(scores, matches=same, key=key, floor=1e-4)[0]))
    counts = np.stack([np.bincount(c, minlength=6) for c in np.asarray(draw(many)).T])
    want = x["weights_i2t"] / x["weights_i2t"].sum(axis=1, keepdims=True)
    assert np.abs(counts / 4000 - want).max() < 4 * 0.5 / np.sqrt(4000)


PARTS = {
    "pretraining": ("", ["encode", "decode"]),
    "retrieval": ("text_decoder", ["encode"]),
    "captions": ("text_encoder vision_proj text_proj itm_head temp", ["decode"]),
}


@pytest.mark.parametrize("kind", PARTS)
def test_a_checkpoint_of_the_authors_is_read(kind, tmp_path, monkeypatch):
    monkeypatch.setattr("vlp.interop.albef.layout.heads", lambda width: 4)
    without, modes = PARTS[kind]
    state = {
        k: v for k, v in state_of(teacher=False).items() if k.split(".")[0] not in without.split()
    }
    state = {k: np.array(v, order="C") for k, v in state.items()}
    save_file(state, tmp_path / "model.safetensors")
    run = load_run(f"blip:{tmp_path / 'model.safetensors'}", tokenizer="none")
    assert list(run.model.modes) == modes and run.preprocess.resize == "squash"
    x = numbers("pretrain")
    pixels = jnp.asarray(x["image"].transpose(0, 2, 3, 1))
    _, tokens = run.model.image(pixels)
    close(tokens, x["image_embeds"])
    image = Encoded(tokens[:, 0], tokens, tokens[:, 0])
    if "decode" in modes:
        close(following(run.model, image, None, x["text"]), x["lm_logits"])
    if "encode" in modes:
        close(run.model.match(image, image, x["text"]), x["vl_output"][:6])


def test_a_checkpoint_for_questions_is_refused(tmp_path):
    state = {k: v for k, v in state_of(teacher=False).items() if not k.startswith("itm_head")}
    save_file({k: np.array(v, order="C") for k, v in state.items()}, tmp_path / "vqa.safetensors")
    with pytest.raises(ValueError, match="which has itm_head.weight; those for questions"):
        load_run(f"blip:{tmp_path / 'vqa.safetensors'}", tokenizer="none")
