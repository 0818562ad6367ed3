"""What a model says of images and texts that it reads together: matches, and captions it writes."""

from typing import Any

import numpy as np
from jaxtyping import Float, Int

from vlp.evals import matching
from vlp.evals.pairs import IMAGES, read_pairs
from vlp.generation import Method, form_of, prompt_tokens
from vlp.jobs.evaluator import Evaluator
from vlp.jobs.gallery import Gallery
from vlp.parallel.ids import device_ids


def log_odds(
    evaluator: Evaluator,
    gallery: Gallery,
    images: Int[np.ndarray, " p"],
    texts: Int[np.ndarray, " p"],
) -> Float[np.ndarray, " p"]:
    """Log-odds that these rows of images and texts belong together, in nats."""
    ids = evaluator.tokens(gallery.texts)
    return read_pairs(
        evaluator.encoder,
        gallery.batches(evaluator.encoder),
        function=matching.log_odds,
        images=images,
        texts=(ids[texts],),
    )


def mined_odds(
    evaluator: Evaluator, gallery: Gallery
) -> tuple[Float[np.ndarray, " p"], matching.Pairs]:
    """Log-odds of all true pairs and of the hardest wrong ones, and which they are.

    Raises:
        ValueError: there is no wrong pair.
    """
    pairs = matching.mined_pairs(
        gallery.zimg,
        gallery.ztxt,
        image_of_text=gallery.image_of_text,
        text=evaluator.tokens(gallery.texts),
    )
    return log_odds(evaluator, gallery, pairs.images, pairs.texts), pairs


def beam_search(evaluator: Evaluator, *, prompt: str = "", **settings: Any) -> Method:
    """How captions are written.

    Args:
        evaluator: of the model that writes.
        prompt: what they begin with.
        **settings: `num_beams`, `length_penalty` and `min_length`.

    Raises:
        ValueError: the model cannot write so.
    """
    model: Any = evaluator.encoder.model()
    prefix = prompt_tokens(prompt, tokenize=evaluator.tokenize, end_id=model.end_id)
    # Before hours of embedding.
    form_of(model, length=None, min_length=settings.get("min_length", 0), prefix=prefix)
    return Method.of("beam", prefix=prefix, **settings)


def written_captions(
    evaluator: Evaluator, gallery: Gallery, method: Method
) -> tuple[list[str], list[list[str]], Int[np.ndarray, " n"]]:
    """The caption the model writes for each image that has one, those that it has, and its row."""
    rows = np.unique(gallery.image_of_text)
    found = read_pairs(
        evaluator.encoder,
        gallery.batches(evaluator.encoder),
        function=method,
        images=rows,
        texts=(device_ids(gallery.ids[rows]),),
        at_once=IMAGES,
    )
    captions = gallery.captions()
    return evaluator.decode(method.written(found.ids)), [captions[row] for row in rows], rows
