"""CoCa writes the captions that open_clip's writes, with the same weights.

open_clip asks for a class that transformers 5 has no more, `BeamSearchScorer`, and then refuses all
of `generate`, sampling included, which does not use it. So the names that it needs are put back.

Where the two differ on purpose: in open_clip a caption at its full length gets an end token in
place of its last word, and padding, once chosen, ends it; here it is cut off, and padding is never
chosen. open_clip's mask of padding, one place too late, makes no difference: no padding stands in
front of a token that is being written, and no word sees the class token.
"""

import jax
import numpy as np
import open_clip.coca_model as coca_model
import pytest
import torch
import transformers
from flax import nnx
from test_coca_open_clip import PAD, configs, make_ours, make_theirs

from vlp.generation import greedy

BEGIN, LENGTH = 1, 9
ENDS = {"coca_ViT-B-32": 5, "coca_base": 18}  # words that these weights choose now and then


@pytest.fixture(autouse=True)
def _names_of_transformers(monkeypatch):
    for name in (
        "LogitsProcessorList",
        "MinLengthLogitsProcessor",
        "RepetitionPenaltyLogitsProcessor",
        "MaxLengthCriteria",
        "StoppingCriteriaList",
    ):
        monkeypatch.setattr(coca_model, name, getattr(transformers, name), raising=False)
    kinds = {"top_k": transformers.TopKLogitsWarper, "top_p": transformers.TopPLogitsWarper}
    monkeypatch.setattr(coca_model, "GENERATION_TYPES", kinds)
    monkeypatch.setattr(coca_model, "_has_transformers", True)


def talkative(theirs):
    """The model with weights by which captions depend on the picture and on their own words."""
    torch.manual_seed(0)
    with torch.no_grad():
        for name, tensor in theirs.named_parameters():
            if tensor.ndim == 1:
                tensor.copy_(0.1 * torch.randn_like(tensor) + float(name.endswith("weight")))
            elif tensor.ndim == 2:
                tensor.copy_(torch.randn_like(tensor) * tensor.shape[-1] ** -0.5)
        theirs.text.token_embedding.weight *= 3
        theirs.text_decoder.text_projection[:, PAD] = 0  # padding is nobody's choice
    return theirs


@pytest.mark.parametrize("name", ["coca_ViT-B-32", "coca_base"])
@pytest.mark.parametrize("min_length", [0, 5])
def test_the_likeliest_tokens_are_open_clip_s(name, min_length):
    their_config, kwargs = configs(name)
    theirs = talkative(make_theirs(their_config))
    end = ENDS[name]
    settings = dict(begin_id=BEGIN, text=kwargs["text"] | dict(eos_id=end))
    graphdef, params = make_ours(kwargs | settings, theirs, name == "coca_ViT-B-32")
    rng = np.random.default_rng(0)
    images = np.uint8(rng.integers(0, 256, (12, 1, 1, 3)) * rng.random((12, 32, 32, 3)))

    def write(params, images):
        model = nnx.merge(graphdef, params)
        return greedy(model, model.encode_image(images), min_length=min_length)

    ours = np.asarray(jax.jit(write)(params, images).ids)
    pixels = torch.from_numpy((images / 255 - 0.5) / 0.5).float().permute(0, 3, 1, 2)
    found = theirs.generate(
        pixels,
        seq_len=LENGTH,
        max_seq_len=LENGTH,
        min_seq_len=min_length,
        generation_type="top_k",
        top_k=1,
        sot_token_id=BEGIN,
        eos_token_id=end,
        fixed_output_length=True,
    ).numpy()
    words = found[:, :-1]
    np.testing.assert_array_equal(ours[:, :-1], words)
    lengths = np.where((words == end).any(axis=1), (words == end).argmax(axis=1), LENGTH)
    assert len({tuple(row) for row in words.tolist()}) > 3 and len(set(lengths.tolist())) > 1
    assert min(lengths) >= min_length
    cut = (words != end).all(axis=1)
    assert (found[cut, -1] == end).all()  # theirs, whatever the model says
