"""CoCa's losses are torch's and open_clip's, and what was trained by them goes there."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from open_clip.loss import CoCaLoss

from tests.objectives.calling import call
from tests.small.runs import TINY, write_pairs
from vlp.cli.main import main
from vlp.losses import captioning_loss
from vlp.models import Encoded
from vlp.nn.vocabulary import Words
from vlp.objectives.coca import Coca

N, L, V, D, PAD = 8, 7, 11, 6, 0
WEIGHTS = dict(contrastive_weight=0.7, caption_weight=2.0)


def captions(seed=0):
    """Ids that begin with 1, lengths from 0 to all of the row."""
    rng = np.random.default_rng(seed)
    text = rng.integers(2, V, (N, L), dtype=np.int32)
    text[:, 0] = 1
    text[np.arange(L)[None] > np.arange(N)[:, None]] = PAD
    return text


def unit(x):
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def arrays():
    rng = np.random.default_rng(1)
    zimg, ztxt = (unit(rng.normal(size=(N, D))) for _ in range(2))
    logits = rng.normal(size=(N, L - 1, V)) * 3
    return [x.astype(np.float32) for x in (zimg, ztxt, logits, np.log(9.0))]


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
def test_a_caption_s_loss_and_gradient_are_torch_s_cross_entropy(label_smoothing):
    logits, targets = arrays()[2], captions()[:, 1:]
    theirs = torch.nn.CrossEntropyLoss(ignore_index=PAD, label_smoothing=label_smoothing)
    for row in range(1, N):  # the first has no token, where torch's mean is 0 / 0
        tensor = torch.tensor(logits[row], requires_grad=True)
        want = theirs(tensor, torch.tensor(targets[row], dtype=torch.long))
        want.backward()

        def ours(x, row=row):
            settings = dict(pad_id=PAD, label_smoothing=label_smoothing)
            return captioning_loss(x[None], jnp.asarray(targets[row : row + 1]), **settings)[0]

        got, gradient = jax.value_and_grad(ours)(jnp.asarray(logits[row]))
        np.testing.assert_allclose(got, want.item(), rtol=1e-5)
        np.testing.assert_allclose(gradient, tensor.grad.numpy(), atol=1e-5)


class Given:
    """A model whose outputs are given."""

    def __init__(self, zimg, ztxt, logits, log_scale):
        self.text = type("Text", (), dict(pad_id=PAD, eos_id=1))
        self.zimg, self.ztxt, self.decoder, self.log_scale = zimg, ztxt, logits, log_scale

    def encode_image(self, images, **settings):
        return Encoded(self.zimg, jnp.zeros((N, 1, D)), self.zimg)

    def encode_text(self, text):
        return Encoded(self.ztxt, jnp.zeros((N, L, D)), self.ztxt)

    def decode(self, image, caption, text):
        return self.decoded(image, caption, text).logits()

    def decoded(self, image, caption, text):
        assert text.shape[1] == L
        return Words(self.decoder, jnp.eye(V))


def test_both_losses_and_their_gradients_are_open_clip_s():
    given, text = arrays(), captions()
    tensors = [torch.tensor(x, requires_grad=True) for x in given]
    zimg, ztxt, logits, log_scale = tensors
    theirs = CoCaLoss(
        caption_loss_weight=WEIGHTS["caption_weight"],
        clip_loss_weight=WEIGHTS["contrastive_weight"],
        pad_id=PAD,
    )
    labels = torch.tensor(text[:, 1:], dtype=torch.long)
    contrastive, captioning = theirs(zimg, ztxt, logits, labels, log_scale.exp())
    (contrastive + captioning).backward()

    batch = dict(image=jnp.zeros((N, 1)), text=jnp.asarray(text), weight=jnp.ones(N))

    def mean(*arguments):
        model = Given(*arguments)
        losses, metrics, _ = call(Coca(**WEIGHTS), model, batch)
        return jnp.mean(losses), metrics

    run = jax.value_and_grad(mean, argnums=(0, 1, 2, 3), has_aux=True)
    (got, metrics), gradients = run(*map(jnp.asarray, given))
    np.testing.assert_allclose(got, (contrastive + captioning).item(), rtol=1e-5)
    for name, want in (("contrastive", contrastive), ("caption", captioning)):
        found = WEIGHTS[f"{name}_weight"] * jnp.mean(metrics[f"{name}_loss"])
        np.testing.assert_allclose(found, want.item(), rtol=1e-5)
    for gradient, tensor in zip(gradients, tensors, strict=True):
        np.testing.assert_allclose(gradient, tensor.grad.numpy(), rtol=1e-5, atol=1e-5)


def test_a_trained_run_with_a_begin_token_equals_its_export(tmp_path, monkeypatch):
    monkeypatch.setenv("VLP_CACHE", str(tmp_path / "cache"))
    config = f"{TINY}:data={write_pairs(tmp_path / 'pairs.tar')},steps=1,objective=coca"
    workdir = tmp_path / "run"
    assert main(["train", f"--config={config}", f"--workdir={workdir}"]) == 0
    report = json.loads((workdir / "exported" / "parity.json").read_text())
    assert (report["verified"], report["verified_with"]) == (True, "open_clip")
    assert report["token_ids"]["unequal"] == []
