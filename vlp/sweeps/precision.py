"""What each stage of a sweep is computed in: float32, or as the benchmarks' programs have it."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import ml_dtypes
import numpy as np
from jaxtyping import Float

from vlp.interop.loaded import Loaded, with_settings
from vlp.settings import check_choice

F32, BF16 = "float32", "bfloat16"
FP32, OWN, CLIP_BENCHMARK, DATACOMP = "fp32", "own", "clip_benchmark", "datacomp"
PRECISIONS = (FP32, OWN, CLIP_BENCHMARK, DATACOMP)
SCALE = 100  # of clip_benchmark's logits, whatever the model's own


@dataclasses.dataclass(frozen=True)
class Stages:
    """What is computed in what.

    Attributes:
        image, text: the towers; "" for what the model was made for.
        vectors: unit-norm embeddings, and the means of a class's prompts.
        scores: cosines, or 100 times these.
    """

    image: str = F32
    text: str = F32
    vectors: str = F32
    scores: str = F32

    def rounded(self, vectors: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
        """Vectors as exact as these are kept."""
        return _rounded(vectors, self.vectors)

    def scored(self, scores: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
        """Scores as exact as these are."""
        return _rounded(scores, self.scores)

    def logits_of(self, zimg: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
        """Pictures as they enter the product with classes: 100 times, where that is rounded."""
        return zimg if self.scores == F32 else _rounded(SCALE * zimg, self.scores)


_AUTOCAST = Stages(BF16, BF16, BF16, BF16)


def stages_of(precision: str, task: str) -> Stages:
    """The stages of a task.

    "clip_benchmark" is its default, autocast, as it works on CPUs: everything in bfloat16, the
    logits too, so that many tie. On GPUs it is float16 with norms in float32, which is nearer to
    "fp32". "datacomp" has pictures and logits in float32 and the prompts' tower alone under
    autocast; its retrieval is clip_benchmark's.

    Args:
        precision: "fp32", "own" (towers as the model was made, the rest in float32),
            "clip_benchmark" or "datacomp".
        task: of the sweep.

    Raises:
        ValueError: there is no such precision.
    """
    check_choice("precision", precision, PRECISIONS)
    if precision == OWN:
        return Stages("", "")
    if precision == CLIP_BENCHMARK or precision == DATACOMP and task == "retrieval":
        return _AUTOCAST
    return Stages(text=BF16) if precision == DATACOMP else Stages()


def computed_in(model: Loaded, stages: Stages) -> Loaded:
    """The same weights in towers that compute in these, or the model itself where they do already.

    Raises:
        ValueError: a tower has no such setting.
    """
    wanted = {
        name: {"dtype": dtype}
        for name, dtype in (("image", stages.image), ("text", stages.text))
        if dtype and model.kwargs[name] is not None and dtype != _dtype(model.kwargs[name])
    }
    return with_settings(model, **wanted) if wanted else model


def _dtype(tower: Mapping[str, Any]) -> str:
    return tower.get("dtype", F32)


def _rounded(x: Float[np.ndarray, "..."], dtype: str) -> Float[np.ndarray, "..."]:
    return x if dtype == F32 else np.asarray(x).astype(ml_dtypes.bfloat16).astype(np.float32)
