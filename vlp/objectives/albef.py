"""ALBEF: align image and text, then fuse them; with a slow copy of itself as the teacher."""

from typing import Any

import jax
import jax.numpy as jnp

from vlp.losses import (
    captioning_loss,
    distilled_language_loss,
    matching_loss,
    momentum_contrastive_loss,
)
from vlp.losses.softmax import cosines
from vlp.objectives.encode import clamped_scale, in_batch_accuracy
from vlp.objectives.masking import mask_tokens
from vlp.objectives.mining import mine, taken, true_matches
from vlp.objectives.queue import empty_queue, enqueue, features
from vlp.objectives.tokens import share_correct, token_shares


class Albef:
    """The objective of ALBEF: contrast (ITC), match (ITM) and masked words (MLM), weights 1.

    Followed from the authors' code where the paper is silent or differs: the keys of the contrast
    are the teacher's features of this batch, then of the queue; negatives are drawn from this
    batch by the softmax of the student's similarities to the teacher's keys; the weight of the
    teacher's targets rises from 0 over the first epoch. Different here: the negatives come from
    the global batch, not from one device's share of it, and never have the sample or the caption
    of the true match; the queue begins empty, not with random vectors.

    Args:
        mask_id: the token that hides others.
        queue_size: pairs whose features are kept; a multiple of the global batch size.
        distillation: weight of the teacher's targets, alpha in the paper; 0 needs no second pass
            of the teacher for MLM.
        ramp: steps over which that weight rises to its value.
        mask_probability: share of the words that are hidden.
        negatives: "sampled" or "hardest".
        max_scale, min_scale: limits of the multiplier of the cosines (temperature 0.001 to 0.5).

    References:
        Li et al., 2021, https://arxiv.org/abs/2107.07651;
        https://github.com/salesforce/ALBEF (`models/model_pretrain.py`).
    """

    inputs = ("id",)

    def __init__(
        self,
        *,
        mask_id: int,
        queue_size: int = 65536,
        distillation: float = 0.4,
        ramp: int = 0,
        mask_probability: float = 0.15,
        negatives: str = "sampled",
        max_scale: float = 1000.0,
        min_scale: float = 2.0,
    ):
        self.mask_id = mask_id
        self.queue_size = queue_size
        self.distillation, self.ramp = distillation, ramp
        self.mask_probability, self.negatives = mask_probability, negatives
        self.limits = dict(max_scale=max_scale, min_scale=min_scale)

    def make_carry(self, model: Any, *, global_batch_size: int) -> dict[str, Any]:
        """An empty queue, which also counts the batches so far."""
        return empty_queue(
            size=self.queue_size,
            global_batch_size=global_batch_size,
            embed_dim=model.kwargs["embed_dim"],
        )

    def __call__(self, model: Any, teacher: Any, batch: Any, *, key: Any, carry: Any):
        """Per-pair losses, metrics and the queue with this batch's features."""
        _check(teacher)
        text, weight = batch["text"], batch["weight"]
        alpha = self._alpha(carry["batches"])
        scale = clamped_scale(model.log_scale[...], **self.limits)
        image, caption = model.encode_image(batch["image"]), model.encode_text(text)
        slow_image = jax.lax.stop_gradient(teacher.encode_image(batch["image"]))
        slow_caption = jax.lax.stop_gradient(teacher.encode_text(text))
        own = dict(zimg=slow_image.embedding, ztxt=slow_caption.embedding, present=weight > 0)

        contrastive = self._contrastive(image, caption, own, carry, scale=scale, alpha=alpha)
        matching_key, masking_key = jax.random.split(key)
        matching, matched = self._matching(
            model, image, caption, own, batch, scale=scale, key=matching_key
        )
        masked, guessed = self._masked(
            model, teacher, image, slow_image, batch, alpha=alpha, key=masking_key
        )
        metrics = {
            "contrastive_loss": contrastive,
            "matching_loss": matching,
            "matching_accuracy": matched,
            "masked_loss": masked,  # nats a token
            "masked_accuracy": guessed,
            "distillation": alpha,
            "scale": scale,
            **in_batch_accuracy(image.embedding, caption.embedding, weight=weight),
        }
        return contrastive + matching + masked, metrics, enqueue(carry, **own)

    def _alpha(self, step):
        ramp = jnp.minimum(1.0, step.astype(jnp.float32) / self.ramp) if self.ramp else 1.0
        return self.distillation * ramp

    def _contrastive(self, image, caption, own, queue, *, scale, alpha):
        older_img, older_txt, older = features(queue)
        return momentum_contrastive_loss(
            image.embedding,
            caption.embedding,
            keys_img=jnp.concatenate([own["zimg"], older_img]),
            keys_txt=jnp.concatenate([own["ztxt"], older_txt]),
            present=jnp.concatenate([own["present"], older]),
            scale=scale,
            distillation=alpha,
        )

    def _matching(self, model, image, caption, own, batch, *, scale, key):
        """Losses and accuracies of the pair itself, its text with a wrong image, and the reverse.

        All 3 n pairs are fused in one call. Where there is no wrong one, its term is 0.
        """
        text = batch["text"]
        matches = true_matches(text, ids=batch["id"], weight=batch["weight"])
        image_key, text_key = jax.random.split(key)
        shared: dict[str, Any] = dict(matches=matches, choice=self.negatives)
        images, any_image = mine(
            scale * cosines(caption.embedding, own["zimg"]), key=image_key, **shared
        )
        texts, any_text = mine(
            scale * cosines(image.embedding, own["ztxt"]), key=text_key, **shared
        )
        three = [(image, caption, text), (taken(image, images), caption, text)]
        three.append((image, taken(caption, texts), jnp.take(text, texts, axis=0)))
        logits = model.match(*jax.tree.map(lambda *x: jnp.concatenate(x), *three))
        belongs = jnp.repeat(jnp.array([True, False, False]), len(text))
        asked = jnp.stack([jnp.ones_like(any_image), any_image, any_text])
        losses = matching_loss(logits, belongs).reshape(3, -1)
        right = ((logits[:, 1] > logits[:, 0]) == belongs).astype(jnp.float32).reshape(3, -1)
        return tuple(jnp.mean(jnp.where(asked, x, 0.0), axis=0) for x in (losses, right))

    def _masked(self, model, teacher, image, slow_image, batch, *, alpha, key):
        """Losses and accuracies of the hidden words, a token, from text and image."""
        pad_id = model.text.pad_id
        keys = jax.random.split(key, len(batch["text"]))
        shown, targets = mask_tokens(
            batch["text"],
            keys=keys,
            mask_id=self.mask_id,
            pad_id=pad_id,
            vocab_size=model.text.vocab_size,
            probability=self.mask_probability,
        )
        logits = model.predict_tokens(image, shown)
        loss = captioning_loss(logits, targets, pad_id=pad_id)
        if self.distillation:
            theirs = teacher.predict_tokens(slow_image, shown)
            soft = distilled_language_loss(logits, theirs, targets, pad_id=pad_id)
            loss = (1.0 - alpha) * loss + alpha * soft
        share = token_shares(targets, pad_id=pad_id, weight=batch["weight"])
        return share * loss, share * share_correct(logits, targets, pad_id=pad_id)


def _check(teacher: Any) -> None:
    if teacher is None:
        raise ValueError(
            "momentum features need a teacher, the moving average of the model; set "
            "train.ema_decay (0.995 in the paper)"
        )
