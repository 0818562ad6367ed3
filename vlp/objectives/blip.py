"""BLIP: align image and text, tell matching pairs, and write the caption."""

from collections.abc import Sequence
from typing import Any

from vlp.losses import captioning_loss
from vlp.objectives.alignment import Alignment
from vlp.objectives.tokens import share_correct, token_shares

# The modes of a model that each task trains.
TASKS = {"align": "encode", "write": "decode"}


class Blip:
    """The objective of BLIP: contrast (ITC), match (ITM) and captions (LM), weights 1.

    Contrast and matching are ALBEF's, see `Alignment`, but that negatives are drawn with a floor
    under their probabilities. Captions are predicted token by token with smoothed labels; the mean
    is over all tokens of the global batch. There are no masked words, and the teacher has a say in
    the contrast alone. Followed from the authors' code: the floor, the smoothing, and that the end
    token is predicted as a word is.

    Args:
        tasks: "align" (contrast and matching) and "write" (captions); one of them alone fine-tunes
            the filter or the captioner of CapFilt. Writing alone needs no teacher.
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
        tasks: Sequence[str] = tuple(TASKS),
        queue_size: int = 57600,
        distillation: float = 0.4,
        ramp: int = 0,
        label_smoothing: float = 0.1,
        negatives: str = "sampled",
        floor: float = 1e-4,
        max_scale: float = 1000.0,
        min_scale: float = 2.0,
    ):
        _check_tasks(tasks)
        self.tasks = tuple(tasks)
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
        self.make_carry = self.align.make_carry if "align" in self.tasks else None

    def __call__(self, model: Any, teacher: Any, batch: Any, *, key: Any, carry: Any):
        """Per-pair losses, metrics and the queue with this batch's features.

        Raises:
            ValueError: when there is no teacher, or the model lacks a mode.
        """
        _check(model, tasks=self.tasks)
        if "align" not in self.tasks:
            loss, metrics = self._write(model, model.encode_image(batch["image"]), batch)
            return loss, metrics, carry
        aligned = self.align(model, teacher, batch, key=key, carry=carry)
        if "write" not in self.tasks:
            return aligned.loss, aligned.metrics, aligned.carry
        loss, metrics = self._write(model, aligned.image, batch)
        return aligned.loss + loss, aligned.metrics | metrics, aligned.carry

    def _write(self, model: Any, image: Any, batch: Any) -> tuple[Any, dict[str, Any]]:
        """Losses of the captions, nats a token, and metrics."""
        text, pad_id = batch["text"], model.text.pad_id
        logits, targets = model.decode(image, text[:, :-1]), text[:, 1:]
        share = token_shares(targets, pad_id=pad_id, weight=batch["weight"])
        loss = share * captioning_loss(
            logits, targets, pad_id=pad_id, label_smoothing=self.label_smoothing
        )
        accuracy = share * share_correct(logits, targets, pad_id=pad_id)
        return loss, {"caption_loss": loss, "caption_accuracy": accuracy}


def _check_tasks(tasks: Sequence[str]) -> None:
    if isinstance(tasks, str) or not tasks or set(tasks) - set(TASKS):
        raise ValueError(f"tasks must be some of {', '.join(TASKS)}, got {tasks!r}; try {[*TASKS]}")


def _check(model: Any, *, tasks: Sequence[str]) -> None:
    modes, needed = getattr(model, "modes", ()), [TASKS[task] for task in tasks]
    if set(needed) - set(modes):
        raise ValueError(
            f"BLIP with tasks {list(tasks)} needs a model with modes {needed}, got "
            f"{type(model).__name__} with modes {list(modes)}; give "
            'model.preset="blip/ViT-B/16" or model.modes=("encode", "decode")'
        )
    if "write" in tasks and model.pad_id == model.end_id:
        raise ValueError(
            "captions must end with a token that is not padding, got pad_id and end_id "
            f"{model.pad_id}; use a tokenizer with two"
        )
