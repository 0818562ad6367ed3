"""Who wins a tie by the rule of clip_benchmark: whatever torch's `topk` and `argmax` do with it.

`topk` promises no order among equal scores, so that this holds for the torch that is installed. The
class mean goes by `argmax`, the first of them.

References:
    clip_benchmark.metrics.zeroshot_classification, clip_benchmark.metrics.zeroshot_retrieval.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

MISSING = (
    'ties="reference" asks torch, which is not installed; pip install torch, or take ties="lost", '
    "which gives what every tie lost and every tie won would"
)
_ROWS = 64  # clip_benchmark's batch: in another one the same ties may end otherwise


class Hits(NamedTuple):
    """What clip_benchmark counts as right.

    Attributes:
      tops: by k, whether the right class is among the first k.
      predicted: the class that its mean over classes goes by.
    """

    tops: dict[int, Bool[np.ndarray, " n"]]
    predicted: Int[np.ndarray, " n"]


def check_torch() -> None:
    """Raises ValueError where torch is not installed."""
    _torch()


def class_hits(
    zimg: Float[np.ndarray, "n *q d"],
    zclass: Float[np.ndarray, "k d"],
    labels: Int[np.ndarray, " n"],
    *,
    dtype: str = "float32",
) -> Hits:
    """Which images clip_benchmark finds right among classes.

    Args:
      zimg: Unit-norm image embeddings.
      zclass: Unit-norm class embeddings.
      labels: Row of `zclass` for each image.
      dtype: Of the logits, "float32" or "bfloat16".

    Raises:
      ValueError: torch is not installed, or an image has several vectors.
    """
    torch = _torch()
    images, classes = (_tensor(x, dtype) for x in (zimg, zclass))
    classes = classes.T.contiguous()  # as there: another layout adds up in another order
    rows = range(0, len(images), _ROWS)
    logits = torch.cat([(100.0 * images[i : i + _ROWS] @ classes).float() for i in rows])
    tops = (1, 5) if len(zclass) >= 5 else (1,)
    best = logits.topk(max(tops), 1, True, True)[1].numpy()
    right = best == np.asarray(labels)[:, None]
    return Hits({k: right[:, :k].any(axis=1) for k in tops}, logits.argmax(axis=1).numpy())


def gallery_hits(
    zimg: Float[np.ndarray, "n *q d"],
    ztxt: Float[np.ndarray, "m d"],
    image_of_text: Int[np.ndarray, " m"],
    *,
    ks: Sequence[int],
    dtype: str = "float32",
) -> tuple[dict[int, Bool[np.ndarray, " m"]], dict[int, Bool[np.ndarray, " n"]]]:
    """Whether clip_benchmark finds each text's image, and a text of each image, among the first k.

    Args:
      zimg: Unit-norm image embeddings.
      ztxt: Unit-norm text embeddings.
      image_of_text: Row of `zimg` that each text describes.
      ks: Cut-offs; those beyond the candidates, with which it fails, are left out.
      dtype: Of the scores.

    Returns:
      By k, of texts and of images; an image without texts is never right.

    Raises:
      ValueError: torch is not installed, or an image has several vectors.
    """
    scores = _tensor(ztxt, dtype) @ _tensor(zimg, dtype).T
    owner = np.asarray(image_of_text)
    of_texts, of_images = {}, {}
    for k in ks:
        if k <= len(zimg):
            found = np.concatenate(list(_firsts(scores, k)))
            of_texts[k] = (found == owner[:, None]).any(axis=1)
        if k <= len(ztxt):
            found = np.concatenate(list(_firsts(scores.T, k)))
            of_images[k] = (owner[found] == np.arange(len(zimg))[:, None]).any(axis=1)
    return of_texts, of_images


def _firsts(scores: Any, k: int) -> Iterator[np.ndarray]:
    torch = _torch()
    for start in range(0, len(scores), _ROWS):
        yield torch.topk(scores[start : start + _ROWS], k, dim=1)[1].numpy()


def _tensor(x: np.ndarray, dtype: str) -> Any:
    if x.ndim != 2:
        raise ValueError(
            f'ties="reference" is of models with one vector a picture, this one has {x.shape[1]}; '
            'take ties="lost"'
        )
    torch = _torch()
    return torch.tensor(np.asarray(x, np.float32)).to(getattr(torch, dtype))


def _torch() -> Any:
    try:
        import torch
    except ImportError as error:
        raise ValueError(MISSING) from error
    return torch
