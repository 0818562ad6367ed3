"""The tokenizers that a config may name by `config.tokenizer.path`."""

from pathlib import Path

from data_pipelines.text import SentencePieceTokenizer, Tokenizer
from data_pipelines.tokens import clip_tokenizer
from vlp.interop.describe import describe
from vlp.interop.formats import READERS
from vlp.interop.hf.tokenizers import read_tokenizer
from vlp.interop.runs import RUN, is_run


def published_tokenizer(path: str, *, begin: bool) -> Tokenizer:
    """CLIP's, a model of SentencePiece, that of a model, or what a folder such as BERT's holds.

    Args:
        path: "clip", a `.model` file, a folder with tokenizer.json or vocab.txt, or a model as
            `config.init.path` names one.
        begin: of SentencePiece: whether captions begin with a token of their own.

    Raises:
        ValueError: nothing known is there.
    """
    if path == "clip":
        return clip_tokenizer()
    if Path(path).suffix == ".model":
        return SentencePieceTokenizer.load(Path(path), name=Path(path).stem, begin=begin)
    folder = Path(path) if Path(path).is_dir() else Path(path).parent
    names_model = path.partition(":")[0] in (RUN, *READERS) or is_run(folder)
    tokenizer = describe(path)[1] if names_model else read_tokenizer(folder)
    if tokenizer is None:
        raise ValueError(
            'config.tokenizer.path must be "clip", a .model file of SentencePiece, a folder with '
            f"tokenizer.json or vocab.txt, or a model such as hf:FOLDER, got {path!r}; leave it "
            "empty to train one"
        )
    return tokenizer
