"""Beam search and the nucleus are those of transformers, caption by caption and score by score."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import transformers

from tests.table_model import BEGIN, END, PAD, TableModel, images
from vlp.generation import beam
from vlp.generation.nucleus import nucleus_logits


class Theirs(transformers.PreTrainedModel, transformers.GenerationMixin):
    """The same table for `generate` of transformers."""

    config_class = transformers.PretrainedConfig
    main_input_name = "input_ids"

    def __init__(self, table):
        super().__init__(transformers.PretrainedConfig())
        self.table = torch.nn.Parameter(torch.from_numpy(np.array(table)), requires_grad=False)

    def prepare_inputs_for_generation(self, input_ids, image, **_):
        return dict(input_ids=input_ids, image=image)

    def forward(self, input_ids, image, **_):
        place, last = input_ids.shape[1] - 1, input_ids[:, -1]
        before = input_ids[:, -2] if place else torch.zeros_like(last)
        logits = self.table[place, before, last] + image
        return transformers.modeling_outputs.CausalLMOutput(logits=logits[:, None])


@pytest.fixture(scope="module")
def model():
    # The table is as likely to end a caption early as late, and no padding is ever chosen.
    made = TableModel(vocab_size=30, caption_length=10, seed=2, sharpness=1.0)
    made.table = made.table.at[..., PAD].set(-99.0).at[..., END].add(1.5)
    return made


@pytest.mark.parametrize("num_beams", [2, 3, 6])
@pytest.mark.parametrize(
    "settings",
    [{}, dict(length_penalty=0.0), dict(length_penalty=2.0), dict(length_penalty=-0.5)]
    + [dict(min_length=5), dict(length=6, length_penalty=1.5), dict(length=4)]
    + [dict(prefix=(7, 4)), dict(prefix=(9,), min_length=4, length_penalty=2.0)]
    + [dict(prefix=(3, 3, 5, 8), length=7, length_penalty=-0.5)],
)
def test_beam_search_is_that_of_transformers(model, num_beams, settings):
    settings = dict(length=10, length_penalty=1.0, min_length=0, prefix=()) | settings
    image = images(64, 30)
    found = jax.jit(lambda image: beam(model, image, num_beams=num_beams, **settings))(image)
    wanted = Theirs(model.table).generate(
        torch.tensor([[BEGIN, *settings["prefix"]]] * 64),
        image=torch.from_numpy(np.array(image)),
        num_beams=num_beams,
        max_length=settings["length"],
        min_length=settings["min_length"],
        length_penalty=settings["length_penalty"],
        early_stopping=False,
        do_sample=False,
        use_cache=False,
        bos_token_id=BEGIN,
        eos_token_id=END,
        pad_token_id=PAD,
        return_dict_in_generate=True,
        output_scores=True,
    )
    theirs = wanted.sequences.numpy()
    ended = np.cumsum(theirs == END, axis=1) - (theirs == END) > 0
    theirs[ended] = PAD  # there a pad_token_id of 0 counts as none, and rows end in end tokens
    ours = np.asarray(found.ids)
    np.testing.assert_array_equal(ours[:, : theirs.shape[1]], theirs)
    assert (ours[:, theirs.shape[1] :] == PAD).all()
    np.testing.assert_allclose(found.scores, wanted.sequences_scores, rtol=1e-5)
    assert len({tuple(row) for row in ours.tolist()}) > 10


@pytest.mark.parametrize("top_p", [0.1, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("top_k", [None, 1, 7])
def test_the_nucleus_is_that_of_transformers(top_p, top_k):
    logits = np.random.default_rng(0).normal(size=(50, 40)).astype(np.float32) * 3
    wanted = torch.from_numpy(logits)
    if top_k is not None:
        wanted = transformers.TopKLogitsWarper(top_k)(None, wanted)
    wanted = transformers.TopPLogitsWarper(top_p)(None, wanted).numpy()
    kept, ids = nucleus_logits(jnp.asarray(logits), top_p=top_p, top_k=top_k)
    found = np.full_like(logits, -np.inf)
    np.put_along_axis(found, np.asarray(ids), np.asarray(kept), axis=1)
    np.testing.assert_array_equal(found, wanted)
