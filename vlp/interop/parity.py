"""The gate of every export: does the written folder compute what the model computes?

The folder is read by another implementation, both sides get the same pictures and captions, and
pixels, token ids, embeddings and logits are compared. No parity, no folder.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from PIL import Image

from vlp.interop.load import LoadedEncoder, Run
from vlp.version import __version__

FILE = "parity.json"
BATCH_SIZES = (1, 5)
LEAST_COSINE = 0.99999
MOST_PIXEL_LEVELS = 1.0  # of 255: resizing may round the other way
MOST_LOGIT_ERROR = 1e-3  # relative to the largest logit: a cosine would not see a wrong scale
_OUTPUTS = ("image_embeds", "text_embeds", "logits")
_PAIRS = 10

# Plain captions, and what has been seen to come out differently elsewhere.
TEXTS = (
    "a photo of a cat",
    "A smiling face with heart-shaped eyes, on a white background",
    "don\u2019t \u201cquote\u201d \u2014 dash\u2026",
    "the \ufb01rst \ufb02oor of the of\ufb01ce",
    "Tom &amp; Jerry &lt;3 &#39;",
    "\u2764\ufe0f\u200d\U0001f525 \U0001f468\u200d\U0001f469\u200d\U0001f467 1\ufe0f\u20e3",
    "\xa9\ufe0f \xbd\ufe0f \u24c2\ufe0f",
    "\u65e5\u672c\u8a9e \uff76\uff9e\uff77\uff9e \uac00\ub098 \u1100\u1161",
    "na\xefve cafe\u0301 Stra\xdfe \u0130stanbul \u03a3\u0391\u03a3 \uff21\uff22\uff5e",
    "",
    "word " * 300,
    "   two  spaces \t tab\nline ",
    "</s> <pad> <unk> <0x41> <end of text>",
    "\u2581leading \u2581mark\u2581",
    "\u0645\u0631\u062d\u0628\u0627 \u05e9\u05dc\u05d5\u05dd \u200bzero\u200cwidth\ufeff",
    "x" * 500,
)


@runtime_checkable
class Reader(Protocol):
    """Another implementation that has opened an exported folder."""

    name: str

    @property
    def versions(self) -> dict[str, str]: ...
    def pixels(self, images: Sequence[Image.Image]) -> np.ndarray: ...
    def ids(self, texts: Sequence[str]) -> np.ndarray: ...
    def forward(self, pixels: np.ndarray, ids: np.ndarray) -> tuple[np.ndarray, ...]: ...


def check(run: Run, reader: Reader) -> dict[str, Any]:
    """Compares, and returns the report.

    Raises:
        ValueError: the two sides differ; says in what and by how much.
    """
    report = measure(run, reader)
    failures = _failures(report)
    if failures:
        raise ValueError(
            f"the export must compute what the model computes, but {'; '.join(failures)} "
            f"(compared with {reader.name}); nothing was written. Please report this"
        )
    return report | {"verified": True}


def measure(run: Run, reader: Reader) -> dict[str, Any]:
    """How far the two sides agree, as JSON data."""
    images = list(sample_images(run.preprocess.size))
    ours, theirs = run.preprocess(images), reader.pixels(images)
    std = np.asarray(run.model.image_std, np.float32).reshape(3, 1, 1)
    levels = np.abs(_normalised(run.model, ours) - theirs) * std * 255
    ids = run.tokenize(TEXTS)
    unequal = _unequal(ids, reader.ids(TEXTS))
    pairs = np.arange(_PAIRS)
    outputs = _compare(run, reader, ours[pairs % len(ours)], ids[pairs % len(ids)])
    return {
        "format": 1,
        "verified": False,
        "verified_with": reader.name,
        "versions": {"vlp": __version__, **reader.versions},
        "weights": run.weights,
        "step": run.step,
        "tolerance": {
            "least_cosine": LEAST_COSINE,
            "most_pixel_levels": MOST_PIXEL_LEVELS,
            "most_relative_logit_error": MOST_LOGIT_ERROR,
        },
        "batch_sizes": list(BATCH_SIZES),
        "outputs": outputs,
        "pixels": {"images": len(images), "max_levels": float(levels.max())},
        "token_ids": {"texts": len(TEXTS), "unequal": unequal},
    }


def summary(report: dict[str, Any]) -> str:
    """The report in a line for people."""
    worst = {
        name: max(result["max_abs_difference"] for result in by_batch.values())
        for name, by_batch in report["outputs"].items()
    }
    figures = ", ".join(f"{name} within {difference:.0e}" for name, difference in worst.items())
    with_version = report["versions"].get(report["verified_with"], "")
    return (
        f"verified with {report['verified_with']} {with_version}".rstrip() + f": {figures}, "
        f"pixels within {report['pixels']['max_levels']:.1g} of 255 levels, "
        f"the ids of {report['token_ids']['texts']} captions equal"
    )


def sample_images(size: int) -> Iterator[Image.Image]:
    """Opaque pictures with edges, noise and slopes: wide, high, tiny, fitting and very long."""
    shapes = ((3 * size, 2 * size), (size + 7, 3 * size + 2), (size // 2 + 1, size // 3 + 1))
    random = np.random.default_rng(0)
    for width, height in (*shapes, (size, size), (8 * size, size + 3)):
        rows, columns = np.mgrid[:height, :width]
        slope = np.stack([rows / height, columns / width, (rows // 5 + columns // 5) % 2], axis=-1)
        noise = random.integers(-40, 40, (height, width, 3))
        yield Image.fromarray((slope * 255 + noise).clip(0, 255).astype(np.uint8))


def write_report(report: dict[str, Any], folder: Path) -> None:
    """Writes the report beside the weights."""
    text = json.dumps(report, indent=2, ensure_ascii=False)
    (folder / FILE).write_text(text + "\n", encoding="utf-8")


def _compare(run: Run, reader: Reader, images: np.ndarray, ids: np.ndarray) -> dict[str, Any]:
    """For each output and batch size the largest difference and the worst cosine."""
    exact = _in_float32(run.model)
    # The same pixels on both sides, so that a resize's rounding is not taken for wrong weights.
    pixels = _normalised(run.model, images)
    results: dict[str, Any] = {name: {} for name in _OUTPUTS}
    for batch_size in BATCH_SIZES:
        chunks = [slice(i, i + batch_size) for i in range(0, len(ids), batch_size)]
        ours = [_forward(exact, images[chunk], ids[chunk]) for chunk in chunks]
        theirs = [reader.forward(pixels[chunk], ids[chunk]) for chunk in chunks]
        for output, (name, result) in enumerate(results.items()):
            pairs = [(a[output], b[output]) for a, b in zip(ours, theirs, strict=True)]
            result[f"batch {batch_size}"] = _distance(name, pairs)
    return results


def _forward(model: LoadedEncoder, images: np.ndarray, ids: np.ndarray) -> tuple[np.ndarray, ...]:
    with jax.default_matmul_precision("float32"):  # accelerators round to bfloat16 otherwise
        zimg, ztxt = model.encode_image(images).embedding, model.encode_text(ids).embedding
        return np.asarray(zimg), np.asarray(ztxt), np.asarray(model.logits(zimg, ztxt))


def _normalised(model: LoadedEncoder, images: np.ndarray) -> np.ndarray:
    return np.asarray(model.normalise(jnp.asarray(images))).transpose(0, 3, 1, 2)


def _in_float32(model: LoadedEncoder) -> LoadedEncoder:
    """The same weights in a model that computes in float32 and runs on any device."""
    kwargs = model.kwargs
    for tower in ("image", "text"):
        kwargs[tower] |= {"dtype": "float32", "attention": "einsum"}
    graphdef = nnx.graphdef(nnx.eval_shape(lambda: LoadedEncoder(**kwargs, rngs=nnx.Rngs(0))))
    return nnx.merge(graphdef, nnx.state(model))


def _distance(name: str, pairs: list[tuple[np.ndarray, np.ndarray]]) -> dict[str, float]:
    if name == "logits":  # one row of all: the matrices are small, down to a single number
        pairs = [(a.reshape(-1, 1), b.reshape(-1, 1)) for a, b in pairs]
    ours = np.concatenate([a for a, _ in pairs]).astype(np.float64)
    theirs = np.concatenate([b for _, b in pairs]).astype(np.float64)
    if name == "logits":
        ours, theirs = ours.T, theirs.T
    norms = np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1)
    difference = np.abs(ours - theirs).max()
    return {
        "worst_cosine": float((np.sum(ours * theirs, axis=1) / norms).min()),
        "max_abs_difference": float(difference),
        "max_relative_difference": float(difference / np.abs(ours).max()),
    }


def _unequal(ours: np.ndarray, theirs: np.ndarray) -> list[str]:
    """The texts whose ids differ; all, where even the lengths do."""
    if ours.shape != theirs.shape:
        return list(TEXTS)
    return [TEXTS[row] for row in np.flatnonzero((ours != theirs).any(axis=1))]


def _failures(report: dict[str, Any]) -> list[str]:
    failures = []
    for name, by_batch in report["outputs"].items():
        for batch, result in by_batch.items():
            # Written so that NaN fails.
            if not result["worst_cosine"] >= LEAST_COSINE:
                failures.append(f"{name} have a cosine of {result['worst_cosine']:.6f} at {batch}")
            error = result["max_relative_difference"]
            if name == "logits" and not error <= MOST_LOGIT_ERROR:
                failures.append(f"logits differ by {error:.2%} at {batch}")
    levels = report["pixels"]["max_levels"]
    if not levels <= MOST_PIXEL_LEVELS + 1e-3:
        failures.append(f"pixels differ by up to {levels:.1f} levels of 255")
    unequal = report["token_ids"]["unequal"]
    if unequal:
        failures.append(f"{len(unequal)} texts get other token ids, such as {unequal[0][:40]!r}")
    return failures
