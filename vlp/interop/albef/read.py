"""A pretraining checkpoint of ALBEF's authors: one file of tensors, without any configuration."""

from pathlib import Path

from data_pipelines.images import ImagePreprocess
from vlp.interop.adapt import complete
from vlp.interop.albef.layout import kwargs, renamed, rules
from vlp.interop.foreign import Foreign
from vlp.interop.weights import open_tensors

# The normalisation of CLIP; the authors' evaluation squashes pictures, bicubic.
_MEAN = (0.48145466, 0.4578275, 0.40821073)
_STD = (0.26862954, 0.26130258, 0.27577711)


def open_path(path: Path, *, allow_pickle_weights: bool = False) -> Foreign:
    """What a checkpoint such as `ALBEF.pth` holds; the teacher and its queues are left out.

    The number of attention heads, which the file does not tell, is the width over 64, as in every
    size that was published.

    Args:
        path: the file, the authors' own or its tensors as safetensors.
        allow_pickle_weights: see `vlp.interop.weights.open_tensors`.

    Raises:
        ValueError: the file is no such checkpoint.

    References:
        Li et al., 2021, https://github.com/salesforce/ALBEF.
    """
    tensors = open_tensors(path, allow_pickle_weights=allow_pickle_weights)
    try:
        settings = kwargs(tensors.shapes)
    except KeyError as error:
        raise ValueError(
            f"{path} must hold a pretraining checkpoint of ALBEF, which has {error.args[0]}; "
            "fine-tuned ones lack the head for masked words and cannot be read"
        ) from error
    depth = settings["text"]["depth"]
    return Foreign(
        stack="albef",
        architecture="ALBEF",
        kwargs=settings | dict(image_mean=list(_MEAN), image_std=list(_STD)),
        rules=rules(complete(settings)),
        tensors=tensors.renamed(lambda name: renamed(name, text_depth=depth)),
        preprocess=ImagePreprocess(
            settings["image"]["image_size"], resize="squash", mean=_MEAN, std=_STD
        ),
        tokenizer=None,
        objective="albef",
        licence="BSD-3-Clause",
        tokenizer_hint="ALBEF reads captions with BERT's uncased vocabulary",
    )
