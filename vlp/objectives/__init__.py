"""Objectives: what a paper minimises, composed of a model's outputs and a loss."""

from vlp.objectives.clip import Clip
from vlp.objectives.coca import Coca
from vlp.objectives.siglip import SigLip

__all__ = ["Clip", "Coca", "SigLip"]
