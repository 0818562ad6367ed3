"""Any model as MTEB's `EncoderProtocol`, so that its image benchmarks (MIEB) judge it.

    import mteb, vlp
    from vlp.evals.mteb import MtebEncoder
    encoder = MtebEncoder(*vlp.load("runs/emoji"), name="me/emoji")
    mteb.evaluate(encoder, mteb.get_benchmark("MIEB(lite)").tasks)

MTEB has to be installed beside vlp; it brings torch, which nothing here asks for.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property, partial
from typing import Any

import jax
import numpy as np
from flax import nnx
from jaxtyping import Float

from vlp.evals.embed import Encoder, lagging, pad_rows
from vlp.models.base import unit_norm
from vlp.models.naflex import device_images
from vlp.models.trim import trimmed
from vlp.parallel.mesh import make_mesh
from vlp.version import __version__

MISSING = "vlp.evals.mteb needs the package mteb, which is not installed: pip install mteb"


class MtebEncoder:
    """A dual encoder that MTEB can ask for embeddings.

    Images are turned to RGB by Pillow first, as MTEB's own wrappers do it. Rows with an image and a
    text are the sum of both embeddings, as there.

    Args:
        model, preprocess, tokenize: what `vlp.load` gives.
        name: of the model in MTEB's tables, "owner/name".
        revision: of it.
        normalise: gives embeddings unit norm; without, they are what the projections make, as of
            MTEB's wrapper of open_clip. Its probes give other scores for the one and the other, its
            zero-shot and retrieval tasks the same, for they compare by cosines.

    Raises:
        ValueError: mteb is not installed, or the model does not embed images and texts.
    """

    def __init__(
        self,
        model: Any,
        preprocess: Callable[..., Any],
        tokenize: Callable[..., np.ndarray],
        *,
        name: str,
        revision: str = "main",
        normalise: bool = True,
    ) -> None:
        _check_installed()
        if model.image is None or model.text is None or preprocess is None:
            raise ValueError(
                f"MTEB needs a model that embeds images and texts, got one of "
                f"{' and '.join(model.towers)}; take another"
            )
        if name.count("/") != 1:
            raise ValueError(f'name must be "owner/name", as MTEB has it, got {name!r}')
        self.name, self.revision, self.normalise = name, revision, normalise
        self._preprocess, self._tokenize = preprocess, tokenize
        self._kwargs = model.kwargs
        self._encoder = Encoder.from_model(model, mesh=make_mesh())

    def encode(
        self,
        inputs: Any,
        *,
        task_metadata: Any,
        hf_split: str,
        hf_subset: str,
        prompt_type: Any = None,
        **settings: Any,
    ) -> Float[np.ndarray, "n d"]:
        """Embeddings of what a data loader of MTEB gives: rows of texts, images, or both.

        Args:
            inputs: whose batches are mappings with lists "text" and "image" (Pillow).
            task_metadata, hf_split, hf_subset, prompt_type, settings: MTEB gives them; no model
                here has prompts by task, and the batches are as large as the loader's.

        Raises:
            ValueError: rows have neither, or the model makes several vectors of one.
        """
        asked = [name for name in ("text", "image") if name in inputs.dataset.features]
        if not asked:
            given = ", ".join(inputs.dataset.features)
            raise ValueError(f"a model of images and texts cannot embed {given or 'nothing'}")
        return np.concatenate(list(self._embedded(inputs, asked)))

    def similarity(self, embeddings1: Any, embeddings2: Any) -> Any:
        """Cosines of all pairs, by MTEB's own function."""
        from mteb.similarity_functions import cos_sim

        return cos_sim(embeddings1, embeddings2)

    def similarity_pairwise(self, embeddings1: Any, embeddings2: Any) -> Any:
        """Cosines of rows of one number, by MTEB's own function."""
        from mteb.similarity_functions import pairwise_cos_sim

        return pairwise_cos_sim(embeddings1, embeddings2)

    @cached_property
    def mteb_model_meta(self) -> Any:
        """What MTEB's tables say of the model."""
        from mteb.models.model_meta import ModelMeta, ScoringFunction

        arrays = jax.tree.leaves(self._encoder.params)
        return ModelMeta(
            loader=None,
            name=self.name,
            revision=self.revision,
            release_date=None,
            languages=None,
            n_parameters=sum(array.size for array in arrays),
            memory_usage_mb=sum(array.nbytes for array in arrays) / 2**20,
            max_tokens=self._kwargs["text"]["length"],
            embed_dim=self._kwargs["embed_dim"],
            license=None,
            open_weights=None,
            public_training_code=None,
            public_training_data=None,
            framework=["JAX"],
            similarity_fn_name=ScoringFunction.COSINE,
            use_instructions=False,
            training_datasets=None,
            modalities=["image", "text"],
            experiment_kwargs={"vlp": __version__, "normalise": self.normalise},
        )

    def _embedded(
        self, batches: Iterable[Mapping[str, Any]], asked: Sequence[str]
    ) -> Iterable[np.ndarray]:
        def begun() -> Iterable[tuple[jax.Array, int]]:
            size = 0
            for batch in batches:
                given = [self._prepared(name, batch[name]) for name in asked]
                size = size or self._encoder.divisible(len(batch[asked[0]]))
                first, *others = (self._begun(*each, size) for each in given)
                yield sum(others, start=first), len(batch[asked[0]])

        for found, count in lagging(begun()):
            vectors = np.asarray(found, np.float32)[:count]
            if vectors.ndim != 2:
                raise ValueError(
                    f"MTEB takes one vector a picture, this model makes {vectors.shape[1]}; judge "
                    "it with vlp sweep"
                )
            yield vectors

    def _prepared(self, name: str, values: Sequence[Any]) -> tuple[str, Any]:
        if name == "text":
            ids = self._tokenize(list(values))
            return name, trimmed(self._kwargs["text"], ids)
        images = self._preprocess([image.convert("RGB") for image in values])
        return name, device_images(images)

    def _begun(self, name: str, inputs: Any, size: int) -> jax.Array:
        own = self._encoder
        rows = jax.tree.map(own.put, jax.tree.map(partial(pad_rows, size=size), inputs))
        return _vectors(name, own.graphdef, own.params, rows, own.out, normalise=self.normalise)


@partial(jax.jit, static_argnames=("name", "graphdef", "out", "normalise"))
def _vectors(
    name: str, graphdef: Any, params: Any, inputs: Any, out: Any, *, normalise: bool
) -> jax.Array:
    model = nnx.merge(graphdef, params)
    encoded, projection = model.encode(name, inputs), getattr(model, f"{name}_projection")
    found = encoded.pooled if projection is None else projection(encoded.pooled)
    found = unit_norm(found) if normalise else found
    return found if out is None else jax.lax.with_sharding_constraint(found, out)


def _check_installed() -> None:
    try:
        import mteb  # noqa: F401
    except ImportError as error:
        raise ValueError(MISSING) from error
