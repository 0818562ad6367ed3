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
        contrastive_weight, caption_weight: of the two losses, 1 and 2 in the paper.
        places_at_once: as `places` in `vlp.objectives.common.words.tell`.
        **settings: of `Clip`; captions are decoded in the micro-batches as well, and losses and
            gradients stay those of the whole batch.

    References:
        Yu et al., 2022, https://arxiv.org/abs/2205.01917, section 3.2; Ilharco et al.,
        open_clip, https://github.com/mlfoundations/open_clip (`CoCaLoss`); Gao et al., 2021
        (GradCache), https://arxiv.org/abs/2101.06983.
    """

    embeddings_alone = False

    @handing_on(Clip)
    def __init__(
        self,
        *,
        contrastive_weight: float = 1.0,
        caption_weight: float = 2.0,
        places_at_once: int | None = None,
        **settings: Any,
    ):
        super().__init__(**settings)
        self.contrastive_weight, self.caption_weight = contrastive_weight, caption_weight
        self.places = places_at_once

    def __call__(self, ctx: Context) -> Losses:
        """The contrast of the pairs, nats, and the captions, nats a token.

        Raises:
            ValueError: when the model has no decoder, or could not learn where captions end.
        """
        model, batch = ctx.model, ctx.batch
        _check(model)
        pad_id = model.text.pad_id

        def outputs(model, image, caption, text):
            words = model.decoded(image, caption, text)
            told = tell(words, text[:, 1:], pad_id=pad_id, places=self.places, mesh=self.mesh)
            return *embeddings(model, image, caption, text), told.nats, told.right

        zimg, ztxt, nats, correct = self.encode(ctx, outputs=outputs)
        contrast = self.contrast(ctx, zimg, ztxt)
        share = token_shares(batch["text"][:, 1:], pad_id=pad_id, weight=batch["weight"])
        terms = {
            "contrastive": contrast.terms["contrastive"]._replace(weight=self.contrastive_weight),
            "caption": Term(share * nats, self.caption_weight),
        }
        return Losses(terms, {"caption_accuracy": share * correct, **contrast.metrics})


def _check(model: Any) -> None:
    if not offers(model, Decodes):
        raise ValueError(
            "CoCa needs a model that writes captions, got one without a decoder; "
            'give model.decoder, such as model.preset="coca/ViT-B/32"'
        )
    if model.text.pad_id == model.text.eos_id:
        raise ValueError(
            "captions must end with a token that is not padding, got pad_id and eos_id "
            f"{model.text.pad_id}; use a tokenizer with two"
        )
