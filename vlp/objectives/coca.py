"""CoCa: tell whose caption it is, and write it, from one pass through the towers."""

from typing import Any

from vlp.models.protocols import Decodes, offers
from vlp.objectives.clip import Clip
from vlp.objectives.common.contract import Context, Losses, Term
from vlp.objectives.common.encode import embeddings
from vlp.objectives.common.tokens import token_shares
from vlp.objectives.common.words import tell
from vlp.settings import handing_on


class Coca(Clip):
    """The objective of CoCa; needs a model with a decoder.

    The captioning loss is the mean over all tokens that are to be predicted in the global batch, so
    a long caption counts for more than a short one, as in open_clip; the paper sums the tokens of a
    caption (equation 3) and does not say how captions are averaged.

    The first token is given and predicted by nothing, as in open_clip: what follows it comes from
    `text[:, :-1]`, compared with `text[:, 1:]`. CLIP's tokenizer begins every caption with a token
    of its own, and so does one of `train_sentencepiece(begin=True)`: such a model writes captions
    from nothing. With a tokenizer that does not it goes on from the caption's first token.

    Args:
        contrastive_weight, caption_weight: of the two losses, 1 and 2 in the paper. Without
            contrast nothing is compared, and the model needs no projections: OpenVision 2.
        token_drop: share of the image's tokens that the decoder does not read, of each image
            others, in [0, 1); 0.65 to 0.75 in OpenVision 2.
        places_at_once: as `places` in `vlp.objectives.common.words.tell`.
        **settings: of `Clip`; captions are decoded in the micro-batches as well, and losses and
            gradients stay those of the whole batch.

    References:
        Yu et al., 2022, https://arxiv.org/abs/2205.01917, section 3.2; Ilharco et al.,
        open_clip, https://github.com/mlfoundations/open_clip (`CoCaLoss`); Gao et al., 2021
        (GradCache), https://arxiv.org/abs/2101.06983.
    """

    embeddings_alone = False
    several_captions = False

    @handing_on(Clip)
    def __init__(
        self,
        *,
        contrastive_weight: float = 1.0,
        caption_weight: float = 2.0,
        token_drop: float = 0.0,
        places_at_once: int | None = None,
        **settings: Any,
    ):
        super().__init__(**settings)
        if not 0 <= token_drop < 1:
            raise ValueError(
                f"token_drop must be a share in [0, 1), got {token_drop}; try 0, so that the "
                "decoder reads all tokens"
            )
        self.encoding["token_drop"] = token_drop
        self.contrastive_weight, self.caption_weight = contrastive_weight, caption_weight
        self.places = places_at_once

    def __call__(self, ctx: Context) -> Losses:
        """The contrast of the pairs, nats, unless its weight is 0; the captions, nats a token.

        Raises:
            ValueError: when the model has no decoder, compares nothing but should, or could not
                learn where captions end.
        """
        model, batch = ctx.model, ctx.batch
        _check(model, contrasts=self.contrastive_weight > 0)
        pad_id = model.text.pad_id

        def outputs(model, image, caption, text):
            words = model.decoded(image, caption, text)
            told = tell(words, text[:, 1:], pad_id=pad_id, places=self.places, mesh=self.mesh)
            return *embeddings(model, image, caption, text), told.nats, told.right

        zimg, ztxt, nats, correct = self.encode(ctx, outputs=outputs)
        share = token_shares(batch["text"][:, 1:], pad_id=pad_id, weight=batch["weight"])
        terms = {"caption": Term(share * nats, self.caption_weight)}
        metrics = {"caption_accuracy": share * correct}
        if self.contrastive_weight:
            contrast = self.contrast(ctx, zimg, ztxt)
            compared = contrast.terms["contrastive"]._replace(weight=self.contrastive_weight)
            terms = {"contrastive": compared, **terms}
            metrics |= contrast.metrics
        return Losses(terms, metrics)


def _check(model: Any, *, contrasts: bool) -> None:
    if not offers(model, Decodes):
        raise ValueError(
            "CoCa needs a model that writes captions, got one without a decoder; "
            'give model.decoder, such as model.preset="coca/ViT-B/32"'
        )
    if contrasts and model.log_scale is None:
        raise ValueError(
            "images and captions are compared by their projections, got a model without "
            "projections; give model.image_projection and text_projection, or "
            "objective.contrastive_weight of 0"
        )
    if model.text.pad_id == model.text.eos_id:
        raise ValueError(
            "captions must end with a token that is not padding, got pad_id and eos_id "
            f"{model.text.pad_id}; use a tokenizer with two"
        )
