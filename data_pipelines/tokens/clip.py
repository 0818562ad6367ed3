"""CLIP's byte-pair encoding, as its authors and open_clip apply it and as transformers does.

The two share 49,408 ids and differ in what they do before: the authors repair text with ftfy and
resolve HTML entities; transformers composes characters (NFC) and does neither. They pad with 0 and
with the end token. Published models are mostly used with the one that comes with their format.

References:
  Radford et al., "Learning Transferable Visual Models From Natural Language Supervision", 2021
  (arXiv 2103.00020), https://github.com/openai/CLIP; the table of merges is theirs, MIT licence.
  Sennrich et al., "Neural Machine Translation of Rare Words with Subword Units", 2016.
"""

import functools
import gzip
import re
from collections.abc import Iterator, Sequence
from importlib import resources

import tokenizers
from tokenizers import Regex, decoders, models, normalizers, pre_tokenizers, processors

from data_pipelines.tokens.base import Tokenizer
from data_pipelines.tokens.clean import cleaning
from data_pipelines.tokens.pipeline import PipelineTokenizer, check_vocabulary, special_tokens

_END_OF_WORD = "</w>"
_BEGIN, _END = "<start_of_text>", "<end_of_text>"
_HF_BEGIN, _HF_END = "<|startoftext|>", "<|endoftext|>"
# The originals ignore case by Unicode's simple folding, in which the long s is an s.
_FOLDED = {letter: f"[{letter}{letter.upper()}]" for letter in "abcdefghijklmnopqrtuvwxyz"} | {
    "s": "[sSſ]"
}
_CONTRACTIONS = ("'s", "'t", "'re", "'ve", "'m", "'ll", "'d")
_WORDS = r"[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
# The same of a text in ASCII, in a tenth of the time.
_ASCII_WORDS = re.compile(
    "|".join((_BEGIN, _END, *_CONTRACTIONS, "[a-z]+", "[0-9]", r"[^\sa-z0-9]+")), re.I | re.A
)
_WORDS_KEPT, _LONGEST_KEPT = 2**15, 32


class ClipTokenizer(Tokenizer):
    """CLIP's own tokenizer: ids as `open_clip.SimpleTokenizer` gives them.

    A literal "<start_of_text>" or "<end_of_text>" in a caption becomes that token where it stands
    by itself, as in the original.

    Args:
      merges: the lines of the table of merges, its heading first.
      name: what reports call the tokenizer.
      clean: "lower", "whitespace" or "canonicalize", see `data_pipelines.tokens.clean`.
      pad_id: what fills a row.

    Raises:
      ValueError: not a table of merges, or an unknown cleaning.
    """

    kind = "clip"
    _special = 2

    def __init__(
        self, merges: bytes, *, name: str = "clip", clean: str = "lower", pad_id: int = 0
    ) -> None:
        super().__init__(merges, name)
        self._clean = cleaning(clean)
        self.clean, self.pad_id = clean, pad_id
        pairs = read_merges(self.content, name)
        vocabulary = clip_vocabulary(pairs, special=(_BEGIN, _END))
        self.begin_id: int = vocabulary[_BEGIN]
        self.eos_id = vocabulary[_END]
        self.vocab_size = len(vocabulary)
        named = "|".join((_BEGIN, _END, *_CONTRACTIONS))
        folded = "".join(_FOLDED.get(letter, letter) for letter in named)
        self._split = _splitter(f"{folded}|{_WORDS}")
        self._tokenizer = tokenizers.Tokenizer(_model(vocabulary, pairs, unknown=None))
        self._tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [self._split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
        )
        self._tokenizer.decoder = decoders.ByteLevel()
        self._kept = functools.lru_cache(_WORDS_KEPT)(self._encoded)

    def to_tokenizer_json(self, length: int) -> tokenizers.Tokenizer:
        """Raises ValueError: ftfy and HTML entities are beyond a `tokenizer.json`."""
        raise ValueError(
            f"a tokenizer.json must hold all that is done to a text, and ftfy and HTML entities, "
            f"with which {self.name} cleans, cannot be expressed in one; export "
            "data_pipelines.tokens.hf_clip_tokenizer(), which leaves them out, in its place"
        )

    def _ids(self, text: str, length: int) -> list[int]:
        text = self._clean(text)
        parts = self._parts(text) if _BEGIN in text or _END in text else [text]
        ids = [token for part in parts for token in self._part(part)]
        return [self.begin_id, *ids[: length - 2], self.eos_id]

    def _text(self, ids: list[int]) -> str:
        return self._tokenizer.decode(ids).replace(_END_OF_WORD, " ")

    def _parts(self, text: str) -> Iterator[str]:
        """The text, cut around the special tokens that stand by themselves."""
        start = 0
        for piece, (begin, end) in self._split.pre_tokenize_str(text):
            if piece in (_BEGIN, _END):
                yield from (text[start:begin], piece)
                start = end
        yield text[start:]

    def _part(self, part: str) -> list[int]:
        special = {_BEGIN: self.begin_id, _END: self.eos_id}.get(part)
        if special is not None:
            return [special]
        if not part.isascii():
            return self._encoded(part)
        ids: list[int] = []
        for word in _ASCII_WORDS.findall(part):  # which are merged each by itself
            ids += self._kept(word) if len(word) <= _LONGEST_KEPT else self._encoded(word)
        return ids

    def _encoded(self, text: str) -> list[int]:
        return self._tokenizer.encode(text).ids


def clip_tokenizer(*, name: str = "clip", clean: str = "lower") -> ClipTokenizer:
    """CLIP's tokenizer, for checkpoints that bring none (open_clip's and the authors')."""
    return ClipTokenizer(clip_merges(), name=name, clean=clean)


def hf_clip_tokenizer(
    vocabulary: dict[str, int] | None = None,
    merges: Sequence[tuple[str, str]] | None = None,
    *,
    name: str = "clip",
    pad_token: str = _HF_END,
    padding_side: str = "right",
    special: Sequence[tokenizers.AddedToken] = (),
) -> PipelineTokenizer:
    """CLIP's tokenizer by transformers' rules: ids as `CLIPTokenizer` of version 5 gives them.

    A literal "<|endoftext|>" in a caption becomes that token.

    Args:
      vocabulary: token -> id; CLIP's own unless given.
      merges: pairs in the order of their rank; likewise.
      name: what reports call the tokenizer.
      pad_token: what fills a row.
      padding_side: "right" or "left".
      special: more tokens that are found in text by their literal names.

    Raises:
      ValueError: the vocabulary lacks the begin, end or padding token.
    """
    if vocabulary is None or merges is None:
        merges = read_merges(clip_merges(), name)
        vocabulary = clip_vocabulary(merges, special=(_HF_BEGIN, _HF_END))
    check_vocabulary(vocabulary, (_HF_BEGIN, _HF_END, pad_token), name=name)
    begin, end = ((token, vocabulary[token]) for token in (_HF_BEGIN, _HF_END))
    made = tokenizers.Tokenizer(_model(vocabulary, merges, unknown=_HF_END))
    made.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    names = (r"<\|startoftext\|>", r"<\|endoftext\|>")
    words = _splitter("|".join([*names, *_CONTRACTIONS, _WORDS]))
    # The second splits words again, by GPT-2's rule: without effect but for "<|ENDOFTEXT|>".
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [words, pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    made.decoder = decoders.ByteLevel()
    made.post_processor = processors.RobertaProcessing(
        end, begin, trim_offsets=False, add_prefix_space=False
    )
    made.add_tokens(special_tokens(_HF_BEGIN, _HF_END, pad_token, given=special))
    return PipelineTokenizer.of(made, name, pad_token, _HF_END, padding_side=padding_side)


def clip_merges() -> bytes:
    """CLIP's table of merges, from this package."""
    packed = resources.files("data_pipelines.tokens").joinpath("tables", "clip_merges.txt.gz")
    return gzip.decompress(packed.read_bytes())


def read_merges(content: bytes, name: str) -> list[tuple[str, str]]:
    """The pairs in a table of merges, by rank, without its heading.

    Raises:
      ValueError: a line that is no pair, or no pair at all.
    """
    lines = content.decode("utf-8").split("\n")
    pairs = [tuple(line.split(" ")) for line in lines if line and not line.startswith("#version")]
    wrong = next((pair for pair in pairs if len(pair) != 2), None)
    if wrong is not None or not pairs:
        raise ValueError(f"{name} must be lines of two symbols, got {wrong}")
    return [(first, second) for first, second in pairs]


def clip_vocabulary(merges: Sequence[tuple[str, str]], *, special: Sequence[str]) -> dict[str, int]:
    """Token -> id: bytes, bytes that end a word, merges by rank, special tokens."""
    # A visible character for each byte: itself where it has one, in CLIP's order.
    visible = (*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100))
    hidden = (byte for byte in range(256) if byte not in visible)
    letters = [*map(chr, visible), *(chr(0x100 + place) for place, _ in enumerate(hidden))]
    ends = [letter + _END_OF_WORD for letter in letters]
    tokens = [*letters, *ends, *(first + second for first, second in merges), *special]
    return {token: i for i, token in enumerate(tokens)}


def _splitter(pattern: str) -> pre_tokenizers.Split:
    """What matches the pattern is a piece; what lies between is dropped."""
    return pre_tokenizers.Split(Regex(pattern), behavior="removed", invert=True)


def _model(
    vocabulary: dict[str, int], merges: Sequence[tuple[str, str]], *, unknown: str | None
) -> models.BPE:
    return models.BPE(
        vocabulary,
        list(merges),
        continuing_subword_prefix="",
        end_of_word_suffix=_END_OF_WORD,
        fuse_unk=False,
        unk_token=unknown,
    )
