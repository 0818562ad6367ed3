"""timm's vision transformers: the same table of names, the same outputs, the same files back."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import timm
import torch
from flax import nnx
from safetensors.numpy import load_file
from timm.models._hub import save_for_hf

from tests.peers.copied import randomised
from vlp.interop.export import export
from vlp.interop.load import load_run
from vlp.interop.samples import sample_images
from vlp.interop.timm import architectures, write
from vlp.interop.timm.oracle import TimmReader

ACTIVATIONS = {"GELU": "gelu", "GELUTanh": "gelu_tanh", "GELUTanh_": "gelu_tanh"}
POOLS = {"token": "cls", "avg": "mean", "map": "map"}
TINY = dict(embed_dim=32, depth=2, num_heads=2)


@pytest.mark.parametrize("name", architectures.names())
def test_the_table_says_what_timm_builds(name):
    with torch.device("meta"):
        model = timm.create_model(name, weight_init="skip")
    block, projection = model.blocks[0], model.patch_embed.proj
    activation = type(block.mlp.act).__name__
    assert architectures.find(name) == dict(
        kind="vit",
        image_size=model.patch_embed.img_size[0],
        patch_size=model.patch_embed.patch_size[0],
        width=model.embed_dim,
        depth=len(model.blocks),
        num_heads=block.attn.num_heads,
        mlp_dim=block.mlp.fc1.out_features,
        pool=POOLS[model.global_pool],
        class_token=model.has_class_token,
        pre_norm=not isinstance(model.norm_pre, torch.nn.Identity),
        patch_bias=projection.bias is not None,
        norm_after_pool=not isinstance(model.fc_norm, torch.nn.Identity),
        pooler=False,
        layer_scale=None,
        position="learned",
        activation=ACTIVATIONS.get(activation, "quick_gelu"),
        norm_eps=block.norm1.eps,
    )
    assert (activation == "QuickGELU") == ("quickgelu" in name)


CASES = {
    "clip": ("vit_base_patch32_clip_224", dict(img_size=64, num_classes=24)),
    "clip_quickgelu": ("vit_base_patch16_clip_quickgelu_224", dict(img_size=32, num_classes=24)),
    "clip_fine_tuned": ("vit_base_patch16_clip_224", dict(img_size=32, num_classes=1000)),
    "siglip": ("vit_base_patch16_siglip_224", dict(img_size=32, num_classes=0)),
    "siglip_2": ("vit_so400m_patch16_siglip_256", dict(img_size=48, num_classes=0)),
    "siglip_gap": ("vit_base_patch16_siglip_gap_224", dict(img_size=32, num_classes=0)),
    "augreg": ("vit_tiny_patch16_224", dict(img_size=32, num_classes=21843)),
    "scaled": ("vit_base_patch16_224", dict(img_size=32, num_classes=0, init_values=1e-5)),
    "map_with_class_token": ("vit_base_patch16_224", dict(img_size=32, num_classes=0,
                                                          global_pool="map", mlp_ratio=3)),
    "norm": ("vit_base_patch16_224", dict(img_size=32, num_classes=0, fc_norm=True)),
}  # fmt: skip


@pytest.fixture(params=CASES, scope="module")
def saved(request, tmp_path_factory):
    """A model of timm and the folder that timm wrote."""
    name, args = CASES[request.param]
    torch.manual_seed(0)
    model = randomised(timm.create_model(name, **TINY, **args))
    folder = tmp_path_factory.mktemp(request.param) / "theirs"
    save_for_hf(model, folder, safe_serialization=True, model_args={**TINY, **args})
    return model, folder


def test_outputs_are_timm_s(saved):
    model, folder = saved
    run = load_run(folder)
    size = run.model.image.image_size
    images = np.random.default_rng(0).integers(0, 256, (3, size, size, 3), np.uint8)
    pixels = torch.from_numpy(
        np.array(run.model.normalise(jnp.asarray(images))).transpose(0, 3, 1, 2).copy()
    )
    graphdef, state = nnx.split(run.model)

    def outputs(state, images):
        ours = nnx.merge(graphdef, state)
        pooled, _ = ours.image(ours.normalise(images))
        return ours.encode_image(images), pooled, ours.image_hidden_states(images)

    image, pooled, states = jax.jit(outputs)(state, images)
    with torch.no_grad():
        features, intermediates = model.forward_intermediates(
            pixels, return_prefix_tokens=True, output_fmt="NLC"
        )
        pre_logits = model.forward_head(features, pre_logits=True)
        head = run.model.kwargs["image_projection"] != "none"
        embedding = torch.nn.functional.normalize(model(pixels) if head else pre_logits, dim=-1)
    assert_same(pooled, pre_logits, "pooled")
    assert_same(image.embedding, embedding, "embedding")
    assert_same(image.tokens, features, "tokens")
    for i, (patches, prefix) in enumerate(
        x if isinstance(x, tuple) else (x, x[:, :0]) for x in intermediates
    ):
        assert_same(states[i + 1], torch.cat([prefix, patches], dim=1), f"block {i}")


def assert_same(ours, theirs, what):
    ours, theirs = np.asarray(ours), theirs.numpy()
    assert ours.shape == theirs.shape, what
    largest = max(1, np.abs(theirs).max())
    np.testing.assert_allclose(ours, theirs, atol=1e-5 * largest, rtol=0, err_msg=what)


def test_the_export_is_what_was_read_and_timm_opens_it(saved, tmp_path):
    model, folder = saved
    run = load_run(folder)
    write.write(run, tmp_path)
    written, given = (
        load_file(tmp_path / "model.safetensors"),
        load_file(folder / "model.safetensors"),
    )
    projected = run.model.kwargs["image_projection"] != "none"
    kept = {name for name in given if projected or not name.startswith("head.")}
    assert written.keys() == kept
    for name in kept:
        np.testing.assert_array_equal(written[name], given[name], err_msg=name)
    pictures = list(sample_images(run.preprocess.size))
    reader = TimmReader(tmp_path)
    pixels = np.array(run.model.normalise(jnp.asarray(run.preprocess(pictures))))
    np.testing.assert_allclose(reader.pixels(pictures), pixels.transpose(0, 3, 1, 2), atol=1e-5)


def test_an_export_is_compared_in_timm(tmp_path):
    architecture, args = CASES["clip"]
    model = randomised(timm.create_model(architecture, **TINY, **args))
    save_for_hf(model, tmp_path / "theirs", safe_serialization=True, model_args={**TINY, **args})
    report = export(tmp_path / "theirs", tmp_path / "out", to="timm")
    assert report["verified"]
    assert report["pixels"]["max_levels"] < 1e-3
    assert {"image_embeds", "image_hidden_states"} == report["outputs"].keys()


def test_a_published_folder_without_arguments_is_read(tmp_path):
    """The form of timm's hub: only what differs from the architecture is written down."""
    model = timm.create_model("vit_tiny_patch16_224", num_classes=5)
    save_for_hf(randomised(model), tmp_path, safe_serialization=True)
    path = tmp_path / "config.json"
    config = json.loads(path.read_text())
    config.pop("model_args", None)
    path.write_text(json.dumps(config))
    run = load_run(tmp_path)
    assert run.model.kwargs["embed_dim"] == 192
    assert run.preprocess.to_dict()["resize_size"] == 248
