"""How many captions of an image a run shows at once, and the field of a batch that has them."""

from ml_collections import ConfigDict

from data_pipelines.fields import Texts
from data_pipelines.several_texts import SeveralTexts
from data_pipelines.text import Tokenizer
from vlp.objectives import Objective


def texts(config: ConfigDict, tokenizer: Tokenizer | None) -> Texts:
    """The field `text`: one caption a row, or as many as the config says.

    Args:
        config: of the whole run.
        tokenizer: of the run; None where only shapes are asked for.

    Raises:
        ValueError: a setting out of its range.
    """
    count, first = config.data.captions_per_image, config.data.caption_first_probability
    length = config.tokenizer.length
    if count == 1:
        pad_id = config.tokenizer.pad_id
        return Texts(tokenizer, length=length, pad_id=pad_id, first_probability=first)
    return SeveralTexts(tokenizer, count=count, length=length, first_probability=first)


def check_several_captions(config: ConfigDict, objective: Objective) -> None:
    """Raises ValueError where images should have several captions and the objective takes one.

    Args:
        config: of the whole run.
        objective: its objective.
    """
    count = config.data.captions_per_image
    if count > 1 and not objective.several_captions:
        raise ValueError(
            "config.data.captions_per_image above 1 needs an objective that takes several captions "
            f"of an image, clip or siglip, got {count} for {config.objective.name}; set it to 1, "
            "which draws one an epoch"
        )
