"""The gate of every export: does the written folder compute what the model computes?

The folder is read by another implementation, both sides get the same pictures and captions, and
pixels, token ids, embeddings and logits are compared. No parity, no folder.
"""

import abc
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from vlp.interop.loaded import Loaded, Run, with_settings
from vlp.interop.samples import TEXTS, sample_images
from vlp.models.naflex import NaflexImages, device_images
from vlp.models.trim import needed_columns
from vlp.version import __version__

FILE = "parity.json"
BATCH_SIZES = (1, 5)
TOLERANCE = {
    "least_cosine": 0.99999,
    "most_pixel_levels": 1.0,  # of 255: resizing may round the other way
    "most_relative_error": 1e-3,  # of logits and hidden states: a cosine sees no wrong scale
}
_PAIRS = 10
_SCALED = ("logits", "match", "caption_logits", "image_hidden_states", "text_hidden_states")


class Reader(abc.ABC):
    """Another implementation that has opened an exported folder.

    Attributes:
        name: of the implementation.
        versions: of the libraries that take part.
        tolerance: what differs from `TOLERANCE`, for artefacts of lower precision.
        plain: true where it reads tokenizer.json and nothing else.
    """

    name: str
    versions: Mapping[str, str]
    tolerance: Mapping[str, float] = {}
    plain = False

    def pixels(self, images: Sequence[Image.Image]) -> Any:
        """Normalised float32 `[n, 3, h, w]`, or NaflexImages; None: it brings no preprocessing."""
        return None

    def ids(self, texts: Sequence[str]) -> np.ndarray | None:
        """Token ids `[n, l]`; None: it brings no tokenizer."""
        return None

    @abc.abstractmethod
    def forward(self, pixels: Any, ids: Any) -> Mapping[str, np.ndarray]:
        """Any of image_embeds, text_embeds, logits, image_hidden_states, text_hidden_states; of
        fusion models also match `[n, 2]` and caption_logits `[n, l, v]`, row by row. What comes
        from a further file of the folder has that file's name in front: "joint/logits".

        Embeddings have unit norm; hidden states are `[states, n, t, w]`. An argument is None where
        the folder holds no such tower.
        """


def check(
    run: Run,
    reader: Reader,
    *,
    towers: str = "both",
    preprocess: Any = None,
    clean: Callable[[str], str] | None = None,
) -> dict[str, Any]:
    """Compares, and returns the report.

    Args:
        run: what was exported.
        reader: of the export.
        towers: "both", "image" or "text": what was exported of it.
        preprocess: what that stack does to pictures where it cannot do quite what ours does.
        clean: what is done to texts before the reader's tokenizer gets them, where that stack's
            tokenizers cannot do it by themselves.

    Raises:
        ValueError: the two sides differ; says in what and by how much.
    """
    report = _measure(run, reader, towers, preprocess, clean)
    failures = _failures(report)
    if failures:
        raise ValueError(
            f"the export must compute what the model computes, but {'; '.join(failures)} "
            f"(compared with {reader.name}); nothing was written. Please report this"
        )
    return report | {"verified": True}


def _measure(
    run: Run, reader: Reader, towers: str, preprocess: Any, clean: Callable[[str], str] | None
) -> dict[str, Any]:
    """How far the two sides agree, as JSON data."""
    report: dict[str, Any] = {
        "format": 2,
        "verified": False,
        "verified_with": reader.name,
        "versions": {"vlp": __version__, **reader.versions},
        "weights": run.weights,
        "step": run.step,
        "tolerance": {**TOLERANCE, **reader.tolerance},
        "batch_sizes": list(BATCH_SIZES),
    }
    images = ids = None
    if run.model.image is not None and towers != "text":
        size = getattr(run.preprocess, "size", None) or 4 * run.model.image.patch_size
        pictures = list(sample_images(size))
        used = preprocess or run.preprocess
        images = device_images(used(pictures))
        theirs = reader.pixels(pictures)
        if theirs is not None:
            levels = _levels(run.model, images, theirs)
            report["pixels"] = {"images": len(pictures), "max_levels": levels}
            if used.to_dict() != run.preprocess.to_dict():
                both = (run.preprocess.to_dict(), used.to_dict())
                report["pixels"] |= dict(zip(("trained_with", "now"), both, strict=True))
    if run.model.text is not None and towers != "image":
        ids = _ids(run)
        texts = [clean(text) for text in TEXTS] if clean else list(TEXTS)
        theirs = reader.ids(texts) if run.tokenizer is not None else None
        if theirs is not None:
            unequal = _unequal(run, ids, theirs)
            report["token_ids"] = {"texts": len(TEXTS), "unequal": unequal}
            report["token_ids"] |= _excepted(run, reader, unequal)
            if clean:
                report["token_ids"]["cleaned_before"] = getattr(clean, "__name__", "yes")
    return report | {"outputs": _compare(run, reader, images, ids)}


def unverified(run: Run, *, reason: str) -> dict[str, Any]:
    """The report of an export that nothing here could read."""
    return {
        "format": 2,
        "verified": False,
        "reason": reason,
        "versions": {"vlp": __version__},
        "weights": run.weights,
        "step": run.step,
    }


def summary(report: dict[str, Any]) -> str:
    """The report in a line for people."""
    if not report["verified"]:
        return f"NOT VERIFIED: {report['reason']}"
    worst = {
        name: max(result["max_abs_difference"] for result in by_batch.values())
        for name, by_batch in report["outputs"].items()
    }
    parts = [f"{name} within {difference:.0e}" for name, difference in worst.items()]
    if "pixels" in report:
        parts.append(f"pixels within {report['pixels']['max_levels']:.1g} of 255 levels")
    if "token_ids" in report:
        ids = report["token_ids"]
        parts.append(f"the ids of {ids['texts'] - len(ids.get('excepted', ()))} captions equal")
    with_version = report["versions"].get(report["verified_with"], "")
    return f"verified with {report['verified_with']} {with_version}".rstrip() + (
        ": " + ", ".join(parts)
    )


def _ids(run: Run) -> np.ndarray:
    """The captions as ids; without a tokenizer, ids that end where such a text would."""
    if run.tokenizer is not None:
        return run.tokenize(TEXTS)
    text = run.model.text
    ids = np.random.default_rng(0).integers(0, text.vocab_size, (len(TEXTS), text.length))
    ids[:, text.length // 2] = getattr(text, "eos_id", 0)
    return ids.astype(np.int32)


def _levels(model: Loaded, images: Any, theirs: Any) -> float:
    """The largest difference of pixels in levels of 255."""
    ours = _normalised(model, images)
    if isinstance(ours, NaflexImages):
        std = np.resize(np.asarray(model.image_std, np.float32), ours.patches.shape[-1])
        same = np.array_equal(ours.mask, theirs.mask) and np.array_equal(ours.grid, theirs.grid)
        difference = np.abs(ours.patches - theirs.patches)[np.asarray(ours.mask)]
        return float((difference * std).max() * 255) if same else float("inf")
    channels = np.asarray(model.image_std, np.float32).reshape(3, 1, 1)
    return float((np.abs(ours - theirs) * channels).max() * 255)


def _compare(run: Run, reader: Reader, images: Any, ids: Any) -> dict[str, Any]:
    """For each output and batch size the largest difference and the worst cosine."""
    exact = with_settings(run.model, dtype="float32", attention="einsum")
    order = np.arange(_PAIRS)
    images, ids = (
        _take(x, order % len(jax.tree.leaves(x)[0])) if x is not None else None
        for x in (images, ids)
    )
    # The same pixels on both sides, so that a resize's rounding is not taken for wrong weights.
    pixels = None if images is None else _normalised(run.model, images)
    pairs: dict[str, dict[str, list]] = {}
    for batch_size in BATCH_SIZES:
        for start in range(0, _PAIRS, batch_size):
            rows = order[start : start + batch_size]
            given = (_take(images, rows), _take(ids, rows))
            theirs = reader.forward(_take(pixels, rows), given[1])
            ours = _forward(exact, *given, wanted=tuple(map(_output, theirs)))
            for name, value in theirs.items():
                by_batch = pairs.setdefault(name, {}).setdefault(f"batch {batch_size}", [])
                by_batch.append((ours[_output(name)], np.asarray(value)))
    return {
        name: {batch: _distance(_output(name), found) for batch, found in by_batch.items()}
        for name, by_batch in pairs.items()
    }


def _output(name: str) -> str:
    """An output's name without the file it came from."""
    return name.rpartition("/")[-1]


def _take(x: Any, rows: np.ndarray) -> Any:
    return jax.tree.map(lambda leaf: np.asarray(leaf)[rows], x)


def _forward(
    model: Any, images: Any, ids: Any, *, wanted: tuple[str, ...]
) -> dict[str, np.ndarray]:
    found: dict[str, Any] = {}
    with jax.default_matmul_precision("float32"):  # accelerators round to bfloat16 otherwise
        if images is not None:
            found["image_embeds"] = model.encode_image(images).embedding
            if "image_hidden_states" in wanted:
                found["image_hidden_states"] = model.image_hidden_states(images)
        if "text_embeds" in wanted:
            found["text_embeds"] = model.encode_text(ids).embedding
        if "text_hidden_states" in wanted:
            found["text_hidden_states"] = model.text_hidden_states(ids)
        if "logits" in wanted:
            found["logits"] = model.logits(found["image_embeds"], found["text_embeds"])
        if "match" in wanted:
            image, caption = model.encode_image(images), model.encode_text(ids)
            found["match"] = model.match(image, caption, ids)
        if "caption_logits" in wanted:
            behind = np.pad(ids, ((0, 0), (0, 1)))  # of the last token nothing is asked
            found["caption_logits"] = model.decode(model.encode_image(images), None, behind)
    return {name: np.asarray(value) for name, value in found.items()}


def _normalised(model: Loaded, images: Any) -> Any:
    """What the tower gets; `[n, 3, h, w]` where it is a picture."""
    pixels = model.normalise(jax.tree.map(jnp.asarray, images))
    if isinstance(pixels, NaflexImages):
        return jax.tree.map(np.asarray, pixels)
    return np.asarray(pixels).transpose(0, 3, 1, 2)


def _distance(name: str, pairs: list[tuple[np.ndarray, np.ndarray]]) -> dict[str, float]:
    if name == "logits":  # one row of all: the matrices are small, down to a single number
        pairs = [(a.reshape(-1, 1), b.reshape(-1, 1)) for a, b in pairs]
    flat = [[x.reshape(-1, x.shape[-1]) for x in side] for side in zip(*pairs, strict=True)]
    ours, theirs = (np.concatenate(side).astype(np.float64) for side in flat)
    if name == "logits":
        ours, theirs = ours.T, theirs.T
    norms = np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1)
    cosines = np.sum(ours * theirs, axis=1) / np.where(norms > 0, norms, 1)
    difference = np.abs(ours - theirs).max()
    return {
        # Padding that both sides leave at zero has no direction.
        "worst_cosine": float(np.where(norms == 0, 1, cosines).min()),
        "max_abs_difference": float(difference),
        "max_relative_difference": float(difference / np.abs(ours).max()),
    }


def _unequal(run: Run, ours: np.ndarray, theirs: np.ndarray) -> list[str]:
    """The texts whose ids differ where the tower looks; all, where even the lengths do."""
    if ours.shape != theirs.shape:
        return list(TEXTS)
    # What fills a row behind the end of a text may be another token there.
    seen = np.arange(ours.shape[1]) < needed_columns(run.card["model"]["text"], ours)[:, None]
    return [TEXTS[row] for row in np.flatnonzero(((ours != theirs) & seen).any(axis=1))]


def _excepted(run: Run, reader: Reader, unequal: list[str]) -> dict[str, list[str]]:
    """Sets captions apart that name special tokens, which a tokenizer.json of SigLIP reads its own
    way."""
    named = getattr(run.tokenizer, "names_special", None)
    if named is None or not reader.plain:
        return {}
    excepted = [text for text in unequal if named(text)]
    others = [text for text in unequal if not named(text)]
    return {"unequal": others, "excepted": excepted} if excepted else {}


def _failures(report: dict[str, Any]) -> list[str]:
    failures, allowed = [], report["tolerance"]
    for name, by_batch in report["outputs"].items():
        for batch, result in by_batch.items():
            # Written so that NaN fails.
            if not result["worst_cosine"] >= allowed["least_cosine"]:
                failures.append(f"{name} have a cosine of {result['worst_cosine']:.6f} at {batch}")
            error = result["max_relative_difference"]
            if _output(name) in _SCALED and not error <= allowed["most_relative_error"]:
                failures.append(f"{name} differ by {error:.2%} at {batch}")
    levels = report.get("pixels", {}).get("max_levels", 0.0)
    if not levels <= allowed["most_pixel_levels"] + 1e-3:
        failures.append(f"pixels differ by up to {levels:.1f} levels of 255")
    unequal = report.get("token_ids", {}).get("unequal", [])
    if unequal:
        failures.append(f"{len(unequal)} texts get other token ids, such as {unequal[0][:40]!r}")
    return failures
