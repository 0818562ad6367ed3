"""An encoder with the data sets it has embedded: what all evaluations share."""

import dataclasses
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np

from data_pipelines.evaluation import eval_captions
from data_pipelines.faults import summary
from data_pipelines.opening import open_source
from data_pipelines.sources import Source
from data_pipelines.threads import THREADS
from vlp.evals.embed import Encoder, Progress, match
from vlp.interop.loaded import Run
from vlp.jobs.embedding import embed_source, reasons
from vlp.jobs.gallery import Gallery, Images
from vlp.parallel.mesh import make_mesh

BATCH = 256


@dataclasses.dataclass
class Evaluator:
    """One encoder with its preprocessing and tokenizer; embeds each data set once.

    Attributes:
        encoder: embeds batches and strings.
        preprocess: an `ImagePreprocess` or `NaflexPreprocess`.
        tokenize: strings to int32 `[n, l]`.
        decode: such ids to strings, what stands for no word left out; None without a tokenizer.
        step: training step of the encoder's weights.
        dtype: what the towers compute in.
        threads: batches that are loaded at the same time.
        progress: called with the number of images that are embedded so far.
        sources: data sets that are open already, by what they are called in `evaluate`.
        spectrogram: a `Spectrogram`, where the model hears.
    """

    encoder: Encoder
    preprocess: Any
    tokenize: Callable[[list[str]], np.ndarray]
    decode: Any
    step: int
    dtype: str
    threads: int = THREADS
    progress: Progress | None = None
    sources: dict[str, Source] = dataclasses.field(default_factory=dict)
    spectrogram: Any = None
    _images: dict[tuple[str, str], Images] = dataclasses.field(default_factory=dict)
    _galleries: dict[tuple[str, str, str], Gallery] = dataclasses.field(default_factory=dict)

    @classmethod
    def of_run(
        cls, run: Run, *, threads: int = THREADS, progress: Progress | None = None
    ) -> "Evaluator":
        """The evaluator of a model that was loaded, on all devices."""
        mesh = make_mesh()
        encoder = Encoder.from_model(run.model, text=run.card["model"]["text"], mesh=mesh)
        dtype = getattr(run.model.image or run.model.text, "dtype", "float32")
        how: Any = dict(threads=threads, progress=progress)
        return cls.of(run, encoder, step=run.step, dtype=dtype, **how)

    @classmethod
    def of(
        cls, host: Any, encoder: Encoder, *, step: int, dtype: str, **others: Any
    ) -> "Evaluator":
        """The evaluator that prepares as a run that was loaded, or the inputs of one."""
        decode = host.tokenizer and host.tokenizer.decode
        own = (encoder, host.preprocess, host.tokenize, decode, step, dtype)
        return cls(*own, spectrogram=host.spectrogram, **others)

    def source(self, data: str) -> Source:
        """The data set, opened once."""
        if data not in self.sources:
            self.sources[data] = open_source(data)
        return self.sources[data]

    def images(self, data: str, *, modality: str = "image") -> Images:
        """The embedded images of a data set, or its sounds.

        Raises:
            ValueError: none can be read.
        """
        if (data, modality) not in self._images:
            self._images[data, modality] = self._embedded(self.source(data), modality)
        return self._images[data, modality]

    def gallery(self, data: str, *, captions: str = "first", modality: str = "image") -> Gallery:
        """The embedded images, or sounds, and captions of a data set.

        Raises:
            ValueError: none has a usable caption.
        """
        key = (data, captions, modality)
        if key not in self._galleries:
            images = self.images(data, modality=modality)
            self._galleries[key] = self._captioned(images, captions)
        return self._galleries[key]

    def _embedded(self, source: Source, modality: str) -> Images:
        preprocess = self.spectrogram if modality == "audio" else self.preprocess
        (found,), _ = embed_source(
            [self.encoder],
            source,
            preprocess,
            modality=modality,
            threads=self.threads,
            progress=self.progress,
        )
        rejects = reasons(found)
        if not len(found):
            raise ValueError(
                f"{source.name} must hold {modality} that can be read, of {len(source):,} samples "
                f"none can: {summary(rejects)}"
            )
        return Images(source, preprocess, self.threads, found.ids, found.vectors, rejects)

    def _captioned(self, images: Images, captions: str) -> Gallery:
        found = eval_captions(images.source, captions=captions)
        kept, image_of_text = match(images.ids, found.ids)
        texts = [found.texts[i] for i in kept]
        if not texts:
            raise ValueError(
                f"{images.source.name} must hold an image with a caption, found none: "
                f"{summary(Counter(images.rejects) + found.rejects)}"
            )
        ztxt = self.encoder.embed_texts(texts, self.tokenize, batch_size=BATCH)
        return Gallery(
            **vars(images),
            texts=texts,
            ztxt=ztxt,
            image_of_text=image_of_text,
            left_out=found.rejects,
        )

    def tokens(self, texts: list[str]) -> np.ndarray:
        """Token ids int32 `[m, l]` of any number of texts."""
        parts = (texts[i : i + BATCH] for i in range(0, len(texts), BATCH))
        return np.concatenate([self.tokenize(part) for part in parts])
