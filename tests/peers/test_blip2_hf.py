"""BLIP-2 of transformers, random weights made there: equal here, and back to the byte."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import transformers
from flax import nnx
from safetensors.numpy import load_file

from tests.peers.copied import assert_same, randomised
from vlp.interop.export import export
from vlp.interop.load import load_run
from vlp.interop.loaded import model_of, param_shapes, params_of
from vlp.interop.save import save_run
from vlp.losses.similarity import max_over_queries
from vlp.models import dual_encoder_preset
from vlp.models.blip2 import behind_queries

LENGTH, SIZE, QUERIES, VOCAB = 12, 32, 3, 70
VISION = dict(
    hidden_size=24, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
    image_size=SIZE, patch_size=8,
)  # fmt: skip
QFORMER = dict(
    hidden_size=32, intermediate_size=48, num_hidden_layers=4, num_attention_heads=4,
    vocab_size=VOCAB, max_position_embeddings=LENGTH, encoder_hidden_size=24,
    use_qformer_text_input=True,
)  # fmt: skip


@pytest.fixture(scope="module")
def folder_and_model(tmp_path_factory):
    """What transformers saves of the class, with BERT's tokenizer and BLIP's pictures."""
    config = transformers.Blip2Config(
        vision_config=VISION,
        qformer_config=QFORMER,
        num_query_tokens=QUERIES,
        image_text_hidden_size=16,
    )
    model = randomised(transformers.Blip2ForImageTextRetrieval(config), seed=2)
    folder = tmp_path_factory.mktemp("blip2")
    model.save_pretrained(folder)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghijklmnopqrstuvwxyz"]
    (folder / "vocab.txt").write_text("\n".join([*words, *(f"##{w}" for w in words[5:])]))
    transformers.BertTokenizer(str(folder / "vocab.txt")).save_pretrained(folder)
    size = {"height": SIZE, "width": SIZE}
    transformers.BlipImageProcessor(size=size).save_pretrained(folder)
    return folder, model


@pytest.fixture(scope="module")
def run(folder_and_model):
    return load_run(f"hf:{folder_and_model[0]}")


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (3, SIZE, SIZE, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def ids():
    """Three rows, two of them padded."""
    found = np.random.default_rng(1).integers(5, 60, (3, LENGTH)).astype(np.int32)
    found[:, 0], found[0, 6:], found[2, 9:] = 2, 0, 0
    return found


@pytest.fixture(scope="module")
def given(run, images, ids):
    """The same pixels, ids and mask for the class."""
    pixels = np.array(run.model.normalise(jnp.asarray(images))).transpose(0, 3, 1, 2)
    text = torch.tensor(ids).long()
    return dict(
        pixel_values=torch.tensor(pixels), input_ids=text, attention_mask=(text != 0).long()
    )


def test_contrast_is_that_of_the_retrieval_class(run, folder_and_model, images, ids, given):
    image, caption = run.model.encode_image(images), run.model.encode_text(ids)
    with torch.no_grad():
        theirs = folder_and_model[1](**given)
    assert_same(image.tokens, theirs.vision_model_output.last_hidden_state)
    assert_same(caption.tokens, theirs.text_model_output.last_hidden_state)
    assert_same(image.embedding, theirs.image_embeds)
    assert_same(caption.embedding, theirs.text_embeds)
    cosines = max_over_queries(image.embedding, caption.embedding)
    np.testing.assert_allclose(cosines, theirs.logits_per_image, atol=1e-5)


def test_matching_is_that_of_the_retrieval_class(run, folder_and_model, images, ids, given):
    ours = run.model.match(run.model.encode_image(images), run.model.encode_text(ids), ids)
    with torch.no_grad():
        theirs = folder_and_model[1](**given, use_image_text_matching_head=True)
    assert_same(ours, theirs.logits_per_image)


def masks(padding):
    """Who sees whom, `[n 1 t t]`: in the contrast, in writing, and in matching."""
    text = np.concatenate([np.ones((len(padding), QUERIES), bool), padding], axis=1)
    is_query = np.arange(QUERIES + LENGTH) < QUERIES
    apart = is_query[:, None] == is_query[None]
    behind = np.asarray(behind_queries(QUERIES, length=LENGTH))
    seen = text[:, None, None, :]
    return {"contrast": apart & seen, "writing": behind & seen, "matching": True & seen}


@pytest.mark.parametrize("task", ["contrast", "writing", "matching"])
def test_the_q_former_is_that_of_the_class_with_each_mask(task, run, folder_and_model, ids):
    model, theirs = run.model, folder_and_model[1]
    context = np.random.default_rng(3).normal(size=(3, 7, 24)).astype(np.float32)
    length = QUERIES + LENGTH
    mask = np.array(np.broadcast_to(masks(ids != 0)[task], (3, 1, length, length)))

    @jax.jit
    def through(state, context):
        ours = nnx.merge(graphdef, state)
        x = ours.querying.entering(ours.text.embed_norm, ours.text.embed(jnp.asarray(ids)), n=3)
        return ours.querying(ours.text.stack, x, context=context, mask=jnp.asarray(mask))

    graphdef, state = nnx.split(model)
    embeds = theirs.embeddings(
        torch.tensor(ids).long(), None, theirs.query_tokens.expand(3, -1, -1)
    )
    told = torch.zeros(mask.shape).masked_fill(~torch.tensor(mask), float("-inf"))
    read = torch.tensor(context, requires_grad=True)
    found = theirs.qformer(
        query_embeds=embeds, query_length=QUERIES, attention_mask=told, encoder_hidden_states=read
    ).last_hidden_state
    assert_same(through(state, context), found.detach())
    ways = np.random.default_rng(4).normal(size=found.shape).astype(np.float32)
    found.backward(torch.tensor(ways))
    ours = jax.grad(lambda context: jnp.sum(through(state, context) * ways))(jnp.asarray(context))
    np.testing.assert_allclose(ours, read.grad.numpy(), atol=1e-4)


def test_exported_again_every_tensor_is_the_same_to_the_byte(run, folder_and_model, tmp_path):
    report = export(run, tmp_path / "out", check="transformers")
    assert report["verified_with"] == "transformers" and report["token_ids"]["unequal"] == []
    assert set(report["outputs"]) == {"image_embeds", "text_embeds", "logits", "match"}
    before, after = (
        load_file(folder / "model.safetensors")
        for folder in (folder_and_model[0], tmp_path / "out")
    )
    assert before.keys() == after.keys()
    for key, tensor in before.items():
        assert tensor.tobytes() == after[key].tobytes(), key
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["architectures"] == ["Blip2ForImageTextRetrieval"]


def test_a_run_made_of_it_is_the_same_model(run, images, tmp_path):
    again = load_run(save_run(run, tmp_path / "run"))
    assert again.model.kwargs == run.model.kwargs
    np.testing.assert_array_equal(
        again.model.encode_image(images).embedding, run.model.encode_image(images).embedding
    )


def test_a_model_that_writes_is_exported_without_its_head_for_words(run, tmp_path):
    kwargs = dict(run.model.kwargs, writes=True)
    rng, own = np.random.default_rng(5), params_of(run.model)
    params = {
        name: own.get(name, rng.normal(size=shape).astype(np.float32))
        for name, shape in param_shapes(kwargs).items()
    } | {"log_scale": np.float32(1.25)}
    writer = dataclasses.replace(
        run, model=model_of(kwargs, params), card=run.card | {"model": kwargs}
    )
    with pytest.raises(ValueError, match="no head for words; give mode=encode"):
        export(writer, tmp_path / "out")
    with pytest.raises(ValueError, match="must be encode, .* got 'decode'"):
        export(writer, tmp_path / "out", mode="decode")
    export(writer, tmp_path / "out", mode="encode", check="transformers")
    again = load_run(tmp_path / "out").model
    assert again.lacks == ("decode", "start_caption")
    np.testing.assert_allclose(again.log_scale[...], 1.25, atol=1e-6)


def test_a_model_for_answers_is_refused_by_name(tmp_path):
    text = dict(model_type="opt", hidden_size=16, num_hidden_layers=1, ffn_dim=16,
                num_attention_heads=2, vocab_size=30, max_position_embeddings=16,
                word_embed_proj_dim=16)  # fmt: skip
    config = transformers.Blip2Config(
        vision_config=VISION, qformer_config=QFORMER, num_query_tokens=QUERIES, text_config=text
    )
    transformers.Blip2ForConditionalGeneration(config).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="must be a Blip2ForImageTextRetrieval to be read here"):
        load_run(f"hf:{tmp_path}")


def test_the_published_model_has_as_many_parameters_as_there():
    qformer = dict(use_qformer_text_input=True, vocab_size=30523)
    with torch.device("meta"):
        theirs = transformers.Blip2ForImageTextRetrieval(
            transformers.Blip2Config(qformer_config=qformer)
        )
    kwargs = dual_encoder_preset("blip2/ViT-g/14", text_length=512) | dict(writes=False)
    shapes = param_shapes(kwargs)
    own = sum(
        int(np.prod(shape)) for name, shape in shapes.items() if not name.startswith("image/")
    )
    behind = ("vision_model.post_layernorm",)
    count = sum(
        p.numel()
        for name, p in theirs.named_parameters()
        if not name.startswith("vision_model.") or name.startswith(behind)
    )
    assert own - 1 == count  # the temperature, which their class has not
