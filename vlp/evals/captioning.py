"""Written captions beside the data's own: CIDEr and BLEU-4."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Int

from vlp.evals.pairs import another

MISSING = (
    "the task captioning needs the package pycocoevalcap, which is not installed; "
    'pip install "vlp[captions]"'
)
_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")


def words(caption: str) -> str:
    """The caption's words in lower case with single spaces, without punctuation.

    Plainer than the Penn Treebank tokenizer of the COCO evaluation, which takes Java: that one also
    splits "isn't" into two. Scores therefore differ a little from those in papers.

    Examples:
      >>> words("A cat's face, smiling!")
      "a cat's face smiling"
    """
    return " ".join(_WORD.findall(caption.lower()))


def captioning(
    written: Sequence[str], truths: Sequence[Sequence[str]]
) -> dict[str, dict[str, float | int]]:
    """CIDEr (CIDEr-D, 0..10) and BLEU-4 (0..1) of one caption an image.

    The scores of METEOR and SPICE are not here: both are Java programs.

    Args:
      written: The caption of each image.
      truths: The captions that people gave it, at least one.

    Returns:
      `metrics`, `chance` (what the captions of other images reach) and `counts`.

    Raises:
      ValueError: If the package of the scores is missing, or there are fewer than two images, of
        which CIDEr could not tell common words from rare ones.

    References:
      Vedantam et al., 2015 (CIDEr), https://arxiv.org/abs/1411.5726; Papineni et al., 2002 (BLEU);
      both as in https://github.com/salaniz/pycocoevalcap, by its code.
    """
    others = [truths[row][0] for row in another(len(truths))]
    return {
        "metrics": _scores(written, truths),
        "chance": _scores(others, truths),
        "counts": {"captions/queries": len(written)},
    }


def examples(
    written: Sequence[str],
    truths: Sequence[Sequence[str]],
    *,
    samples: Int[np.ndarray, " n"],
    count: int = 12,
) -> list[dict[str, Any]]:
    """A seeded choice: the index of the `sample`, the caption `written`, and the first `truth`."""
    chosen = np.random.default_rng(0).permutation(len(written))[:count]
    return [
        {"sample": int(samples[row]), "written": written[row], "truth": truths[row][0]}
        for row in chosen
    ]


def check_scores() -> None:
    """Raises ValueError where the package of the scores is missing."""
    try:
        import pycocoevalcap  # noqa: F401
    except ImportError as error:
        raise ValueError(MISSING) from error


def _scores(written: Sequence[str], truths: Sequence[Sequence[str]]) -> dict[str, float]:
    check_scores()
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider

    said: Mapping[int, list[str]] = {row: [words(text)] for row, text in enumerate(written)}
    wanted = {row: [words(text) for text in texts] for row, texts in enumerate(truths)}
    bleu, _ = Bleu(4).compute_score(wanted, said, verbose=0)
    cider, _ = Cider().compute_score(wanted, said)
    return {"captions/CIDEr": float(cider), "captions/BLEU-4": float(bleu[3])}
