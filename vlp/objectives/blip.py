"""BLIP: align image and text, tell matching pairs, and write the caption."""

from collections.abc import Sequence
from typing import Any

from vlp.models.protocols import Decodes, Matches, offers
from vlp.objectives.common.alignment import Alignment
from vlp.objectives.common.captions import check_ends, written
from vlp.objectives.common.contract import Context, Losses, Objective
from vlp.settings import handing_on

# What a model must do for each task.
TASKS: dict[str, type] = {"align": Matches, "write": Decodes}


class Blip(Objective):
    """The objective of BLIP: contrast (ITC), match (ITM) and captions (LM), weights 1.

    Contrast and matching are ALBEF's, see `Alignment`, but that negatives are drawn with a floor
    under their probabilities. Captions are predicted token by token with smoothed labels; the mean
    is over all tokens of the global batch. There are no masked words, and the momentum model has a
    say in the contrast alone. Followed from the authors' code: the floor, the smoothing, and that
    the end token is predicted as a word is.

    Args:
        tasks: "align" (contrast and matching) and "write" (captions); one of them alone fine-tunes
            the filter or the captioner of CapFilt. Writing alone needs no momentum.
        queue_size: pairs whose features are kept; a multiple of the global batch size.
        label_smoothing: of the words.
        floor: added to the probabilities of negatives.
        places_at_once: as `places` in `vlp.objectives.common.words.tell`.
        **settings: of `Alignment`. The ramp is two epochs in the authors' code.

    References:
        Li et al., 2022, https://arxiv.org/abs/2201.12086, section 3.2;
        https://github.com/salesforce/BLIP (`models/blip_pretrain.py`).
    """

    fields = ("image", "text", "id")

    @handing_on(Alignment)
    def __init__(
        self,
        *,
        tasks: Sequence[str] = tuple(TASKS),
        queue_size: int = 57600,
        label_smoothing: float = 0.1,
        floor: float = 1e-4,
        places_at_once: int | None = None,
        **settings: Any,
    ):
        _check_tasks(tasks)
        self.writing: dict[str, Any] = dict(
            label_smoothing=label_smoothing,
            places_at_once=places_at_once,
        )
        self.tasks = tuple(tasks)
        self.align = Alignment(queue_size=queue_size, floor=floor, **settings)
        self.writing["micro"] = self.align.micro
        if "align" in self.tasks:
            self.momentum = self.align.momentum

    def make_carry(self, model: Any, *, global_batch_size: int) -> Any:
        """An empty queue, where there is a contrast."""
        if "align" not in self.tasks:
            return None
        return self.align.make_carry(model, global_batch_size=global_batch_size)

    def __call__(self, ctx: Context) -> Losses:
        """Contrast and matching, nats a pair, and captions, nats a token, as far as asked for.

        Raises:
            ValueError: when the model lacks a mode.
        """
        _check(ctx.model, tasks=self.tasks)
        if "align" not in self.tasks:
            image = self.align.micro(
                lambda model, images: model.encode_image(images), ctx.model, ctx.batch["image"]
            )
            return written(ctx.model, image, ctx.batch, **self.writing)
        aligned = self.align(ctx, key=ctx.key)
        if "write" not in self.tasks:
            return aligned.losses
        words = written(ctx.model, aligned.image, ctx.batch, **self.writing)
        terms, metrics, queue = aligned.losses
        return Losses({**terms, **words.terms}, {**metrics, **words.metrics}, queue)


def _check_tasks(tasks: Sequence[str]) -> None:
    if isinstance(tasks, str) or not tasks or set(tasks) - set(TASKS):
        raise ValueError(f"tasks must be some of {', '.join(TASKS)}, got {tasks!r}; try {[*TASKS]}")


def _check(model: Any, *, tasks: Sequence[str]) -> None:
    lacking = [task for task in tasks if not offers(model, TASKS[task])]
    if lacking:
        raise ValueError(
            f"BLIP with tasks {list(tasks)} needs a model for {' and '.join(lacking)}, got "
            f'{type(model).__name__}, which is not; give model.preset="blip/ViT-B/16" or '
            'model.modes=("encode", "decode")'
        )
    if "write" in tasks:
        check_ends(model)
