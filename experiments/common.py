"""What every experiment shares: the argument behind the colon, and the sections a run has."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Mapping
from typing import Any, TypeVar

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

T = TypeVar("T")

# Normalisation of pixels in [0, 1] as CLIP has it, and ALBEF and BLIP after it.
CLIP_PIXELS = dict(
    mean=(0.48145466, 0.4578275, 0.40821073), std=(0.26862954, 0.26130258, 0.27577711)
)

# And as ImageNet has it: FLIP, CLIPA, OpenVision.
IMAGENET_PIXELS = dict(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))

# CLIP's byte pairs, which come with vlp; BERT's words without capitals, of a folder that the user
# has.
CLIP_TOKENS = dict(path="clip", vocab_size=49408, length=77, eos_id=49407, pad_id=0)
BERT_TOKENS = dict(vocab_size=30522, eos_id=102, pad_id=0)

# Pictures of ImageNet, the epoch in which FLIP, CLIPA and OpenVision count.
IMAGENET = 1_281_167

# Pictures at their own aspect ratio in place of squares, as SigLIP 2's NaFlex models are released.
NAFLEX_PIXELS = dict(
    kind="naflex", patch_size=16, max_num_patches=256, interpolation="bilinear",
    background=(255, 255, 255), mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5),
)  # fmt: skip

# What CLIPA and OpenVision show: Inception's crops with the colours of SimCLR at strength 0.4.
STRONG_COLOURS = dict(crop=(0.4, 1.0), brightness=0.32, contrast=0.32, saturation=0.32, hue=0.08)

# Photographs as they are, squashed to a square by an antialiased filter.
PLAIN = dict(crop=None)

# For photographs: crop and colour, but none of what changes a drawing's style.
PHOTO = dict(
    crop=(0.5, 1.0), brightness=0.2, contrast=0.2, saturation=0.3, hue=0.02, blur_p=0.1,
    cutout_p=0.1,
)  # fmt: skip


def naflex_pixels(model: str, **changed: Any) -> ConfigDict:
    """The section `preprocess` for a tower by its name, such as "ViT-B/16"."""
    return ConfigDict(NAFLEX_PIXELS | dict(patch_size=int(model.rpartition("/")[2])) | changed)


def parse_arg(arg: str, **defaults: Any) -> ConfigDict:
    """The `key=value,...` behind the colon of `--config=FILE.py:...`, typed by `defaults`.

    A comma separates only where a key and `=` follow it, so values may contain commas; those of a
    list are separated by them. A number whose default is 0 is one that the config chooses itself.

    Raises:
      ValueError: for an unknown key (naming the nearest), one given twice, or a value of the wrong
        type.
    """
    args, given = ConfigDict(defaults), set()
    for item in split_arg(arg):
        key, equals, value = item.partition("=")
        if key not in defaults or not equals:
            nearest = difflib.get_close_matches(key, defaults, n=1)
            hint = f"did you mean {nearest[0]}?" if nearest else f"known: {', '.join(defaults)}"
            raise ValueError(f"config argument {item!r} must be key=value with a known key; {hint}")
        if key in given:
            raise ValueError(
                f"config argument {key} is given twice, {args[key]} and {value}; leave one out"
            )
        given.add(key)
        args[key] = _typed(key, value, like=defaults[key])
    return args


def split_arg(arg: str) -> list[str]:
    """The `key=value` items of an argument."""
    return [item for item in re.split(r",(?=\w+=)", arg or "") if item]


def _typed(key: str, value: str, *, like: Any) -> Any:
    if isinstance(like, bool):
        if value.lower() not in ("true", "false"):
            raise ValueError(f"config argument {key} must be true or false, got {value!r}")
        return value.lower() == "true"
    if isinstance(like, tuple):
        return tuple(_typed(key, v, like=(*like, "")[0]) for v in filter(None, value.split(",")))
    try:
        typed = type(like)(value)
    except ValueError:
        kind = type(like).__name__
        raise ValueError(f"config argument {key} must be of type {kind}, got {value!r}") from None
    if isinstance(typed, (int, float)) and not 0 <= typed < math.inf:
        raise ValueError(f"config argument {key} must be a number of at least 0, got {value!r}")
    if typed == like == 0:
        raise ValueError(f"config argument {key} must be above 0, got {value!r}; or leave it out")
    return typed


def check_given(args: ConfigDict, *names: str, example: str) -> None:
    """Refuses to do without arguments that a config cannot choose itself.

    Args:
      args: of `parse_arg`.
      names: of those it needs.
      example: the file with arguments that it takes, such as "clip.py:data=shards/*.tar".

    Raises:
      ValueError: names the file, what it needs and the example.
    """
    if not all(args[name] for name in names):
        needed = " and ".join(f"{name}=..." for name in names)
        raise ValueError(f"{example.partition(':')[0]} needs {needed}, e.g. {example}")


def chosen(name: str, value: str, known: Mapping[str, T]) -> T:
    """What `known` has for the value of the argument `name`.

    Raises:
      ValueError: nothing; names what there is.
    """
    if value not in known:
        raise ValueError(f"{name} must be one of {', '.join(known)}, got {value!r}")
    return known[value]


def begin_with(config: ConfigDict, weights: str) -> None:
    """Lets a config begin with weights and be as they are, but for what is set afterwards.

    Empties the sections that are read from the weights when the config is loaded: architecture,
    pixels, tokenizer and objective. What is set in them from here on differs from the weights
    knowingly.

    Args:
      config: of a run.
      weights: a run, or weights of another stack such as "hf:FOLDER".
    """
    sections = ("model", "preprocess", "tokenizer", "objective")
    for section in sections:
        config[section] = ConfigDict()
    config.init.update(path=weights, adopt=sections)


def base_config() -> ConfigDict:
    """The sections of every run, with the values that most runs share.

    A section holds the keyword arguments of one constructor or function; the comment beside it
    names that.
    """
    return ConfigDict(
        dict(
            seed=0,
            attribution=(),  # lines for the card, the report and exported folders
            data=dict(  # data_pipelines.loader.make_loader
                train="",
                # vlp.run.inputs.training_data: a classification data set (as train), whose captions
                # are its labels in templates drawn at random; which field of the samples' JSON
                # ("": their captions are the names); a set of templates or a file with one a line;
                # which share of each batch comes from it (None: as many as there are).
                labelled="",
                label_field="label",
                label_templates="clip7",
                label_classes="",  # a file that names the classes, where labels are numbers
                label_share=placeholder(float),
                # vlp.run.chosen, of `train`: a file that lists the pairs that are used ("": all);
                # how often each kind of caption is drawn, such as dict(own=0.3, re_caption=0.7):
                # "own" or a field of the samples (none: what `caption_first_probability` says).
                subset="",
                captions=dict(),
                # Sets of pairs in place of `train`: name -> vlp.run.sets.pair_set; and their shares
                # by size^(1/temperature), where they say none.
                sets=dict(),
                temperature=placeholder(float),
                # Stored vectors: name -> folder of vlp embed, for the fields NAME/image_embedding
                # and NAME/text_embedding of an objective that reads them.
                vectors=dict(),
                shuffle="full",  # or "blocks", for far stores: so many samples, so many blocks
                shuffle_block=4096,
                shuffle_window=16,
                threads=2,
                workers=0,  # processes in place of threads; "auto" measures and takes either
                stall_s=300.0,  # how long a sample may take before its worker is replaced
                caption_first_probability=1.0,
                # How many captions of an image are shown at once, all as its own: CLIP and SigLIP,
                # see vlp.losses.captions. The first drawn as said above, the others at random.
                captions_per_image=1,
                max_labels=64,  # of a sample, for objectives that read the field labels
                max_reject_share=0.05,
                # vlp.run.trimming: cut captions to the longest of the batch. CLIP and SigLIP, one
                # process; as many steps are compiled as there are lengths (multiples of eight).
                trim_captions=False,
                shuffled_captions=0.0,  # share of the images that get the captions of others
                limits=dict(  # data_pipelines.limits.Limits: a sample with more is left out
                    pixels=2**26,
                    image_bytes=2**26,
                    caption_bytes=2**16,
                    metadata_bytes=2**20,
                    audio_bytes=2**26,
                    audio_seconds=60,
                ),
            ),
            # data_pipelines.images.ImagePreprocess, or of kind="naflex" NaflexPreprocess for image
            # towers of that kind, which see pictures at their own aspect ratio.
            preprocess=dict(
                size=224,
                resize="squash",
                interpolation="bicubic",
                background=(255, 255, 255),
                mean=(0.5, 0.5, 0.5),
                std=(0.5, 0.5, 0.5),
            ),
            augment=dict(),  # data_pipelines.augmentation.augmentation
            audio=dict(),  # data_pipelines.audio.Spectrogram
            augment_audio=dict(),  # data_pipelines.sound_augment.SoundAugment
            # An empty path trains a SentencePiece tokenizer on the captions, or takes that of the
            # weights in `init`; else "clip", a .model file, a folder with tokenizer.json or
            # vocab.txt (BERT), or a model, such as "hf:FOLDER".
            # With `begin` captions start with a token of their own, from which CoCa writes them.
            # The model's vocabulary has `extra` ids behind the tokenizer's, such as a mask.
            tokenizer=dict(
                path="", vocab_size=8192, length=32, eos_id=1, pad_id=0, begin=False, extra=0
            ),
            model=dict(),  # vlp.models.dual_encoder.DualEncoder
            # What to begin with, a run or weights of another stack ("hf:FOLDER"): which of its
            # weights, and of which names. A section in it with the same settings is another source.
            # What `adopt` names of "model", "preprocess", "tokenizer" and "objective" is as in the
            # weights, but for what the section itself says; see `begin_with`.
            init=dict(path="", which="params", only=(".*",), adopt=()),
            objective=dict(name="clip"),  # vlp.objectives
            # Models that objective and model look at and nobody changes, by the names that these
            # ask for: `path`, whatever vlp.load reads; `weights` of it; `towers`, "image" or "text"
            # for one alone; `drop_blocks`, how many of the image tower's last are left out;
            # `precision`, where not the model's own; `preset`, which says what is there, for plans
            # of a run elsewhere.
            frozen=dict(),
            optim=dict(
                optimizer=dict(),  # vlp.training.optim.optimizers.make_optimizer
                schedule=dict(),  # vlp.training.optim.schedules.make_schedule
                freeze=(),  # regular expressions over parameter names
                groups=dict(),  # name -> vlp.training.optim.groups.Group
            ),
            train=dict(
                total="",
                global_batch_size=256,
                unmasked_tuning="0 steps",  # last part of the run, without patch dropping
                ema_decay=0.0,  # 0: no average of the weights
                ema_warmup=True,  # let the average begin short
                # Which weights are judged and loaded: "params", "average", or "auto", the average
                # if there is one.
                evaluate="auto",
                max_skipped_in_a_row=10,
                log_every=1,  # steps between two rows of metrics
                # Print all stacks and exit when no step ends for so long, or for four times as long
                # while something compiles, is evaluated or saved; 0: off.
                watchdog_s=900.0,
                profile_steps=(0, 0),  # first and last step of a profiler trace
                tensorboard=True,
                wandb_project="",
            ),
            mesh=dict(data=-1, fsdp=1, tensor=1),  # vlp.parallel.mesh.make_mesh
            checkpoint=dict(every="1 epochs", keep=3, keep_every="0 steps"),
            evals=dict(),  # name -> task, data, every, ...; or suite, entry, data, every, ...
            report=dict(data=""),  # whose pictures the report shows
            export=dict(),  # vlp.interop.export.check_model, and `out`, a folder in the workdir
        )
    )
