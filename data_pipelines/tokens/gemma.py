"""Gemma's byte-pair encoding, as SigLIP 2 uses it.

`Siglip2Tokenizer` of transformers 5 writes text in lower case first, as in training;
`GemmaTokenizer`, which fixed-resolution SigLIP 2 folders name, does not. big_vision lowers ASCII
letters only, and reads the original SentencePiece model: see `big_vision_tokenizer`.

References:
  Tschannen et al., "SigLIP 2: Multilingual Vision-Language Encoders", 2025 (arXiv 2502.14786).
"""

from collections.abc import Sequence

import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors

from data_pipelines.tokens.pipeline import PipelineTokenizer, check_vocabulary, special_tokens

_SPACE = "\u2581"


def gemma_tokenizer(
    vocabulary: dict[str, int],
    merges: Sequence[tuple[str, str]],
    *,
    name: str = "gemma",
    lower: bool = True,
    begin: bool = False,
    end: bool = True,
    bos_token: str = "<bos>",
    eos_token: str = "<eos>",
    pad_token: str = "<pad>",
    unk_token: str = "<unk>",
    mask_token: str = "<mask>",
    special: Sequence[tokenizers.AddedToken] = (),
    padding_side: str = "right",
) -> PipelineTokenizer:
    """Gemma's ids: pieces, the end token, padding.

    Args:
      vocabulary: token -> id.
      merges: pairs in the order of their rank.
      name: what reports call the tokenizer.
      lower: whether text becomes lower case first.
      begin: whether `bos_token` begins a text.
      end: whether `eos_token` ends it.
      bos_token, eos_token, pad_token, unk_token, mask_token: names of the special tokens.
      special: more tokens that are found in text by their literal names.
      padding_side: "right" or "left".

    Raises:
      ValueError: the vocabulary lacks a special token.
    """
    names = (bos_token, eos_token, pad_token, unk_token)
    check_vocabulary(vocabulary, names, name=name)
    made = tokenizers.Tokenizer(
        models.BPE(vocabulary, list(merges), fuse_unk=True, unk_token=unk_token, byte_fallback=True)
    )
    visible = normalizers.Replace(" ", _SPACE)
    made.normalizer = normalizers.Sequence([normalizers.Lowercase(), visible]) if lower else visible
    made.pre_tokenizer = pre_tokenizers.Split(" ", behavior="merged_with_previous")
    made.decoder = decoders.Sequence(
        [decoders.Replace(_SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    made.post_processor = processors.TemplateProcessing(
        single=[*([bos_token] if begin else []), "$A", *([eos_token] if end else [])],
        special_tokens=[(token, vocabulary[token]) for token in (bos_token, eos_token)],
    )
    made.add_tokens(special_tokens(*names, mask_token, given=special))
    return PipelineTokenizer.of(made, name, pad_token, eos_token, padding_side=padding_side)
