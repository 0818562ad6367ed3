"""A model as a folder that transformers opens: weights, processor files of both generations.

`AutoModel.from_pretrained(folder)` gives the class that `config.json` names, `AutoProcessor` the
processor that belongs to it. Nothing here needs PyTorch: all of it is plain data.
"""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

from safetensors import SafetensorError
from safetensors.numpy import save_file

from data_pipelines.images import ImagePreprocess
from data_pipelines.tokens import (
    ClipTokenizer,
    PipelineTokenizer,
    Tokenizer,
    hf_clip_tokenizer,
)
from data_pipelines.tokens.clean import cleaning as clean_by_name
from vlp.files import write_json, write_text
from vlp.interop.adapt import Params, adapt, complete, only_tower
from vlp.interop.hf import bert, blip, blip2, clip, dual, siglip, vit
from vlp.interop.hf.processors import processor_config
from vlp.interop.hf.readme import readme
from vlp.interop.hf.reference import ReferenceModel, can_read
from vlp.interop.hf.tokenizer_write import write_tokenizer
from vlp.interop.layout import Rule, write_tensors
from vlp.interop.loaded import Run, params_of, without_weights
from vlp.interop.parity import Reader

CHECKS = ("auto", "transformers", "numpy")
CHECK_NEEDS = {"transformers": {"torch": "export", "transformers": "export"}}


def write(
    run: Run,
    folder: Path,
    *,
    towers: str = "both",
    metrics: Mapping[str, float],
    mode: str | None = None,
) -> None:
    """Writes everything but the parity report.

    Args:
        run: whose model, preprocessing and tokenizer to write.
        folder: an empty folder.
        towers: "both", "image" or "text".
        metrics: figures for the model card, by name.
        mode: of a BLIP with both, "encode" or "decode": the one that is written; of a BLIP-2
            "encode", to leave the head for words out.

    Raises:
        ValueError: transformers' classes cannot express the run; names the setting.
    """
    rules, config, kwargs, params = _adapted(
        run.model.kwargs, params_of(run.model), towers=towers, mode=mode
    )
    check_card(run, kwargs)
    write_json(folder / "config.json", config)
    tensors = write_tensors(rules, params)
    save_tensors(tensors, folder / "model.safetensors", like=folder / "config.json")
    write_processors(run, folder, config=config, towers=towers)
    cleaned = towers != "image" and cleaning(run) is not None
    text = readme(run, config=config, metrics=metrics, cleaned=cleaned)
    write_text(folder / "README.md", text)


def write_processors(run: Run, folder: Path, *, config: Mapping[str, Any], towers: str) -> None:
    """Writes what images and texts go through: the processor's and the tokenizer's files."""
    if towers != "text" and run.preprocess is not None:
        family = config["model_type"].removesuffix("_vision_model")
        image_processor = processor_config(run.preprocess, family)
        write_json(folder / "preprocessor_config.json", image_processor)
        whole = {"image_processor": image_processor}
        if "processor_class" in image_processor:
            whole["processor_class"] = image_processor["processor_class"]
        write_json(folder / "processor_config.json", whole)
    if towers != "image" and run.tokenizer is not None:
        length = run.card["tokenizer"]["length"]
        tokenizer = stand_in(run.tokenizer, text=run.card["model"]["text"])
        write_tokenizer(tokenizer, folder, length=length, config=config)


def save_tensors(tensors: Mapping[str, Any], path: Path, *, like: Path) -> None:
    """Writes a safetensors file with the permissions of another: the library keeps others out."""
    try:
        save_file(dict(tensors), path, metadata={"format": "pt"})
    except SafetensorError as error:  # of the disk, in words of its own
        raise OSError(f"{path} cannot be written: {error}") from error
    path.chmod(like.stat().st_mode)


def stand_in(tokenizer: Tokenizer, *, text: Mapping[str, Any]) -> Tokenizer:
    """The tokenizer of transformers for ours: CLIP's own repairs no text, and pads with the end
    token, which only a text tower may get that looks at nothing behind the end."""
    if not isinstance(tokenizer, ClipTokenizer):
        return tokenizer
    made = hf_clip_tokenizer()
    if text.get("causal", True) and text.get("pool", "eot") in ("eot", "argmax", "first"):
        return made
    return PipelineTokenizer(
        made.content, name=made.name, pad_id=tokenizer.pad_id, eos_id=made.eos_id
    )


def rounded(run: Run, rounding: str) -> Any:
    """A run's preprocessing with another rounding of centres; what cuts no centres stays."""
    used = run.preprocess
    if not isinstance(used, ImagePreprocess) or used.resize == "squash":
        return used
    return ImagePreprocess.from_dict(used.to_dict() | {"rounding": rounding})


# transformers begins a centre at half a pixel at the one before.
preprocessing = partial(rounded, rounding="down")


def cleaning(run: Run) -> Callable[[str], str] | None:
    """What has to be done to texts before a tokenizer of transformers gets them, or None."""
    tokenizer = run.tokenizer
    return clean_by_name(tokenizer.clean) if isinstance(tokenizer, ClipTokenizer) else None


def reader(folder: Path, *, check: str = "auto") -> Reader:
    """The folder, opened by transformers, or by numpy where that is asked for or all there is.

    Raises:
        ImportError: transformers is needed and not here.
    """
    if check == "numpy":
        return ReferenceModel(folder)
    try:
        from vlp.interop.hf.oracle import TransformersReader  # PyTorch: only where installed
    except (ImportError, RuntimeError) as error:  # RuntimeError: a torchvision for another torch
        if check == "auto" and can_read(folder):
            return ReferenceModel(folder)
        raise ImportError(f"{error}; pip install 'vlp[export]'") from error
    return TransformersReader(folder)


def _adapted(
    kwargs: Mapping[str, Any], params: Params, *, towers: str = "both", mode: str | None = None
) -> tuple[list[Rule], dict[str, Any], dict[str, Any], Params]:
    """The names of tensors and the config.json of a class, and what of the model goes there in the
    shape that it can hold."""
    kwargs, params = only_tower(complete(kwargs), params, towers=towers)
    if mode is not None:
        family = blip2 if "num_queries" in kwargs else blip
        kwargs, params = family.alone(kwargs, params, mode=mode)
    module = architecture(kwargs)
    accepted, stack = module.accepted(kwargs), f"transformers' {module.NAME}"
    kwargs, params = adapt(kwargs, params, accepted=accepted, stack=stack)
    kwargs = module.settled(kwargs, params) if module in (blip, blip2) else kwargs
    return module.rules(kwargs), module.config(kwargs), kwargs, params


check_model = without_weights(_adapted)


def architecture(kwargs: Mapping[str, Any]) -> ModuleType:
    """The module of the class that comes nearest to a model; `adapt` says what is in the way."""
    image, text = kwargs["image"], kwargs["text"]
    if "num_queries" in kwargs:
        return blip2
    if image and text and "modes" in kwargs:
        return blip
    if text and text["kind"] == "bert":
        return dual if image else bert
    if image is None:
        return clip if text.get("causal", True) else siglip
    if image["kind"] == "naflex" or image.get("pool") == "map":
        return siglip
    alone = text is None and image["kind"] == "vit" and not image["pre_norm"]
    return vit if alone else clip


def check_card(run: Run, kwargs: Mapping[str, Any]) -> None:
    """Compares the card's preprocessing and tokenizer with the model's.

    Raises:
        ValueError: they do not fit together.
    """
    if kwargs["image"] and run.preprocess is not None:
        _check_preprocess(run, kwargs)
    if kwargs["text"] and run.tokenizer is not None:
        _check_tokenizer(run.tokenizer, run.card["tokenizer"]["length"], kwargs["text"])


_RESTORE = "put back the card and the tokenizer of this run"


def _check_preprocess(run: Run, kwargs: Mapping[str, Any]) -> None:
    ours = run.preprocess
    wanted = kwargs["image"].get("image_size")
    if wanted is not None and ours.size != wanted:
        raise ValueError(
            f"preprocess.size must be the model's image_size {wanted}, got {ours.size}; {_RESTORE}"
        )
    normalised = (tuple(run.model.image_mean), tuple(run.model.image_std))
    if normalised != (ours.mean, ours.std):
        raise ValueError(
            f"the model and the card's preprocess must normalise alike, got {normalised} and "
            f"{(ours.mean, ours.std)}; {_RESTORE}"
        )


def _check_tokenizer(tokenizer: Tokenizer, length: int, text: Mapping[str, Any]) -> None:
    if length > text["length"]:
        raise ValueError(
            f"tokenizer.length must be at most the model's text length {text['length']}, "
            f"got {length}; {_RESTORE}"
        )
    if tokenizer.vocab_size > text["vocab_size"]:
        raise ValueError(
            f"the tokenizer may have at most the model's {text['vocab_size']} pieces, "
            f"got {tokenizer.vocab_size}; {_RESTORE}"
        )
    if text.get("pool") == "eot" and tokenizer.eos_id != text["eos_id"]:
        raise ValueError(
            f"the tokenizer's end token must be the model's eos_id {text['eos_id']}, "
            f"got {tokenizer.eos_id}; {_RESTORE}"
        )
