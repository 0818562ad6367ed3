"""SigLIP's tokenizer as a `tokenizer.json`.

The ids are those of `SiglipTokenizer` but for captions with the literal name of a special token:
there transformers' own code puts no space in front of what follows, which a pipeline cannot do.
"""

from typing import Any

import tokenizers
from tokenizers import AddedToken, Regex, models, normalizers, processors

from data_pipelines.tokens.base import of_length
from data_pipelines.tokens.convert import SPACE, decoder, read_proto, rules

_PUNCTUATION = r"[!-/:-@\[-`{-~]"
# The library lowers letter by letter, and would miss the sigma that ends a Greek word: behind a
# letter that has cases, and with none after what Unicode lets stand inside a word.
_CASED, _INSIDE = r"[\p{Lu}\p{Ll}\p{Lt}]", r"[\p{Mn}\p{Me}\p{Cf}\p{Lm}\p{Sk}'.:·‘’․‧]*"
_FINAL_SIGMA = f"(?<={_CASED})Σ(?!{_INSIDE}{_CASED})"


def convert_siglip(tokenizer: Any, length: int) -> tokenizers.Tokenizer:
    """Text to `length` ids with the library `tokenizers` alone.

    Args:
      tokenizer: a `SiglipTokenizer` whose tokens are all pieces of its model.
      length: tokens in a row, the end token included.

    Raises:
      ValueError: the model is of a kind whose ids could not be reproduced.
    """
    model, eos_token = tokenizer.content, tokenizer.eos_token
    proto = read_proto(model)
    trained, spec = proto.trainer_spec, proto.normalizer_spec
    pieces = [(piece.piece, piece.score) for piece in proto.pieces]
    made = tokenizers.Tokenizer(models.Unigram(pieces, trained.unk_id, trained.byte_fallback))
    canonical = _canonical(tokenizer.lower)
    made.normalizer = normalizers.Sequence(
        [*canonical, *rules(model, spec.name), *_white_space(spec.remove_extra_whitespaces)]
    )
    made.decoder = decoder()
    made.add_tokens(
        [
            AddedToken(token, lstrip=left, rstrip=right, normalized=False, special=True)
            for token, (left, right) in tokenizer.literal_tokens.items()
        ]
    )
    made.post_processor = processors.TemplateProcessing(
        single=["$A", eos_token], special_tokens=[(eos_token, tokenizer.eos_id)]
    )
    return of_length(made, length, pad_id=tokenizer.pad_id, side=tokenizer.padding_side)


def _canonical(lower: bool) -> list[normalizers.Normalizer]:
    """Lower case, no punctuation, single spaces, and a visible space in front."""
    case = [normalizers.Replace(Regex(_FINAL_SIGMA), "ς"), normalizers.Lowercase()]
    return [
        normalizers.Replace(SPACE, " "),
        *(case if lower else []),
        normalizers.Replace(Regex(_PUNCTUATION), ""),
        normalizers.Replace(Regex(r"[\s\x1c-\x1f]+"), " "),
        normalizers.Replace(Regex(r" \z"), ""),
        normalizers.Prepend(SPACE),
    ]


def _white_space(extra: bool) -> list[normalizers.Normalizer]:
    """SentencePiece's own, behind its other rules: single spaces, none at the end, all visible."""
    single = [normalizers.Replace(Regex(" {2,}"), " ")] if extra else []
    ends = [normalizers.Replace(Regex(f"{SPACE}+\\z"), "")] if extra else []
    return [*single, normalizers.Replace(" ", SPACE), *ends]
