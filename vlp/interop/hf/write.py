"""A run as a folder that transformers opens: model, both generations of processor files, tokenizer.

`AutoModel.from_pretrained(folder)` gives a `CLIPModel` or a `SiglipModel`, and
`AutoProcessor.from_pretrained(folder)` the processor that belongs to it.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.numpy import save_file

from data_pipelines.tokens.convert import EOS, PAD, UNK, convert_sentencepiece
from vlp.interop.hf.model import model_class, model_config, model_tensors
from vlp.interop.hf.readme import readme
from vlp.interop.load import Run

_RESAMPLE = {"bilinear": 2, "bicubic": 3}  # the numbers of Pillow's filters


def write_folder(run: Run, folder: Path, *, metrics: Mapping[str, float]) -> None:
    """Writes everything but the parity report.

    Args:
        run: whose model, preprocessing and tokenizer to write.
        folder: an empty folder.
        metrics: figures for the model card, by name.

    Raises:
        ValueError: transformers' classes cannot express the run; names the setting.
    """
    name = model_class(run.model)
    length = run.card["tokenizer"]["length"]
    _check_sizes(run, length)
    image_processor = image_processor_config(run, name)
    _write(folder / "config.json", model_config(run.model))
    _write(folder / "preprocessor_config.json", image_processor)
    processor_class = image_processor["processor_class"]
    _write(
        folder / "processor_config.json",
        {"processor_class": processor_class, "image_processor": image_processor},
    )
    special = {"pad_token": PAD, "eos_token": EOS, "unk_token": UNK}
    _write(folder / "special_tokens_map.json", special)
    _write(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "processor_class": processor_class,
            **special,
            "model_max_length": length,
            # What a processor does unless told otherwise: rows as long as in training.
            "padding": "max_length",
            "truncation": True,
            "max_length": length,
            "padding_side": "right",
            "truncation_side": "right",
            # "</s>" and the like are plain text in a caption.
            "split_special_tokens": True,
            "clean_up_tokenization_spaces": False,
            # SigLIP attends to its padding, so it must not get a mask.
            "model_input_names": ["input_ids"]
            if name == "SiglipModel"
            else ["input_ids", "attention_mask"],
        },
    )
    convert_sentencepiece(run.tokenizer.model, length=length).save(str(folder / "tokenizer.json"))
    weights = folder / "model.safetensors"
    save_file(model_tensors(run.model), weights, metadata={"format": "pt"})
    weights.chmod((folder / "config.json").stat().st_mode)  # safetensors writes for the owner only
    text = readme(run, model_class=name, processor_class=processor_class, metrics=metrics)
    (folder / "README.md").write_text(text, encoding="utf-8")


def image_processor_config(run: Run, model_class: str) -> dict[str, Any]:
    """The content of `preprocessor_config.json`.

    Raises:
        ValueError: the evaluation preprocessing has no counterpart, or does not fit the model.
    """
    ours, size = run.preprocess, run.preprocess.size
    if ours.resize == "longest":
        raise ValueError(
            "an exported preprocess.resize must be 'squash' or 'shortest', got 'longest': "
            "transformers' image processors add no borders; keep to vlp.load or train with 'squash'"
        )
    normalised = (tuple(run.model.image_mean), tuple(run.model.image_std))
    if normalised != (ours.mean, ours.std):
        raise ValueError(
            f"the model and the card's preprocess must normalise alike, got {normalised} and "
            f"{(ours.mean, ours.std)}; put back the card of this run"
        )
    square = {"height": size, "width": size}
    crops = ours.resize == "shortest"
    siglip = model_class == "SiglipModel"
    return {
        # transformers' SigLIP processor of version 4 has no cropping, CLIP's has.
        "image_processor_type": "SiglipImageProcessor"
        if siglip and not crops
        else "CLIPImageProcessor",
        "processor_class": "SiglipProcessor" if siglip else "CLIPProcessor",
        "do_convert_rgb": True,
        "do_resize": True,
        "size": {"shortest_edge": size} if crops else square,
        "resample": _RESAMPLE[ours.interpolation],
        "do_center_crop": crops,
        "crop_size": square,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(ours.mean),
        "image_std": list(ours.std),
    }


def _check_sizes(run: Run, length: int) -> None:
    model, card = run.model, "put back the card and the tokenizer of this run"
    if run.preprocess.size != model.image.image_size:
        raise ValueError(
            f"preprocess.size must be the model's image_size {model.image.image_size}, "
            f"got {run.preprocess.size}; {card}"
        )
    if length != model.text.length:
        raise ValueError(
            f"tokenizer.length must be the model's text length {model.text.length}, "
            f"got {length}; {card}"
        )
    if run.tokenizer.vocab_size > model.text.vocab_size:
        raise ValueError(
            f"the tokenizer may have at most the model's {model.text.vocab_size} pieces, "
            f"got {run.tokenizer.vocab_size}; {card}"
        )
    ids, wanted = (
        (run.tokenizer.eos_id, run.tokenizer.pad_id),
        (model.text.eos_id, model.text.pad_id),
    )
    if ids != wanted:
        raise ValueError(
            f"the tokenizer's (eos, pad) must be the model's {wanted}, got {ids}; {card}"
        )


def _write(path: Path, value: Any) -> None:
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")
