"""Hidden words told again: BERT's objective, and what it shares with models that see an image."""

from collections.abc import Callable
from typing import Any

import jax
from jaxtyping import Array, Int, Key

from vlp.models.protocols import PredictsWords, offers
from vlp.nn.vocabulary import Words
from vlp.objectives.common.contract import Context, Losses, Objective, Term
from vlp.objectives.common.masking import mask_tokens
from vlp.objectives.common.micro_batches import AT_ONCE, MicroBatches
from vlp.objectives.common.tokens import token_shares
from vlp.objectives.common.words import Told, tell


class MaskedWords(Objective):
    """Masked language modelling on the captions alone: VLMo's second stage.

    Freeze all but what reads texts, or the rest of the model decays and drifts for nothing.
    Different from the paper: single tokens are hidden, not whole words; captions take the place of
    Wikipedia and books, which the data pipeline has no source for.

    Args:
        mask_id: the token that hides others.
        mask_probability: share of the tokens that are hidden.
        places_at_once: as `places` in `vlp.objectives.common.words.tell`.
        micro_batch_size: captions at a time (GradCache), see `MicroBatches`; None for all at once.
        mesh: over which the batch is split.

    References:
        Bao et al., 2022 (VLMo), https://arxiv.org/abs/2111.02358, section 2.4; Devlin et al., 2019
        (BERT), https://arxiv.org/abs/1810.04805.
    """

    fields = ("text",)

    def __init__(
        self,
        *,
        mask_id: int,
        mask_probability: float = 0.15,
        places_at_once: int | None = None,
        micro_batch_size: int | None = None,
        mesh: Any = None,
    ):
        self.masking: dict[str, Any] = dict(
            mask_id=mask_id,
            probability=mask_probability,
            places_at_once=places_at_once,
            micro=MicroBatches(micro_batch_size, mesh),
        )

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
        told = masked_language(
            lambda model, _, shown: (model.predicted_words(shown), None),
            model,
            ctx.batch,
            key=ctx.key,
            text_tower=model.text,
            **self.masking,
        )
        return Losses({"masked": Term(told.nats)}, {"masked_accuracy": told.right})


def masked_language(
    predicted: Callable[[Any, Any, Int[Array, "n l"]], tuple[Words, Words | None]],
    models: Any,
    batch: Any,
    *,
    key: Key[Array, ""],
    mask_id: int,
    probability: float,
    text_tower: Any,
    images: Any = None,
    places_at_once: int | None = None,
    micro: MicroBatches = AT_ONCE,
) -> Told:
    """How well hidden words are told: losses, nats a token of the global batch, and accuracies.

    Args:
        predicted: from models, images and texts with masks to words, and to those of a teacher.
        models: one or a tuple of several.
        batch: has text and weight.
        key: of this call; each text has its own.
        mask_id: the token that hides others.
        probability: share of the tokens that are hidden.
        text_tower: has `pad_id` and `vocab_size`.
        images: what is read of the images, a pytree of arrays `[n, ...]`.
        places_at_once: as `places` in `vlp.objectives.common.words.tell`.
        micro: of how many texts words are told at a time.
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

    def told_in(models: Any, rows: Any) -> Told:
        images, shown, targets = rows
        words, teacher = predicted(models, images, shown)
        return tell(
            words,
            targets,
            pad_id=pad_id,
            teacher=teacher,
            places=places_at_once,
            mesh=micro.mesh,
        )

    told = micro(told_in, models, (images, shown, targets))
    share = token_shares(targets, pad_id=pad_id, weight=batch["weight"])
    return Told(*(share * each for each in told))
