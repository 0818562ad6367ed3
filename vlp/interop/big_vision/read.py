"""An npz of big_vision: SigLIP, SigLIP 2 and LiT, of today's names and of older ones."""

import re
from collections.abc import Callable, Iterable
from pathlib import Path

from data_pipelines.images import ImagePreprocess
from data_pipelines.tokens import (
    Tokenizer,
    bert_tokenizer,
    big_vision_tokenizer,
    read_vocabulary,
)
from vlp.interop.adapt import complete
from vlp.interop.big_vision import config as big_vision_config
from vlp.interop.big_vision.layout import rules
from vlp.interop.foreign import Foreign
from vlp.interop.surplus import Surplus, settle
from vlp.interop.tensors import Tensors

_ROOTS = ("params/", "opt/target/", "")
# Older names of the same arrays: numbers that counted all modules of a block, and places of
# positions.
_OLDER = (
    (re.compile(r"(MultiHeadDotProductAttention|MlpBlock)_\d+/"), r"\1_0/"),
    (re.compile(r"/LayerNorm_2/"), "/LayerNorm_1/"),
    (re.compile(r"img/Transformer/(posembed_input/)?pos_embedding$"), "img/pos_embedding"),
    (re.compile(r"img/(probe$|MlpBlock_0/|MultiHeadDotProductAttention_0/|LayerNorm_0/)"),
     r"img/MAPHead_0/\1"),
)  # fmt: skip


def open_path(path: Path, *, read: Callable[[Path], Tensors]) -> Foreign:
    """What an npz holds; what an optimiser left in it is left out.

    Args:
        path: the file. Its tokenizer is a SentencePiece `.model` beside it (SigLIP: c4_en or mc4,
            SigLIP 2: Gemma's), or a `.txt` vocabulary of BERT (LiT).
        read: opens the file.

    Raises:
        ValueError: no such file, a damaged one, or another model.
    """
    if not path.is_file():
        raise ValueError(f"a model of big_vision must be an npz file, found none at {path}")
    tensors = named(read(path))
    kwargs = big_vision_config.kwargs(tensors)
    full = complete(kwargs)
    image = full["image"]
    patches = (image["image_size"] // image["patch_size"]) ** 2 if image else 0
    joined = bool(image) and tensors.shapes["img/pos_embedding"][1] == patches + 1
    scanned = {tower: big_vision_config.scanned(tensors, tower) for tower in ("image", "text")}
    return Foreign(
        stack="big_vision",
        architecture="two_towers",
        kwargs=kwargs,
        rules=rules(full, scanned=scanned, joined_class=joined),
        tensors=tensors,
        preprocess=preprocess(image["image_size"]) if image else None,
        tokenizer=_tokenizer(path, full["text"]) if full["text"] else None,
        objective="clip" if kwargs["init_bias"] is None else "siglip",
        licence="apache-2.0",
        tokenizer_hint=_hint(full["text"]) if full["text"] else "",
    )


def preprocess(size: int) -> ImagePreprocess:
    """big_vision's `resize(size)|value_range(-1, 1)`, which does not antialias."""
    return ImagePreprocess(
        size,
        resize="squash",
        interpolation="bilinear_tensorflow",
        mean=big_vision_config.MEAN,
        std=big_vision_config.STD,
    )


def named(tensors: Tensors) -> Tensors:
    """The parameters alone, with today's names and without what stands before all of them."""
    parts = ("img/", "txt/")
    starts = {root: tuple(root + part for part in parts) for root in _ROOTS}
    used = (root for root, start in starts.items() if any(n.startswith(start) for n in tensors))
    root = next(used, "")

    others = Surplus(rf"(?!{root}(img/|txt/|[tb]$)).*", "no parameters of the model")
    return settle(tensors, (others,)).renamed(lambda name: _today(name.removeprefix(root)))


def _today(name: str) -> str:
    for pattern, replacement in _OLDER:
        name = pattern.sub(replacement, name)
    return name


def _tokenizer(path: Path, text: dict) -> Tokenizer | None:
    """The tokenizer in a file beside the npz; None where there is none, or several."""
    bert = text["kind"] == "bert"
    found = _beside(path, ".txt" if bert else ".model")
    if found is None:
        return None
    if bert:
        vocabulary = read_vocabulary(found.read_bytes())
        return bert_tokenizer(vocabulary, name=found.stem, end=False)
    siglip = text["vocab_size"] == big_vision_config.SIGLIP_VOCABULARY
    pad_id = big_vision_config.SIGLIP_PAD if siglip else None
    return big_vision_tokenizer(found.read_bytes(), name=found.stem, pad_id=pad_id)


def _hint(text: dict) -> str:
    """Which tokenizer belongs to a text tower, by its vocabulary."""
    known = {32000: "c4_en, its sentencepiece.model", 250000: "mc4, its sentencepiece.model"}
    known |= {256000: "Gemma's tokenizer.model"}
    if text["kind"] == "bert":
        return "LiT reads the vocab.txt of BERT, to lie beside the npz"
    named = known.get(text["vocab_size"], "a SentencePiece .model")
    return f"a vocabulary of {text['vocab_size']} is that of {named}, to lie beside the npz"


def _beside(path: Path, suffix: str) -> Path | None:
    files: Iterable[Path] = sorted(path.parent.glob(f"*{suffix}"))
    named = [file for file in files if file.stem in (path.stem, "vocab")]
    only = named or list(files)
    return only[0] if len(only) == 1 else None
