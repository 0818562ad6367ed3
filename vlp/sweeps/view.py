"""A model's view of a set: its embeddings, kept or made now."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
from jaxtyping import Float

from vlp.evals.features import EMBEDDING
from vlp.sweeps.embedding import Opened, picture_key, text_key
from vlp.sweeps.precision import Stages
from vlp.sweeps.sets import EvalSet
from vlp.sweeps.vectors import Rows, VectorStore


@dataclass
class SetView:
    """See `vlp.sweeps.judged.View`.

    Attributes:
        opened: the model.
        set: what it is judged on.
        store: where embeddings are kept; has those of the pictures.
        rule: by which pictures were decoded.
        seed: of whatever a task draws.
        stages: what is computed in what; the model computes in these already.
    """

    opened: Opened
    set: EvalSet
    store: VectorStore
    rule: str
    seed: int
    stages: Stages = field(default_factory=Stages)

    def on(self, found: EvalSet) -> "SetView":
        """The same of the same pictures, with something else known of them."""
        return replace(self, set=found)

    def pictures(self, of: EvalSet | None = None, *, feature: str = EMBEDDING) -> Rows:
        """The embedded pictures of the set, or of another one; or another feature of them.

        Raises:
            ValueError: the model has no such feature.
        """
        if why := self.opened.lacks(feature):
            raise ValueError(why)
        source = (of or self.set).pictures
        key = picture_key(self.opened, source, rule=self.rule, feature=feature)
        rows = self.store.find(key)
        assert rows is not None, "pictures are embedded before a task is asked"
        if feature != EMBEDDING:
            return rows
        return rows._replace(vectors=self.stages.rounded(rows.vectors))

    def captions(self, texts: Sequence[str]) -> Float[np.ndarray, "m d"]:
        """Embedded texts, which are kept."""
        of = text_key(self.opened, texts)
        kept = self.store.find(of)
        if kept is None:
            kept = Rows(np.arange(len(texts)), self.opened.embed_texts(texts), [])
            self.store.together(partial(self.store.keep, of, kept))
        return self.stages.rounded(np.asarray(kept.vectors))

    def prompts(self, texts: Sequence[str]) -> Float[np.ndarray, "m d"]:
        """Embedded texts, which are not kept."""
        return self.stages.rounded(self.opened.embed_texts(texts))
