"""SigLIP: of every image and every caption, say whether they belong together."""

from vlp.objectives.clip import Clip
from vlp.objectives.common.contract import Context, Losses


class SigLip(Clip):
    """The objective of SigLIP, with the settings of `Clip`; needs a model with a bias.

    References:
        Zhai et al., 2023, https://arxiv.org/abs/2303.15343; Gao et al., 2021 (GradCache),
        https://arxiv.org/abs/2101.06983.
    """

    kind = "sigmoid"

    def __call__(self, ctx: Context) -> Losses:
        """The contrast of the pairs, nats an image.

        Raises:
            ValueError: when the model has no bias.
        """
        if ctx.model.bias is None:
            raise ValueError(
                "the sigmoid loss needs a bias, got a model without; set init_bias=-10"
            )
        return self.contrast(ctx, *self.encode(ctx), bias=ctx.model.bias[...])
