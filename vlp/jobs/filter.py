"""Filtering the captions of a data set part by part."""

import dataclasses
import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import expit

from data_pipelines.evaluation import eval_captions
from data_pipelines.faults import REASONS, Reject
from data_pipelines.sources import Source
from data_pipelines.sources.base import check_read, sound_of
from data_pipelines.sources.part import PartSource
from data_pipelines.tar_write import sample_bytes
from data_pipelines.text import clean_caption
from vlp.evals.embed import Progress
from vlp.evals.matching import log_odds
from vlp.evals.pairs import read_pairs
from vlp.files import utf8
from vlp.interop.loaded import Run
from vlp.jobs.filter_folder import SOURCES, FilterFolder
from vlp.jobs.job import Job, origin
from vlp.models.protocols import Matches, offers

FIELD = "vlp_filter"  # of the metadata; the data may have a field "filter" of their own
Synthetic = Mapping[int, list[str]]


@dataclasses.dataclass(frozen=True)
class Filter(Job[FilterFolder]):
    """Keeps the captions that match their image.

    Attributes:
        synthetic: further captions, by the index of their sample.
    """

    synthetic: Synthetic

    def write_part(self, out: FilterFolder, part: int, *, progress: Progress) -> None:
        """Judges the captions of a part."""
        lines = self.judge(*out.samples(part), threshold=out.manifest["threshold"])
        out.put(part, lines, self._kept(lines))

    def judge(self, first: int, stop: int, *, threshold: float) -> list[dict[str, Any]]:
        """The manifest's lines of the samples `first` to `stop` (not included), in order."""
        part = PartSource(self.source, first, stop)
        batches = list(self.images(part, rows=self.encoder.divisible(self.rows)))
        ids, weight, reject = (
            np.concatenate([batch[name] for batch in batches])
            for name in ("id", "weight", "reject")
        )
        check_read(Counter(REASONS[code - 1] for code in reject if code), part.name)
        readable = ids[weight > 0]
        lines = self._candidates(part)
        found = set(readable.tolist())
        asked = [line for line in lines if line["index"] - first in found]
        if asked:
            own = np.asarray([line["index"] - first for line in asked])
            odds = read_pairs(
                self.encoder,
                batches,
                function=log_odds,
                images=np.searchsorted(readable, own),
                texts=[self.run.tokenize([line["caption"] for line in asked])],
            )
            for line, score in zip(asked, expit(odds.astype(np.float64)).tolist(), strict=True):
                line |= {"score": round(score, 6), "kept": score >= threshold}
        faults = {
            i: REASONS[code - 1]
            for i, code in zip(ids.tolist(), reject.tolist(), strict=True)
            if code
        }
        captioned = {line["index"] - first for line in lines}
        faults |= {i: "caption missing" for i in found - captioned}
        unusable = [origin(part, i) | {"error": fault} for i, fault in faults.items()]
        return sorted([*asked, *unusable], key=lambda line: line["index"])

    def _candidates(self, part: PartSource) -> list[dict[str, Any]]:
        """Every caption of a part once, without its score, the data's own first."""
        texts, places, left_out = eval_captions(part, captions="all")
        check_read(left_out, part.name)
        web = list(zip(places.tolist(), texts, strict=True))
        indices = range(part.first, part.stop)
        made = [(i - part.first, text) for i in indices for text in self.synthetic.get(i, [])]
        lines, seen = [], set()
        for name, captions in zip(SOURCES, (web, made), strict=True):
            for place, text in captions:
                if (place, text) in seen:
                    continue
                seen.add((place, text))
                lines.append(origin(part, place) | {"source": name, "caption": text})
        return lines

    def _kept(self, lines: Iterable[dict[str, Any]]) -> Iterable[bytes]:
        """The samples that have a caption left; the first of these says what else was left out."""
        by_index: dict[int, list[dict[str, Any]]] = {}
        for line in lines:
            if line.get("kept"):
                by_index.setdefault(line["index"], []).append(line)
        for index, kept in by_index.items():
            meta, sound, lost = self._beside(index)
            if lost:
                kept[0]["left_out"] = lost
            told = {
                "key": kept[0]["key"],
                "file": kept[0]["file"],
                "sources": [line["source"] for line in kept],
                "scores": [line["score"] for line in kept],
            }
            if FIELD in meta:  # filtered before
                told["before"] = meta[FIELD]
            yield sample_bytes(
                f"{index:09d}",
                self.source.image(index),
                [line["caption"] for line in kept],
                meta=meta | {FIELD: told},
                sound=sound,
            )

    def _beside(self, index: int) -> tuple[dict[str, Any], bytes | None, list[str]]:
        """Fields and sound of a sample, and why one of them cannot be read, which is left out."""
        meta: dict[str, Any] = {}
        sound: bytes | None = None
        lost: list[str] = []
        try:
            meta = dict(self.source.meta(index))
        except Reject as fault:
            lost.append(fault.reason)
        try:
            sound = sound_of(self.source, index)
        except Reject as fault:
            lost.append(fault.reason)
        return meta, sound, lost


def check_matches(run: Run) -> None:
    """Raises ValueError when a model does not tell whether image and text belong together."""
    if not offers(run.model, Matches):
        raise ValueError(
            "vlp filter needs a model that tells whether image and text belong together, and this "
            "one does not; train one (--config=experiments/emoji.py:model=blip) or load a BLIP for "
            "retrieval"
        )
    if run.tokenizer is None:
        raise ValueError("captions need the model's tokenizer to be read; give --tokenizer=PATH")


def read_synthetic(path: str | None, source: Source) -> tuple[Synthetic, str | None]:
    """The captions of a file of `vlp caption`, by sample, and the file's sha256; none for None.

    Raises:
        ValueError: a line is no JSON object, or of other data.
    """
    if path is None:
        return {}, None
    found: dict[int, list[str]] = {}
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        for number, raw in enumerate(file, start=1):
            digest.update(raw)
            index, text = _caption(raw, source, where=f"{path}, line {number}")
            if text is not None:
                found.setdefault(index, []).append(text)
    return found, digest.hexdigest()


def _caption(raw: bytes, source: Source, *, where: str) -> tuple[int, str | None]:
    """The sample and the caption of a line; None where it has none that can be used."""
    try:
        line = json.loads(raw)
        index, key, text = line["index"], line["key"], line.get("caption", "")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{where} must be as vlp caption writes it, with key and index, got {raw[:80]!r}; "
            "make the file again"
        ) from error
    if not isinstance(text, str):
        raise ValueError(f"{where}: a caption must be a string, got {text!r}")
    known = isinstance(index, int) and 0 <= index < len(source)
    if not known or utf8(source.key(index)) != key:
        raise ValueError(
            f"{where} must be of a sample of --data, got {key!r} at {index!r}; give the captions "
            "of the same data"
        )
    try:
        return index, clean_caption(text)
    except Reject:  # none, or an empty one
        return index, None
