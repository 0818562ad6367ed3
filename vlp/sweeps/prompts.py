"""The prompts of a set's classes, and the vectors that they become, by the field's rules."""

import re
import string
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from vlp.evals.unit_norm import unit_norm
from vlp.settings import check_choice
from vlp.sweeps.judged import View
from vlp.sweeps.precision import Stages
from vlp.sweeps.sets import EvalSet
from vlp.sweeps.texts import check_templates, filled

ENSEMBLES = ("embeddings", "scores")
_PLACE = re.compile(r"(\{c\}|\{\})")
_SIGNS = str.maketrans("", "", string.punctuation)
Prompt = tuple[str, float]
"""A text with its weight among those of its class."""


@dataclass(frozen=True)
class ClassPrompts:
    """The prompts of a set's classes, embedded.

    Attributes:
        vectors: unit-norm rows of each class, `[p, d]`: name by name, of each all templates.
        weights: of these rows, `[p]`.
        templates: how many all classes share; 0 where each has prompts of its own.
        stages: what is computed in what.
        ensemble: see `class_vectors`.
    """

    vectors: Sequence[Float[np.ndarray, "_ d"]]
    weights: Sequence[Float[np.ndarray, " _"]]
    templates: int
    stages: Stages
    ensemble: str = ENSEMBLES[0]

    @classmethod
    def of(
        cls, view: View, *, ensemble: str = ENSEMBLES[0], canonical: bool = False
    ) -> "ClassPrompts":
        """Those of a set; see `class_vectors`."""
        check_choice("ensemble", ensemble, ENSEMBLES)
        prompts = prompts_of(view.set, canonical=canonical)
        texts = [text for own in prompts for text, _ in own]
        vectors = view.stages.rounded(unit_norm(view.prompts(texts)))
        ends = np.cumsum([len(own) for own in prompts])
        weights = [np.asarray([weight for _, weight in own]) for own in prompts]
        shared = 0 if view.set.prompts else len(view.set.templates or ("{c}",))
        return cls(np.split(vectors, ends[:-1]), weights, shared, view.stages, ensemble)

    def classes(self, counts: Float[np.ndarray, " t"] | None = None) -> Float[np.ndarray, "k d"]:
        """One vector a class.

        Args:
            counts: how often each template counts; once unless given.
        """
        weights = self.weights
        if counts is not None:
            weights = [own * np.tile(counts, len(own) // len(counts)) for own in weights]
        means = np.stack(
            [
                np.average(part, axis=0, weights=own)
                for part, own in zip(self.vectors, weights, strict=True)
            ]
        ).astype(self.vectors[0].dtype)
        rounded = self.stages.rounded
        means = rounded(means)
        return rounded(unit_norm(means)) if self.ensemble == "embeddings" else means


def class_vectors(
    view: View, *, ensemble: str = ENSEMBLES[0], canonical: bool = False
) -> Float[np.ndarray, "k d"]:
    """One vector a class: the mean of its prompts' unit-norm embeddings.

    Args:
        view: of a set with names.
        ensemble: "embeddings" makes the mean unit-norm again, as CLIP's authors; "scores" leaves
            it, so that a class's score is the mean of its prompts' scores.
        canonical: whether names and templates lose capitals and signs, see `canonical_text`.

    Raises:
        ValueError: the set has no names, or no templates to put them into.
    """
    return ClassPrompts.of(view, ensemble=ensemble, canonical=canonical).classes()


def prompts_of(found: EvalSet, *, canonical: bool = False) -> list[list[Prompt]]:
    """The prompts of each class with their weights.

    Raises:
        ValueError: see `class_vectors`.
    """
    if found.prompts:
        own = [[(text, 1.0) for text in each] for each in found.prompts]
        return [[(canonical_text(t), w) for t, w in each] for each in own] if canonical else own
    if not found.class_names:
        raise ValueError(
            f"{found.name} must say how its classes are called; write classnames.txt beside it, "
            "one a line, or give `classes` in the suite"
        )
    templates = found.templates or ("{c}",)
    check_templates(templates, where=found.name)
    names = found.aliases or [{name: 1.0} for name in found.class_names]
    if canonical:
        templates = [canonical_template(template) for template in templates]
        names = [{canonical_text(n, keep=","): w for n, w in each.items()} for each in names]
    return [
        [(filled(t, name), weight) for name, weight in each.items() for t in templates]
        for each in names
    ]


def canonical_text(text: str, *, keep: str = "") -> str:
    """A text in small letters, without signs, blanks in place of "_" and one between words.

    Args:
        text: of any kind.
        keep: a sign that stays.

    References:
        https://github.com/google-research/big_vision, evaluators/proj/image_text/
        prompt_engineering.py; SigLIP is judged so.
    """
    parts = text.replace("_", " ").split(keep) if keep else [text.replace("_", " ")]
    bare = keep.join(part.translate(_SIGNS) for part in parts)
    return re.sub(r"\s+", " ", bare.lower()).strip()


def canonical_template(template: str) -> str:
    """A template as `canonical_text`, with its places left."""
    parts = _PLACE.split(template.replace("_", " "))
    kept = [part if _PLACE.fullmatch(part) else part.translate(_SIGNS).lower() for part in parts]
    return re.sub(r"\s+", " ", "".join(kept)).strip()


def names_twice(names: Sequence[str]) -> list[str]:
    """A sentence on classes that no prompt can tell apart."""
    several = len(names) - len(set(names))
    if not several:
        return []
    twice = next(name for name in names if list(names).count(name) > 1)
    return [f"{several:,} classes have the name of another one, such as {twice!r}: a tie each time"]
