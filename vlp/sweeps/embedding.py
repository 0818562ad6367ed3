"""Embeds sets by several models at once, whose pictures are decoded once."""

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from flax import nnx
from jax.experimental import multihost_utils
from jaxtyping import Float

from data_pipelines.faults import OF_FILES, summary
from data_pipelines.pillow_rgb import ODD
from data_pipelines.sources import Source
from data_pipelines.threads import THREADS
from vlp.evals.embed import Embeddings, Encoder, Progress
from vlp.evals.features import EMBEDDING, OF_PATCHES, lacks
from vlp.interop.loaded import fingerprint
from vlp.jobs.embedding import embed_source, reasons
from vlp.parallel.mesh import batch_parts, make_mesh
from vlp.sweeps.models import ModelRef
from vlp.sweeps.pictures import PlainPreprocess
from vlp.sweeps.precision import Stages, computed_in
from vlp.sweeps.sets import PLAIN, EvalSet
from vlp.sweeps.vectors import Rows, VectorStore

TEXTS = 256  # of a device in a batch


@dataclasses.dataclass(frozen=True, eq=False)
class Opened:
    """A model of a sweep, on the devices.

    Attributes:
        ref: which one.
        run: its weights, its preprocessing and its tokenizer: a `Run`, or in training what is like
            one.
        encoder: on all devices.
    """

    ref: ModelRef
    run: Any
    encoder: Encoder

    @classmethod
    def of(cls, ref: ModelRef) -> "Opened":
        """The model, loaded.

        Raises:
            ValueError: it cannot be, or cannot be judged on pictures and texts.
        """
        run = ref.load()
        if run.model.image is None or run.preprocess is None:
            raise ValueError(f"{ref.title} has no image tower, and every task is of pictures")
        mesh = make_mesh()
        text = run.card["model"]["text"]
        return cls(ref, run, Encoder.from_model(run.model, text=text, mesh=mesh))

    def at(self, stages: Stages) -> "Opened":
        """The same weights, whose towers compute in other numbers.

        Raises:
            ValueError: a tower cannot.
        """
        model = computed_in(self.run.model, stages)
        if model is self.run.model:
            return self
        if stages not in self._others:
            encoder = dataclasses.replace(self.encoder, graphdef=nnx.graphdef(model))
            run = dataclasses.replace(self.run, model=model)
            self._others[stages] = Opened(self.ref, run, encoder)
        return self._others[stages]

    @cached_property
    def _others(self) -> dict[Stages, "Opened"]:
        return {}

    @cached_property
    def fingerprint(self) -> str:
        """Of architecture and weights."""
        return fingerprint(self.run.model)

    @property
    def dtype(self) -> str:
        """What the towers compute in, the image's first where they differ."""
        towers = (self.run.model.image, self.run.model.text)
        found = [getattr(tower, "dtype", None) or "float32" for tower in towers if tower]
        return ", ".join(dict.fromkeys(found))

    @property
    def weights(self) -> str:
        """Which weights of a run they are; see `Run.weights`."""
        return self.run.weights

    @property
    def shown(self) -> str:
        """How it takes pictures; models with the same can share them."""
        return json.dumps(self.run.card["preprocess"], sort_keys=True)

    def lacks(self, feature: str) -> str:
        """Why it has no such feature of pictures; "" where it has."""
        why = lacks(self.run.model, feature)
        return why and f"{self.ref.title} has no feature {feature!r}: {why}"

    def embed_texts(self, texts: Sequence[str]) -> Float[np.ndarray, "n d"]:
        """Unit-norm rows.

        Raises:
            ValueError: the model has no text tower or no tokenizer.
        """
        if self.run.model.text is None or self.run.tokenizer is None:
            raise ValueError(
                f"{self.ref.title} has no text tower with a tokenizer, and this task compares with "
                "texts; judge it by probes, or give --tokenizer"
            )
        size = TEXTS * batch_parts(self.encoder.mesh)
        return self.encoder.embed_texts(list(texts), self.run.tokenize, batch_size=size, full=True)


def picture_key(
    opened: Opened, pictures: Source, *, rule: str, feature: str = EMBEDDING
) -> dict[str, Any]:
    """What the embeddings, or another feature, of a set's pictures are of."""
    own = opened.run.card["preprocess"]
    return {
        "feature": feature,
        "model": opened.fingerprint,
        "preprocess": whole_preprocess(opened).to_dict() if feature in OF_PATCHES else own,
        "pictures": pictures.fingerprint,
        "rule": rule,
    }


def whole_preprocess(opened: Opened) -> Any:
    """How a model takes pictures whose patches are asked for: whole, so that it is known where in
    the picture each of them lies."""
    return opened.run.preprocess.whole


def text_key(opened: Opened, texts: Sequence[str]) -> dict[str, Any]:
    """What the embeddings of texts are of."""
    digest = hashlib.sha256("\0".join(texts).encode("utf-8", "surrogatepass")).hexdigest()
    tokenizer = opened.run.card["tokenizer"]
    return {"model": opened.fingerprint, "tokenizer": tokenizer, "texts": digest}


def embed_pictures(
    models: Sequence[Opened],
    found: EvalSet,
    *,
    store: VectorStore,
    rule: str = PLAIN,
    features: Sequence[str] = (EMBEDDING,),
    threads: int = THREADS,
    progress: Progress | None = None,
) -> list[int]:
    """Keeps the embeddings of a set's pictures by models that have not embedded them yet.

    Of several features all are made where one is lacking, so that those of a sweep that was stopped
    come from the same program. What a model has not is left out.

    With several processes each decodes its part; all of them must call this at the same time.

    Args:
        models: that take pictures in the same way.
        found: the set.
        store: where they are kept.
        rule: how pictures are decoded, "plain" or "upright".
        features: what is kept of them, see `vlp.evals.features`; of patches alone, or of none.
        threads: batches that are decoded at the same time.
        progress: called with the number of pictures that are done.

    Returns:
        How many pictures each process decoded; nothing where all embeddings are kept already.

    Raises:
        ValueError: a file of the set could not be read to its end, see `check_whole`.
    """
    source = found.pictures
    names = {m: tuple(name for name in features if not m.lacks(name)) for m in models}
    keys = {
        m: {name: picture_key(m, source, rule=rule, feature=name) for name in names[m]}
        for m in models
    }
    own = [not all(map(store.find, keys[m].values())) for m in models]
    seen = multihost_utils.broadcast_one_to_all(np.asarray(own, np.int32))  # by the first process
    lacking = [model for model, is_lacking in zip(models, seen, strict=True) if is_lacking]
    if not lacking:
        return []
    of_patches = features[0] in OF_PATCHES
    preprocess: Any = whole_preprocess(lacking[0]) if of_patches else lacking[0].run.preprocess
    shown = PlainPreprocess(preprocess) if rule == PLAIN else preprocess
    done, loaded = embed_source(
        [model.encoder for model in lacking],
        source,
        shown,
        names=[names[model] for model in lacking],
        threads=threads,
        progress=progress,
    )
    for vectors in done:
        check_whole(found.name, vectors)
    odd = _odd(shown) if rule == PLAIN else []

    def keep() -> None:
        for model, vectors in zip(lacking, done, strict=True):
            for name, of in keys[model].items():
                rows = vectors.features.get(name, vectors.vectors)
                if not store.find(of):
                    store.keep(of, Rows(vectors.ids, rows, [*_left_out(vectors), *odd]))

    store.together(keep)
    return loaded


def check_whole(name: str, found: Embeddings) -> None:
    """Refuses what is only a part of a set: scores of it would be other scores.

    Pictures that are bad themselves are left out and said; see `_left_out`.

    Raises:
        ValueError: files that hold pictures are gone, changed or damaged, or were not read.
    """
    why = {reason: count for reason, count in reasons(found).items() if reason in OF_FILES}
    if why:
        raise ValueError(
            f"all files of {name} must be read, {sum(why.values()):,} pictures lie in files that "
            f"were not: {summary(why)}; nothing is kept of them, the same command tries again"
        )


def _left_out(found: Embeddings) -> list[str]:
    return [f"pictures left out: {summary(reasons(found))}"] if found.rejects else []


def _odd(shown: PlainPreprocess) -> list[str]:
    """A sentence on pictures that other programs show otherwise, of all processes' together."""
    own = np.asarray([shown.odd[kind] for kind in ODD], np.int64)
    counts = multihost_utils.process_allgather(own).reshape(-1, len(ODD)).sum(axis=0)
    if not counts.any():
        return []
    said = ", ".join(f"{n:,} {kind}" for kind, n in zip(ODD, counts, strict=True) if n)
    return [
        f"read as the benchmarks' programs read them, though other programs show them otherwise: "
        f"{said} (--pictures=upright)"
    ]
