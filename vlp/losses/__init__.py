"""Losses: arrays in, per-example float32 values out. They know no mesh, model or config."""

from vlp.losses.language import captioning_loss
from vlp.losses.sigmoid import sigmoid_loss
from vlp.losses.softmax import softmax_loss

__all__ = ["captioning_loss", "sigmoid_loss", "softmax_loss"]
