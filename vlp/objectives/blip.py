"""BLIP: align image and text, tell matching pairs, and write the caption."""

from typing import Any

from vlp.losses import captioning_loss
from vlp.objectives.alignment import Alignment
from vlp.objectives.tokens import share_correct, token_shares


class Blip:
    """The objective of BLIP: contrast (ITC), match (ITM) and captions (LM), weights 1.

    Contrast and matching are ALBEF's, see `Alignment`, but that negatives are drawn with a floor
    under their probabilities. Captions are predicted token by token with smoothed labels; the mean
    is over all tokens of the global batch. There are no masked words, and the teacher has a say in
    the contrast alone. Followed from the authors' code: the floor, the smoothing, and that the end
    token is predicted as a word is.

    Args:
        queue_size: pairs whose features are kept; a multiple of the global batch size.
        distillation: weight of the teacher's targets, alpha in the paper.
        ramp: steps over which that weight rises to its value, two epochs in the authors' code.
        label_smoothing: of the words.
        negatives: "sampled" or "hardest".
        floor: added to the probabilities of negatives.
        max_scale, min_scale: limits of the multiplier of the cosines (temperature 0.001 to 0.5).

    References:
        Li et al., 2022, https://arxiv.org/abs/2201.12086, section 3.2;
        https://github.com/salesforce/BLIP (`models/blip_pretrain.py`).
    """

    inputs = ("id",)

    def __init__(
        self,
        *,
        queue_size: int = 57600,
        distillation: float = 0.4,
        ramp: int = 0,
        label_smoothing: float = 0.1,
        negatives: str = "sampled",
        floor: float = 1e-4,
        max_scale: float = 1000.0,
        min_scale: float = 2.0,
    ):
        self.label_smoothing = label_smoothing
        self.align = Alignment(
            queue_size=queue_size,
            distillation=distillation,
            ramp=ramp,
            negatives=negatives,
            floor=floor,
            max_scale=max_scale,
            min_scale=min_scale,
        )
        self.make_carry = self.align.make_carry

    def __call__(self, model: Any, teacher: Any, batch: Any, *, key: Any, carry: Any):
        """Per-pair losses, metrics and the queue with this batch's features.

        Raises:
            ValueError: when there is no teacher, or the model lacks a mode.
        """
        _check(model)
        text, pad_id = batch["text"], model.text.pad_id
        aligned = self.align(model, teacher, batch, key=key, carry=carry)
        logits, targets = model.decode(aligned.image, text[:, :-1]), text[:, 1:]
        share = token_shares(targets, pad_id=pad_id, weight=batch["weight"])
        caption = share * captioning_loss(
            logits, targets, pad_id=pad_id, label_smoothing=self.label_smoothing
        )
        metrics = aligned.metrics | {
            "caption_loss": caption,  # nats a token
            "caption_accuracy": share * share_correct(logits, targets, pad_id=pad_id),
        }
        return aligned.loss + caption, metrics, aligned.carry


def _check(model: Any) -> None:
    modes = getattr(model, "modes", ())
    if set(modes) != {"encode", "decode"}:
        raise ValueError(
            "BLIP needs a model that matches and writes captions, got "
            f"{type(model).__name__} with modes {list(modes)}; give "
            'model.preset="blip/ViT-B/16" or model.modes=("encode", "decode")'
        )
    if model.pad_id == model.end_id:
        raise ValueError(
            "captions must end with a token that is not padding, got pad_id and end_id "
            f"{model.pad_id}; use a tokenizer with two"
        )
