"""What a file holds beside a model's parameters: known and looked at, said, or refused."""

import json
import logging
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import vlp
from tests.interop.test_albef_checkpoint import saved
from tests.interop.test_albef_checkpoint import tensors as albef
from tests.interop.tiny import in_memory, make_run
from vlp.interop.adapt import complete
from vlp.interop.hf import blip
from vlp.interop.hf import write as hf
from vlp.interop.layout import read_params, write_tensors
from vlp.interop.load import load_run
from vlp.interop.loaded import abstract_model, model_of, param_shapes, params_of
from vlp.interop.open_clip import write as open_clip
from vlp.interop.surplus import causal, counted, settle, without_copies

WEIGHTS = {"hf": "model.safetensors", "open_clip": "open_clip_model.safetensors"}
TABLE = "text_encoder.cls.predictions.decoder.weight"
TOKENS = "text_encoder.bert.embeddings.word_embeddings.weight"
MASK = np.triu(np.full((12, 12), -np.inf, np.float32), 1)
PLACES = np.arange(12)[None]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    for stack, module in (("hf", hf), ("open_clip", open_clip)):
        (folder / stack).mkdir()
        module.write(
            make_run("clip", **{"text.activation": "quick_gelu"}), folder / stack, metrics={}
        )
    return folder


def with_tensor(whole, folder, stack, **tensors):
    shutil.copytree(whole / stack, folder)
    file = folder / WEIGHTS[stack]
    named = {name.replace("__", "."): np.array(array, order="C") for name, array in tensors.items()}
    save_file(load_file(file) | named, file)
    return folder


BUFFERS = {
    "positions": ("hf", dict(text_model__embeddings__position_ids=PLACES)),
    "mask": ("open_clip", dict(attn_mask=MASK)),
}
LIES = {
    "positions": ("hf", dict(text_model__embeddings__position_ids=PLACES[:, ::-1])),
    "mask": ("open_clip", dict(attn_mask=np.zeros((12, 12), np.float32))),
    "a mask that hides less": ("open_clip", dict(attn_mask=np.triu(MASK, 2))),
}


@pytest.mark.parametrize("case", BUFFERS)
def test_a_buffer_that_follows_from_the_architecture_is_left_out_and_listed(case, whole, tmp_path):
    stack, buffer = BUFFERS[case]
    run = load_run(with_tensor(whole, tmp_path / "x", stack, **buffer))
    assert set(run.left_out) == {name.replace("__", ".") for name in buffer}


@pytest.mark.parametrize("case", LIES)
def test_a_buffer_with_another_value_is_refused_by_name(case, whole, tmp_path):
    stack, buffer = LIES[case]
    name = next(iter(buffer)).replace("__", ".")
    with pytest.raises(ValueError, match=f"{name} in .* must be .*, and is not"):
        load_run(with_tensor(whole, tmp_path / "x", stack, **buffer))


def test_masks_and_places_of_every_size_are_known():
    for size in (1, 2, 7):
        mask = np.triu(np.full((size, size), -np.inf, np.float16), 1)
        arrays = {"attn_mask": mask, "position_ids": np.arange(size, dtype=np.int64)}
        left = settle(in_memory(arrays), (causal("attn_mask"), counted("position_ids")))
        assert len(left) == 0 and len(left.left_out) == 2


def test_heads_that_an_encoder_has_not_are_said(whole, tmp_path, caplog):
    folder = shutil.copytree(whole / "hf", tmp_path / "vit")
    rng = np.random.default_rng(0)
    tensors = _vit_tensors(rng)
    heads = {"classifier.weight": np.ones((5, 8), np.float32), "classifier.bias": np.ones(5, "f4")}
    save_file(tensors | heads, folder / "model.safetensors")
    sizes = dict(hidden_size=8, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2)
    config = dict(model_type="vit", image_size=16, patch_size=8, **sizes)
    for path in folder.glob("*.json"):
        path.unlink()
    (folder / "config.json").write_text(json.dumps(config))
    with caplog.at_level(logging.WARNING, "vlp"):
        run = load_run(folder)
    assert set(run.left_out) == set(heads)
    assert "left out 2 tensors, a head of the task" in caplog.text
    assert "such as classifier.bias" in caplog.text or "such as classifier.weight" in caplog.text


def _vit_tensors(rng):
    """A `ViTModel` of one layer, without its pooler."""
    layer = "encoder.layer.0."
    shapes = {
        "embeddings.cls_token": (1, 1, 8),
        "embeddings.position_embeddings": (1, 5, 8),
        "embeddings.patch_embeddings.projection.weight": (8, 3, 8, 8),
        "embeddings.patch_embeddings.projection.bias": (8,),
        **{f"{layer}attention.attention.{x}.weight": (8, 8) for x in ("query", "key", "value")},
        **{f"{layer}attention.attention.{x}.bias": (8,) for x in ("query", "key", "value")},
        **{f"{layer}attention.output.dense.weight": (8, 8)},
        **{f"{layer}attention.output.dense.bias": (8,)},
        **{f"{layer}intermediate.dense.weight": (16, 8), f"{layer}intermediate.dense.bias": (16,)},
        **{f"{layer}output.dense.weight": (8, 16), f"{layer}output.dense.bias": (8,)},
        **{
            f"{name}.{x}": (8,)
            for name in (f"{layer}layernorm_before", f"{layer}layernorm_after", "layernorm")
            for x in ("weight", "bias")
        },
    }
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def test_every_tensor_of_a_checkpoint_of_albef_is_a_parameter_or_is_listed(tmp_path, caplog):
    state = albef()
    run = load_run(f"albef:{saved(tmp_path, state)}", tokenizer="none")
    teacher = {name for name in state if "_m." in name or "queue" in name}
    assert teacher < set(run.left_out)
    assert {TABLE, "text_encoder.cls.predictions.decoder.bias"} & set(state) <= set(run.left_out)
    assert "of the momentum teacher" in caplog.text and "a queue of the momentum" in caplog.text
    state["text_proj_x.bias"] = np.ones(3, np.float32)
    with pytest.raises(ValueError, match="such tensors, first text_proj_x.bias"):
        load_run(f"albef:{saved(tmp_path, state)}", tokenizer="none")


def test_an_output_table_of_its_own_is_read_as_one(tmp_path):
    """What the head computes with moves with it, and with it alone."""
    state = albef()
    state[TABLE] = state[TOKENS].copy()
    tied = load_run(f"albef:{saved(tmp_path, state)}", tokenizer="none").model
    state[TABLE] = 2 * state[TOKENS]
    untied = load_run(f"albef:{saved(tmp_path, state)}", tokenizer="none").model
    assert ("tied_head" not in tied.kwargs, untied.kwargs.get("tied_head", True)) == (True, False)
    assert untied.kwargs["tied_head"] is False and "tied_head" not in tied.kwargs
    image = tied.encode_image(np.zeros((2, 32, 32, 3), np.uint8))
    text = np.array([[2, 9, 3, 0], [2, 8, 7, 3]], np.int32)
    bias = np.asarray(tied.token_head.bias[...])
    ours, theirs = (np.asarray(m.predict_tokens(image, text)) - bias for m in (tied, untied))
    np.testing.assert_allclose(2 * ours, theirs, rtol=1e-4, atol=1e-5)


def test_an_output_bias_that_differs_from_itself_is_refused(tmp_path):
    state = albef()
    name = "text_encoder.cls.predictions.bias"
    state[f"{name.removesuffix('bias')}decoder.bias"] = state[name] + 1
    with pytest.raises(ValueError, match=f"decoder.bias in .* must be {name} again, and is not"):
        vlp.load(f"albef:{saved(tmp_path, state)}", tokenizer="none")


BLIP = dict(
    image=dict(image_size=16, patch_size=8, width=12, depth=1, num_heads=2, pool="cls"),
    text=dict(kind="bert", vocab_size=30, length=8, num_types=None, width=12, depth=1, num_heads=2,
              mlp_dim=24, pooler=False, causal=True),
    modes=["decode"], embed_dim=12, end_id=3, image_projection="none", text_projection="none",
)  # fmt: skip


@pytest.mark.parametrize("tied", [True, False])
def test_a_captioner_goes_out_and_in_with_its_table(tied, tmp_path):
    settings = BLIP | ({} if tied else {"tied_head": False})
    rng = np.random.default_rng(0)
    shapes = param_shapes(settings)
    assert ("token_head/table" in shapes) is not tied
    params = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    full = complete(abstract_model(settings).kwargs)
    tensors = write_tensors(blip.rules(full), params)
    config = blip.config(full)
    assert config["tie_word_embeddings"] is tied
    again = blip.cleared(in_memory(tensors))
    kwargs = blip.kwargs(config, again)
    assert kwargs.get("tied_head", True) is tied
    read = read_params(blip.rules(complete(kwargs)), again, param_shapes(kwargs))
    for name, array in params_of(model_of(kwargs, read)).items():
        np.testing.assert_array_equal(array, params[name], err_msg=name)


def test_of_two_names_of_a_tensor_either_will_do():
    array = np.arange(3.0)
    for arrays in ({"a": array}, {"b": array}, {"a": array, "b": array.copy()}):
        kept = without_copies(in_memory(arrays), {"b": "a"})
        np.testing.assert_array_equal(kept["a"], array)
        assert list(kept) == ["a"]
    with pytest.raises(ValueError, match="b in .* must be a again, and is not"):
        without_copies(in_memory({"a": array, "b": array + 1}), {"b": "a"})


def test_a_siglip_without_its_head_says_what_to_take(tmp_path):
    hf.write(make_run("siglip"), tmp_path, metrics={})
    file = tmp_path / "model.safetensors"
    tensors = {k: v for k, v in load_file(file).items() if not k.startswith("vision_model.head.")}
    save_file(tensors, file)
    with pytest.raises(ValueError, match="must have its pooling head, vision_model.head.*whole"):
        vlp.load(tmp_path)
