"""T5's unigram pieces, as `T5Tokenizer` of transformers 5 applies them.

open_clip reads SigLIP's captions with it, behind its cleaning "canonicalize".
"""

from collections.abc import Sequence

import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors

from data_pipelines.tokens.pipeline import PipelineTokenizer, check_vocabulary, special_tokens

_SPACE = "\u2581"
_UNKNOWN = 2  # its place in every T5 vocabulary


def t5_tokenizer(
    pieces: Sequence[tuple[str, float]],
    *,
    rules: bytes | None,
    name: str = "t5",
    eos_token: str = "</s>",
    pad_token: str = "<pad>",
    unk_token: str = "<unk>",
    padding_side: str = "right",
    special: Sequence[tokenizers.AddedToken] = (),
) -> PipelineTokenizer:
    """T5's ids: pieces, the end token, padding.

    Args:
      pieces: pieces and their log-probabilities (nats), by id.
      rules: SentencePiece's compiled normalisation, as in a `tokenizer.json`; None for none.
      name: what reports call the tokenizer.
      eos_token, pad_token, unk_token: names of the special tokens.
      padding_side: "right" or "left".
      special: more tokens that are found in text by their literal names.

    Raises:
      ValueError: the vocabulary lacks a special token.
    """
    names = (unk_token, eos_token, pad_token)
    ids = {piece: i for i, (piece, _) in enumerate(pieces)}
    check_vocabulary(ids, names, name=name)
    made = tokenizers.Tokenizer(models.Unigram(list(pieces), _UNKNOWN, False))
    if rules is not None:
        made.normalizer = normalizers.Precompiled(rules)
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(replacement=_SPACE)]
    )
    made.decoder = decoders.Metaspace(replacement=_SPACE)
    made.post_processor = processors.TemplateProcessing(
        single=["$A", eos_token], special_tokens=[(eos_token, ids[eos_token])]
    )
    made.add_tokens(special_tokens(*names, given=special))
    return PipelineTokenizer.of(made, name, pad_token, eos_token, padding_side=padding_side)
