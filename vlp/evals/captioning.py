"""Written captions beside the data's own: CIDEr and BLEU-4."""

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Int

from vlp.evals.measures import Measure, Weights, quotient, scores_of
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
    scores = scores_of(measures(written, truths), samples=len(written))
    return scores | {"counts": {"captions/queries": len(written)}}


def measures(written: Sequence[str], truths: Sequence[Sequence[str]]) -> dict[str, Measure]:
    """The metrics of `captioning`.

    Words are rare or common by all images, however often each of them counts.

    Args:
      written, truths: As there.

    Raises:
      ValueError: As there.
    """
    others = [truths[row][0] for row in another(len(truths))]
    once = np.ones(len(written))
    own, by_chance = (_scores(texts, truths) for texts in (written, others))
    return {
        name: dataclasses.replace(measure, chance=by_chance[name].of(once))
        for name, measure in own.items()
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


def _scores(written: Sequence[str], truths: Sequence[Sequence[str]]) -> dict[str, Measure]:
    check_scores()
    from pycocoevalcap.bleu.bleu_scorer import BleuScorer
    from pycocoevalcap.cider.cider import Cider

    said: Mapping[int, list[str]] = {row: [words(text)] for row, text in enumerate(written)}
    wanted = {row: [words(text) for text in texts] for row, texts in enumerate(truths)}
    _, cider = Cider().compute_score(wanted, said)
    scorer = BleuScorer(n=4)
    for row, (text,) in said.items():
        scorer += (text, wanted[row])
    return {"captions/CIDEr": quotient(cider), "captions/BLEU-4": Measure(_bleu(scorer.ctest))}


def _bleu(parts: Sequence[Mapping[str, Any]]) -> Callable[[Weights], float]:
    """BLEU-4 of all captions together, from what the package counts of each.

    The lengths are those of the nearest truths; small numbers as there, against zeros.
    """
    correct, guessed = (np.asarray([part[name] for part in parts]) for name in ("correct", "guess"))
    length = np.asarray([part["testlen"] for part in parts])
    nearest = [min((abs(n - p["testlen"]), n) for n in p["reflen"])[1] for p in parts]

    def of(w: Weights) -> float:
        shares = (w @ correct + 1e-15) / (w @ guessed + 1e-9)
        ratio = (w @ length + 1e-15) / (w @ np.asarray(nearest) + 1e-9)
        return float(np.prod(shares) ** 0.25 * np.exp(min(0.0, 1 - 1 / ratio)))

    return of
