"""Towers and the models made of them."""

from vlp.models.albef import Albef
from vlp.models.base import Encoded
from vlp.models.bert import Bert
from vlp.models.blip import Blip
from vlp.models.blip2 import Blip2
from vlp.models.bow import BagOfWords
from vlp.models.coca import CoCa
from vlp.models.dual_encoder import DualEncoder
from vlp.models.naflex import NaflexImages, NaflexTransformer
from vlp.models.presets import dual_encoder_preset, text_preset, vision_preset
from vlp.models.resnet import ModifiedResNet
from vlp.models.text import TextTransformer
from vlp.models.vit import VisionTransformer
from vlp.models.vlmo import Vlmo

__all__ = [
    "Albef",
    "BagOfWords",
    "Bert",
    "Blip",
    "Blip2",
    "CoCa",
    "DualEncoder",
    "Encoded",
    "ModifiedResNet",
    "NaflexImages",
    "NaflexTransformer",
    "TextTransformer",
    "VisionTransformer",
    "Vlmo",
    "dual_encoder_preset",
    "text_preset",
    "vision_preset",
]
