"""Hidden words told again: BERT's objective, and what it shares with models that see an image."""

from collections.abc import Callable
from typing import Any

import jax
from jaxtyping import Array, Float, Int, Key

from vlp.losses import captioning_loss
from vlp.models.protocols import PredictsWords, offers
from vlp.objectives.common.contract import Context, Losses, Objective, Term
from vlp.objectives.common.masking import mask_tokens
from vlp.objectives.common.tokens import share_correct, token_shares


class MaskedWords(Objective):
    """Masked language modelling on the captions alone: VLMo's second stage.

    Freeze all but what reads texts, or the rest of the model decays and drifts for nothing.
    Different from the paper: single tokens are hidden, not whole words; captions take the place of
    Wikipedia and books, which the data pipeline has no source for.

    Args:
        mask_id: the token that hides others.
        mask_probability: share of the tokens that are hidden.

    References:
        Bao et al., 2022 (VLMo), https://arxiv.org/abs/2111.02358, section 2.4; Devlin et al., 2019
        (BERT), https://arxiv.org/abs/1810.04805.
    """

    fields = ("text",)

    def __init__(self, *, mask_id: int, mask_probability: float = 0.15):
        self.mask_id, self.mask_probability = mask_id, mask_probability

    def __call__(self, ctx: Context) -> Losses:
        """The hidden words, nats a token.

        Raises:
            ValueError: when the model does not predict words from texts alone.
        """
        model = ctx.model
        if not offers(model, PredictsWords):
            raise ValueError(
                "masked words need a model that predicts them from the text alone, got "
                f"{type(model).__name__}; give model.multiway"
            )
        loss, right = masked_language(
            model.predict_words,
            ctx.batch,
            key=ctx.key,
            mask_id=self.mask_id,
            probability=self.mask_probability,
            text_tower=model.text,
        )
        return Losses({"masked": Term(loss)}, {"masked_accuracy": right})


def masked_language(
    predict: Callable[[Int[Array, "n l"]], Float[Array, "n l v"]],
    batch: Any,
    *,
    key: Key[Array, ""],
    mask_id: int,
    probability: float,
    text_tower: Any,
    loss_of: Callable[[Any, Any, Any], Float[Array, " n"]] | None = None,
) -> tuple[Float[Array, " n"], Float[Array, " n"]]:
    """Losses, nats a token of the global batch, and accuracies of hidden words.

    Args:
        predict: from texts with masks to logits.
        batch: has text and weight.
        key: of this call; each text has its own.
        mask_id: the token that hides others.
        probability: share of the tokens that are hidden.
        text_tower: has `pad_id` and `vocab_size`.
        loss_of: a text's, nats a token, from logits, targets and the texts with masks; the cross
            entropy, if not given.
    """
    pad_id = text_tower.pad_id
    shown, targets = mask_tokens(
        batch["text"],
        keys=jax.random.split(key, len(batch["text"])),
        mask_id=mask_id,
        pad_id=pad_id,
        vocab_size=text_tower.vocab_size,
        probability=probability,
    )
    logits = predict(shown)
    share = token_shares(targets, pad_id=pad_id, weight=batch["weight"])
    if loss_of is None:
        loss = captioning_loss(logits, targets, pad_id=pad_id)
    else:
        loss = loss_of(logits, targets, shown)
    return share * loss, share * share_correct(logits, targets, pad_id=pad_id)
