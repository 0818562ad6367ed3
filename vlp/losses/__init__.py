"""Losses: arrays in, per-example float32 values out. They know no mesh, model or config."""

from vlp.losses.affinity import affinity_loss
from vlp.losses.captions import mean_over_captions
from vlp.losses.distillation import distilled_language_loss, soft_cross_entropy
from vlp.losses.feature import feature_loss
from vlp.losses.language import captioning_loss
from vlp.losses.matching import hard_negatives, matching_loss
from vlp.losses.momentum import momentum_contrastive_loss
from vlp.losses.sigmoid import sigmoid_loss
from vlp.losses.softmax import softmax_loss

__all__ = [
    "affinity_loss",
    "captioning_loss",
    "distilled_language_loss",
    "feature_loss",
    "hard_negatives",
    "matching_loss",
    "mean_over_captions",
    "momentum_contrastive_loss",
    "sigmoid_loss",
    "soft_cross_entropy",
    "softmax_loss",
]
