"""BERT's WordPiece tokenizer, as `BertTokenizer` of transformers 5 applies it.

References:
  Devlin et al., "BERT: Pre-training of Deep Bidirectional Transformers for Language
  Understanding", 2019 (arXiv 1810.04805).
"""

from collections.abc import Sequence

import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors

from data_pipelines.tokens.pipeline import PipelineTokenizer, check_vocabulary, special_tokens


def bert_tokenizer(
    vocabulary: dict[str, int],
    *,
    name: str = "bert",
    lower: bool = True,
    strip_accents: bool | None = None,
    chinese_characters: bool = True,
    end: bool = True,
    cls_token: str = "[CLS]",
    sep_token: str = "[SEP]",
    pad_token: str = "[PAD]",
    unk_token: str = "[UNK]",
    mask_token: str = "[MASK]",
    padding_side: str = "right",
    special: Sequence[tokenizers.AddedToken] = (),
) -> PipelineTokenizer:
    """WordPiece ids: `cls_token`, pieces, `sep_token`, padding.

    A literal "[SEP]" in a caption becomes that token, as do the other special tokens.

    Args:
      vocabulary: token -> id, see `read_vocabulary`.
      name: what reports call the tokenizer.
      lower: whether letters become lower case.
      strip_accents: whether marks are dropped; as `lower` unless given.
      chinese_characters: whether each CJK character is a word.
      end: whether `sep_token` ends a text; big_vision's LiT models have none.
      cls_token, sep_token, pad_token, unk_token, mask_token: names of the special tokens.
      padding_side: "right" or "left".
      special: more tokens that are found in text by their literal names.

    Raises:
      ValueError: the vocabulary lacks a special token.
    """
    names = (unk_token, sep_token, pad_token, cls_token)
    check_vocabulary(vocabulary, names, name=name)
    made = tokenizers.Tokenizer(models.WordPiece(vocabulary, unk_token=unk_token))
    made.normalizer = normalizers.BertNormalizer(
        clean_text=True,
        handle_chinese_chars=chinese_characters,
        strip_accents=strip_accents,
        lowercase=lower,
    )
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.decoder = decoders.WordPiece(prefix="##")
    made.post_processor = processors.TemplateProcessing(
        single=[cls_token, "$A", *([sep_token] if end else [])],
        special_tokens=[(token, vocabulary[token]) for token in (cls_token, sep_token)],
    )
    made.add_tokens(special_tokens(*names, mask_token, given=special))
    return PipelineTokenizer.of(made, name, pad_token, sep_token, padding_side=padding_side)


def read_vocabulary(content: bytes) -> dict[str, int]:
    """Token -> id from a `vocab.txt`: the number of its line, of the last where it repeats."""
    lines = content.decode("utf-8").replace("\r\n", "\n").removesuffix("\n").split("\n")
    return {token: i for i, token in enumerate(lines)}
