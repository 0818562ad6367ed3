r"""A SentencePiece unigram model as a `tokenizer.json` that gives the same ids.

The library `tokenizers` reads text by other rules than SentencePiece in five places, and each is
put right here rather than hoped away:

- Normalisation: its reading of SentencePiece's rules takes the shortest match and swallows whole
  grapheme clusters, which loses accents and variation selectors. Here Unicode's NFKC (and lower
  case) do the bulk, and where SentencePiece differs, character by character, it is spelled out.
- White space: its Metaspace adds no leading mark to a text that begins with one.
- Control pieces: it would find a caption's literal "</s>" among the pieces. Here their names hold a
  space, which no normalised text does.
- Byte pieces: likewise for a literal "<0x41>"; a cut behind the "<" keeps them apart.
- Truncation: the end token is kept, as in training.

Sequences of combining marks in an order that Unicode calls non-canonical remain different, and the
choice between cuts of a text that are equally likely, such as of a long repetition.
"""

import functools
import string
from typing import Any

import sentencepiece
import tokenizers
from sentencepiece import sentencepiece_model_pb2
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors

from data_pipelines.tokens.base import of_length

PAD, EOS, UNK, BOS = "<pad token>", "<end of text>", "<unknown piece>", "<begin of text>"
SPACE = "\u2581"  # SentencePiece's visible space
_LITERAL_BYTE = "<(?=0x[0-9A-F]{2}>)"
_Model: Any = sentencepiece_model_pb2.ModelProto  # type: ignore[attr-defined]  # made at import
_Piece = _Model.SentencePiece
# The part of each of SentencePiece's rules that `tokenizers` knows by itself.
_FOLDS = {
    "identity": (),
    "nfkc": (normalizers.NFKC,),
    "nmt_nfkc": (normalizers.NFKC,),
    "nfkc_cf": (normalizers.NFKC, normalizers.Lowercase),
    "nmt_nfkc_cf": (normalizers.NFKC, normalizers.Lowercase),
}
_CLEANINGS: dict[str, list[normalizers.Normalizer]] = {
    "none": [],
    "ascii_lower": [normalizers.Replace(upper, upper.lower()) for upper in string.ascii_uppercase],
}
# All planes with characters; the private and unassigned rest maps to itself everywhere.
_CODE_POINTS = (*range(1, 0xD800), *range(0xE000, 0x32400), *range(0xE0000, 0xE01F0))
_NONCHARACTER = 0xFDD0  # first of 32 code points that no text may hold


def convert_sentencepiece(
    model: bytes,
    *,
    length: int,
    pad_id: int | None = None,
    clean: str = "none",
    begin: bool = False,
) -> tokenizers.Tokenizer:
    """The tokenizer of a SentencePiece unigram model: text to `length` ids, padded on the right.

    Args:
      model: the content of the `.model` file.
      length: tokens in a row, special tokens included.
      pad_id: what fills a row; the model's own unless given.
      clean: "none", or "ascii_lower": the letters A to Z become lower case first.
      begin: whether rows start with the model's begin token.

    Raises:
      ValueError: the model or the cleaning is of a kind whose ids could not be reproduced.
    """
    if clean not in _CLEANINGS:
        raise ValueError(
            f"a tokenizer.json must hold all that is done to a text, which it can of the cleanings "
            f"{', '.join(_CLEANINGS)}, got {clean!r}; export for a stack that cleans by itself"
        )
    proto = read_proto(model)
    trained = proto.trainer_spec
    pad_id = trained.pad_id if pad_id is None else pad_id
    tokenizer = tokenizers.Tokenizer(
        models.Unigram(_vocabulary(proto, begin), trained.unk_id, trained.byte_fallback)
    )
    tokenizer.normalizer = normalizers.Sequence(
        [
            *_CLEANINGS[clean],
            *rules(model, proto.normalizer_spec.name),
            *_white_space(proto.normalizer_spec),
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Split(
        tokenizers.Regex(_LITERAL_BYTE), behavior="merged_with_previous"
    )
    tokenizer.decoder = decoder()
    tokenizer.add_special_tokens([PAD, EOS, UNK, *([BOS] if begin else [])])
    tokenizer.post_processor = processors.TemplateProcessing(
        single=[*([BOS] if begin else []), "$A", EOS],
        special_tokens=[(EOS, trained.eos_id), *([(BOS, trained.bos_id)] if begin else [])],
    )
    return of_length(tokenizer, length, pad_id=pad_id)


def decoder() -> decoders.Decoder:
    """Pieces to text: bytes become characters, visible spaces spaces."""
    return decoders.Sequence(
        [
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Replace(SPACE, " "),
            decoders.Strip(" ", 1, 0),
        ]
    )


def read_proto(model: bytes) -> Any:
    """A SentencePiece model whose ids the library `tokenizers` can reproduce.

    Raises:
      ValueError: it is of another kind; says what it lacks.
    """
    proto = _Model.FromString(model)
    trained, normal = proto.trainer_spec, proto.normalizer_spec
    kinds = {piece.type for piece in proto.pieces}
    demands = {
        "model_type=unigram": trained.model_type == trained.UNIGRAM,
        "pad, eos and unk ids": min(trained.pad_id, trained.eos_id, trained.unk_id) >= 0,
        "no user-defined or unused pieces": not kinds & {_Piece.USER_DEFINED, _Piece.UNUSED},
        "treat_whitespace_as_suffix=false": not trained.treat_whitespace_as_suffix,
        "escape_whitespaces=true": normal.escape_whitespaces,
        f"a normalization rule of {', '.join(_FOLDS)}": normal.name in _FOLDS,
        "no piece that crosses a literal byte": not any(
            "<0" in piece.piece for piece in proto.pieces if piece.type == _Piece.NORMAL
        ),
    }
    missing = [demand for demand, met in demands.items() if not met]
    if missing:
        raise ValueError(
            f"an exportable tokenizer needs {' and '.join(missing)}, got model type "
            f"{trained.model_type} with normalization {normal.name!r}; "
            "train one with data_pipelines.text.train_sentencepiece"
        )
    return proto


def _vocabulary(proto: Any, begin: bool) -> list[tuple[str, float]]:
    """Pieces and their log-probabilities by id, control pieces out of the reach of text."""
    trained = proto.trainer_spec
    names = {trained.pad_id: PAD, trained.eos_id: EOS, trained.unk_id: UNK}
    if begin:
        names[trained.bos_id] = BOS
    return [
        (names.get(i, f"<control {i}>" if p.type == _Piece.CONTROL else p.piece), p.score)
        for i, p in enumerate(proto.pieces)
    ]


def rules(model: bytes, name: str) -> list[normalizers.Normalizer]:
    """Unicode's foldings, and behind them every character that SentencePiece treats otherwise."""
    before, after = _differences(model, name)
    steps: list[normalizers.Normalizer] = []
    for fold in _FOLDS[name]:
        # Before each, for one fold may compose what the next would spoil.
        steps += [*map(_replace, before.items()), fold()]
    return [*steps, *map(_replace, after.items())]


@functools.lru_cache(maxsize=2)
def _differences(model: bytes, name: str) -> tuple[dict[str, str], dict[str, str]]:
    """What to replace before each fold and after all: replacement -> characters.

    A character that the folds would spoil hides behind a noncharacter while they run.
    """
    wanted = sentencepiece.SentencePieceNormalizer(
        model_proto=model,
        add_dummy_prefix=False,
        remove_extra_whitespaces=False,
        escape_whitespaces=False,
    ).Normalize
    fold = normalizers.Sequence([fold() for fold in _FOLDS[name]]).normalize_str
    pairs = {char: (fold(char), wanted(char)) for char in map(chr, _CODE_POINTS)}
    own = {char: want for char, (folded, want) in pairs.items() if folded == char != want}
    spoilt = {
        char: want
        for char, (folded, want) in pairs.items()
        if "".join(own.get(part, part) for part in folded) != want
    }
    before: dict[str, str] = {}
    after: dict[str, str] = {}
    for char, want in own.items():
        after[want] = after.get(want, "") + char
    for place, (char, want) in enumerate(spoilt.items()):
        before[chr(_NONCHARACTER + place)] = char
        after[want] = after.get(want, "") + chr(_NONCHARACTER + place)
    return before, after


def _replace(rule: tuple[str, str]) -> normalizers.Normalizer:
    replacement, chars = rule
    one_of = "".join(f"\\x{{{ord(char):X}}}" for char in chars)
    return normalizers.Replace(tokenizers.Regex(f"[{one_of}]"), replacement)


def _white_space(spec: Any) -> list[normalizers.Normalizer]:
    """Single spaces, a leading one, all visible; in the order in which SentencePiece does it."""
    steps: list[normalizers.Normalizer] = []
    if spec.remove_extra_whitespaces:
        steps.append(normalizers.Replace(tokenizers.Regex(" {2,}"), " "))
        steps.append(normalizers.Replace(tokenizers.Regex(r"\A | \z"), ""))
    if spec.add_dummy_prefix:
        steps.append(normalizers.Prepend(SPACE))
    steps.append(normalizers.Replace(" ", SPACE))
    if spec.remove_extra_whitespaces:
        steps.append(normalizers.Replace(tokenizers.Regex(f"{SPACE}+\\z"), ""))
    return steps
