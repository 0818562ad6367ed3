"""The host's side of a run: source, tokenizer and loader, made from the config."""

import dataclasses
from collections.abc import Collection, Mapping
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from data_pipelines.audio import Spectrogram
from data_pipelines.checks import check_choice
from data_pipelines.images import ImagePreprocess, open_preprocess
from data_pipelines.limits import LIMITS, Limits
from data_pipelines.loader import Loader, make_loader
from data_pipelines.mixtures import Mixture
from data_pipelines.naflex import NaflexPreprocess
from data_pipelines.order import Blocks
from data_pipelines.several_texts import check_several
from data_pipelines.sources import ConcatSource, ShuffledCaptions, Source
from data_pipelines.sources.base import all_captions
from data_pipelines.text import Tokenizer, train_sentencepiece
from vlp.interop.card import build_card
from vlp.jobs.data_checks import check_captions
from vlp.run.build import Plan, objective_fields
from vlp.run.chosen import open_chosen
from vlp.run.fields import host_fields, optional_fields
from vlp.run.sets import pair_sets
from vlp.run.tokenizers import published_tokenizer
from vlp.run.weights import check_tokenizer
from vlp.run.workdir import Workdir
from vlp.training.optim.schedules import parse_duration


@dataclasses.dataclass(frozen=True)
class Inputs:
    """What the host prepares.

    Attributes:
        source: the training pairs.
        loader: their batches.
        tokenizer: captions to ids; None where no tower reads any.
        preprocess: evaluation preprocessing.
        length: tokens a caption.
        spectrogram: what sounds become; None where no tower hears.
    """

    source: Source
    loader: Loader
    tokenizer: Tokenizer | None
    preprocess: ImagePreprocess | NaflexPreprocess
    length: int
    spectrogram: Spectrogram | None = None

    def tokenize(self, texts: list[str]) -> np.ndarray:
        """Token ids int32 `[n, l]`."""
        assert self.tokenizer is not None, "nothing reads texts"
        return self.tokenizer.encode(texts, self.length)

    def card(self, planned: Plan, config: ConfigDict) -> dict[str, Any]:
        """The card of the model that trains on these inputs."""
        card = build_card(
            model=planned.model_kwargs,
            preprocess=self.preprocess.to_dict(),
            tokenizer=self.tokenizer,
            text_length=self.length,
            objective=config.objective.name,
            attribution="\n".join(config.attribution),
            weights="ema" if planned.evaluated == "averaged" else "params",
        )
        if self.spectrogram is not None:
            card["audio"] = self.spectrogram.to_dict()
        return card


def open_inputs(config: ConfigDict, workdir: Workdir, *, sharing: int = 1) -> Inputs:
    """The training data, the tokenizer (trained if need be) and the loader; writes nothing.

    Args:
        config: of the run.
        workdir: of the run.
        sharing: processes of the run that share the cores of this one, itself included.

    Raises:
        ValueError: when data, tokenizer and config do not fit together.
    """
    data = config.data
    names = objective_fields(config)
    optional = optional_fields(names)
    source, mixture = _training_data(config, needs=set(names) - optional)
    if data.captions_per_image > 1:
        check_several(source, data.captions_per_image)
    reads = "text" in names or config.model.get("text", {}) is not None
    tokenizer = _tokenizer(config, source, workdir) if reads else None
    if data.shuffled_captions:
        source = ShuffledCaptions(source, share=data.shuffled_captions)
    preprocess = open_preprocess(config.preprocess.to_dict())
    loader = make_loader(
        source,
        fields=host_fields(config, names, tokenizer=tokenizer, source=source),
        optional=optional,
        global_batch_size=config.train.global_batch_size,
        seed=config.seed,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
        num_threads=data.threads,
        num_workers=data.workers,
        sharing=sharing,
        blocks=_blocks(data),
        mixture=mixture,
        stall_s=data.stall_s,
        max_reject_share=data.max_reject_share,
    )
    hears = "audio" in names
    spectrogram = Spectrogram(**config.audio.to_dict()) if hears else None
    return Inputs(source, loader, tokenizer, preprocess, config.tokenizer.length, spectrogram)


def _blocks(data: ConfigDict) -> Blocks | None:
    check_choice("config.data.shuffle", data.shuffle, ("full", "blocks"))
    if data.shuffle == "full":
        return None
    return Blocks(size=data.shuffle_block, window=data.shuffle_window)


def _training_data(config: ConfigDict, *, needs: Collection[str]) -> tuple[Source, Mixture | None]:
    """The data that a config names, by sets or by one."""
    data = config.data
    limits = Limits(**data.limits.to_dict())
    if data.sets:
        if data.train or data.labelled or data.subset or data.captions:
            given = ("labelled", "subset", "captions", "train")
            raise ValueError(
                f"config.data.sets take the place of config.data.train and its {', '.join(given)}, "
                f"got {', '.join(repr(data[name]) for name in given if data[name])} as well; make "
                "each a set"
            )
        return pair_sets(
            data.sets.to_dict(),
            needs=needs,
            limits=limits,
            temperature=data.temperature,
            length=lambda samples: (
                parse_duration(
                    config.train.total,
                    global_batch_size=config.train.global_batch_size,
                    samples_per_epoch=samples,
                )
                * config.train.global_batch_size
            ),
        )
    if data.temperature is not None:
        raise ValueError(
            f"config.data.temperature mixes config.data.sets, got {data.temperature} and no sets; "
            "leave it out"
        )
    labels = ("labelled", "label_field", "label_templates", "label_classes", "label_share")
    own = {name: data[name] for name in labels}
    used = dict(subset=data.subset, kinds=data.captions.to_dict())
    return training_data(data.train, **own, **used, limits=limits, captions="text" in needs)


def training_data(
    train: str,
    *,
    labelled: str = "",
    label_field: str = "label",
    label_templates: str = "clip7",
    label_classes: str = "",
    label_share: float | None = None,
    limits: Limits = LIMITS,
    captions: bool = True,
    subset: str = "",
    kinds: Mapping[str, float] | None = None,
) -> tuple[Source, Mixture | None]:
    """The pairs of a run, those with captions made of labels last, and how they are mixed.

    Args:
        train: image-text pairs, see `data_pipelines.sources`; "" for none.
        labelled: images with labels, of the same forms; "" for none.
        label_field, label_templates: see `LabelSource`; the templates are a set of
            `vlp.evals.prompts` or a file with one a line.
        label_classes: a file that names the classes, see `vlp.evals.classes.read_classes`; labels
            that are numbers need it.
        label_share: of each batch, from the labelled images; None uses every sample equally often.
        limits: how large the parts of a sample may be.
        captions: whether pairs need them.
        subset: a file that lists the pairs that are used, see `vlp.run.chosen`; "" for all.
        kinds: of captions, likewise; none for the pairs' own.

    Raises:
        ValueError: when there are neither, or something is wrong with what is there.
    """
    if not labelled and not train:
        raise ValueError(
            "a run needs config.data.train or config.data.labelled, got neither; or sets of pairs, "
            "config.data.sets"
        )
    if label_share is not None and not (labelled and train):
        raise ValueError(
            "config.data.label_share mixes config.data.train and config.data.labelled, got "
            f"{label_share} with {train!r} and {labelled!r}; give both, or no share"
        )
    if not train and (subset or kinds):
        raise ValueError(
            f"config.data.subset and config.data.captions are of config.data.train, got {subset!r} "
            f"and {kinds} without it; leave them out"
        )
    chosen: Any = dict(subset=subset, kinds=kinds, limits=limits)
    if not labelled:
        return _pairs(train, **chosen, captions=captions), None
    by_labels = open_chosen(
        labelled,
        label=label_field,
        label_templates=label_templates,
        label_classes=label_classes,
        limits=limits,
    )
    if not train:
        return by_labels, None
    pairs = _pairs(train, **chosen, captions=captions)
    mixture = (
        None if label_share is None else Mixture((len(pairs),), (label_share,), ("pairs", "labels"))
    )
    return ConcatSource([pairs, by_labels]), mixture


def _pairs(
    train: str, *, subset: str, kinds: Mapping[str, float] | None, limits: Limits, captions: bool
) -> Source:
    source = open_chosen(train, subset=subset, captions=kinds, limits=limits)
    if captions:
        check_captions(source, "training on image-text pairs")
    return source


def _tokenizer(config: ConfigDict, source: Source, workdir: Workdir) -> Tokenizer:
    """The run's tokenizer: the workdir's, else the config's, else one trained on the captions.

    Training is deterministic, so that every process of a run makes the same one.
    """
    settings = config.tokenizer
    tokenizer = workdir.read_tokenizer()
    if tokenizer is None:
        tokenizer = (
            published_tokenizer(settings.path, begin=settings.begin)
            if settings.path
            else train_sentencepiece(
                all_captions(source),
                vocab_size=settings.vocab_size,
                name=source.name,
                begin=settings.begin,
            )
        )
        check_tokenizer(config, tokenizer)
    expected = (settings.eos_id, settings.pad_id)
    if tokenizer.vocab_size > settings.vocab_size or (
        (tokenizer.eos_id, tokenizer.pad_id) != expected
    ):
        raise ValueError(
            f"the tokenizer must fit config.tokenizer: it has {tokenizer.vocab_size} pieces, "
            f"eos_id {tokenizer.eos_id} and pad_id {tokenizer.pad_id}, the config has vocab_size "
            f"{settings.vocab_size}, eos_id {settings.eos_id} and pad_id {settings.pad_id}; "
            "change the config to the tokenizer's values"
        )
    return tokenizer
