"""Names of tensors in the checkpoints of BLIP's authors, and the sizes that these tell."""

from collections.abc import Mapping
from typing import Any

from vlp.interop.albef.layout import TEACHER, image_kwargs, temperature, text_kwargs
from vlp.interop.hf import blip as hf
from vlp.interop.hf.names import bert_attention, bert_token_head
from vlp.interop.layout import Rule, layers, prefixed, same
from vlp.interop.surplus import POSITIONS, differ, settle, without_copies
from vlp.interop.tensors import Tensors
from vlp.interop.timm.layout import image_rules

_ENCODER, _DECODER = "text_encoder.", "text_decoder.bert."
_HEAD = "text_decoder.cls.predictions"
_OWN = ("attention.self.", "attention.output.")  # of a block of the decoder, else the encoder's
_TOKENS = "embeddings.word_embeddings.weight"
_MATCH = "itm_head.weight"
_END = 102  # BERT's [SEP]


def kwargs(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    """Keyword arguments of `Blip`, read off the tensors' names and shapes.

    Args:
        shapes: of all tensors, by the authors' names.

    Raises:
        KeyError: a tensor is not there.
    """
    decodes = f"{_HEAD}.bias" in shapes
    encodes = not decodes or f"{_ENCODER}{_TOKENS}" in shapes
    if encodes and _MATCH not in shapes:  # as in models for questions
        raise KeyError(_MATCH)
    text = text_kwargs(shapes, _ENCODER if encodes else _DECODER)
    image, projection = image_kwargs(shapes), "linear_bias" if encodes else "none"
    return dict(
        image=image,
        text=text | dict(num_types=None, causal=not encodes),
        modes=[*(["encode"] if encodes else []), *(["decode"] if decodes else [])],
        end_id=_END,
        encode_id=text["vocab_size"] - 1,
        decode_id=text["vocab_size"] - 2,
        embed_dim=shapes["vision_proj.bias"][0] if encodes else image["width"],
        image_projection=projection,
        text_projection=projection,
        **({"tied_head": False} if f"{_HEAD}.decoder.weight" in shapes else {}),
    )


def rules(kwargs: Mapping[str, Any]) -> list[Rule]:
    """The names of tensors for complete keyword arguments."""
    text, encodes = kwargs["text"], "encode" in kwargs["modes"]
    bert = prefixed(hf.text_rules(text), theirs=_ENCODER if encodes else _DECODER)
    own = layers(
        bert_attention("writer", "norm_writer"),
        ours="grounding/blocks",
        theirs=f"{_DECODER}encoder.layer.{{}}",
        depth=text["depth"],
    )
    decodes, tied = "decode" in kwargs["modes"], kwargs.get("tied_head", True)
    return [
        *image_rules(kwargs["image"], prefix="visual_encoder."),
        *bert,
        *([*hf.heads(), temperature()] if encodes else []),
        *(own if encodes and decodes else []),
        *(bert_token_head("token_head", _HEAD) if decodes else []),
        *([] if tied else [same("token_head/table", f"{_HEAD}.decoder.weight")]),
    ]


def cleared(tensors: Tensors) -> Tensors:
    """Without the teacher, its queues, buffers and what is there twice: the decoder has what it
    shares with the encoder a second time, and the output layer its bias and often its table."""
    tensors = settle(tensors, (*POSITIONS, *TEACHER))
    encodes = f"{_ENCODER}{_TOKENS}" in tensors
    shared = {name: _ENCODER + name.removeprefix(_DECODER) for name in tensors if _shared(name)}
    copies = {f"{_HEAD}.decoder.bias": f"{_HEAD}.bias", **(shared if encodes else {})}
    table, tokens = f"{_HEAD}.decoder.weight", f"{_ENCODER if encodes else _DECODER}{_TOKENS}"
    if not differ(tensors, table, tokens):
        copies[table] = tokens
    return without_copies(tensors, copies)


def _shared(name: str) -> bool:
    """Whether a decoder's tensor is the encoder's as well."""
    block = name.startswith(f"{_DECODER}encoder.layer.")
    own = block and any(f".{part}" in name for part in _OWN)
    return name.startswith(_DECODER) and not own
