"""Every model config in open_clip's wheel, made small: equal here and back again, or refused."""

import json
from importlib import resources

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx
from safetensors.numpy import load_file

from tests.peers.shrunk import LENGTH, VOCABULARY, essence, make, save, small, small_trunks
from vlp.interop.load import load_run
from vlp.interop.open_clip import write

CONFIGS = {
    path.name.removesuffix(".json"): json.loads(path.read_text())
    for path in sorted(
        resources.files("open_clip").joinpath("model_configs").iterdir(), key=lambda p: p.name
    )
}
# What is refused, by what the message names.
REFUSED = {
    "another architecture": (
        "EVA", "MobileCLIP-", "MobileCLIP2-B", "MobileCLIP2-S", "PE-Core", "ViTamin", "convnext",
        "swin", "vit_medium", "vit_relpos",
    ),
    "hf_model_name": ("coca_roberta", "mt5", "nllb", "roberta", "xlm"),
}  # fmt: skip


def reason(name):
    """What the message of a refusal must hold; None for a config that is read."""
    found = [why for why, starts in REFUSED.items() if name.startswith(starts)]
    return found[0] if found else None


READ = [name for name in CONFIGS if reason(name) is None]


def distinct():
    """Small configs by name, one of all that become the same model."""
    found = {}
    for name in READ:
        config = small(CONFIGS[name])
        found.setdefault(json.dumps(essence(config), sort_keys=True), (name, config))
    return dict(found.values())


SMALL = distinct()


def test_all_configs_are_either_read_or_refused():
    assert (len(CONFIGS), len(READ), len(SMALL)) == (144, 85, 27)


@pytest.mark.parametrize("name", [name for name in CONFIGS if reason(name)])
def test_what_the_towers_cannot_be_is_refused_by_name(name, tmp_path):
    sections = {"model_cfg": CONFIGS[name]}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(sections))
    with pytest.raises(ValueError, match=reason(name)):
        load_run(tmp_path)


def inputs(run):
    """Pixels and ids for us, and the same for open_clip."""
    random = np.random.default_rng(0)
    size = run.model.image.image_size
    images = random.integers(0, 256, (3, size, size, 3), np.uint8)
    ids = random.integers(8, VOCABULARY - 1, (3, LENGTH)).astype(np.int32)
    ids[[0, 1, 2], [3, LENGTH - 1, 5]] = VOCABULARY - 1  # an end for "argmax"
    ids[[0, 1, 2], [2, LENGTH - 1, 6]] = 7  # and one for "eos"
    ids[0, 5:] = 0
    pixels = np.array(run.model.normalise(jnp.asarray(images))).transpose(0, 3, 1, 2)
    return images, ids, torch.from_numpy(pixels.copy()), torch.from_numpy(ids).long()


def intermediates(blocks, call):
    """What the blocks of a tower of open_clip returned."""
    seen = []
    hooks = [block.register_forward_hook(lambda *given: seen.append(given[-1])) for block in blocks]
    with torch.no_grad():
        result = call()
    for hook in hooks:
        hook.remove()
    return result, [state.numpy() for state in seen]


def assert_same(ours, theirs, what):
    theirs = theirs.numpy() if isinstance(theirs, torch.Tensor) else theirs
    ours, largest = np.asarray(ours), np.abs(theirs).max()
    assert ours.shape == theirs.shape, what
    np.testing.assert_allclose(ours, theirs, atol=1e-5 * max(1, largest), rtol=0, err_msg=what)


@pytest.mark.parametrize("name", SMALL)
def test_outputs_are_open_clip_s_and_the_export_is_what_was_read(name, tmp_path, monkeypatch):
    config = SMALL[name]
    with small_trunks(monkeypatch):
        model = make(config)
        tensors = save(model, config, tmp_path / "theirs")
        run = load_run(tmp_path / "theirs", tokenizer="none")
        (tmp_path / "ours").mkdir()
        write.write(run, tmp_path / "ours")
    compare(model, run)
    written = load_file(tmp_path / "ours" / write.WEIGHTS)
    assert written.keys() == tensors.keys()
    for key, tensor in tensors.items():
        assert written[key].dtype == tensor.numpy().dtype
        assert written[key].shape == tuple(tensor.shape), key
        np.testing.assert_array_equal(written[key], tensor.numpy(), err_msg=key)


def ours(run, images, ids):
    """All that the model here says, compiled as one program."""
    resnet = run.model.kwargs["image"].get("kind") == "resnet"

    def outputs(state, images, ids):
        model = nnx.merge(graphdef, state)
        image, text = model.encode_image(images), model.encode_text(ids)
        states = () if resnet else model.image_hidden_states(images)[1:]
        captions = model.decode(image, text, ids) if is_coca else None
        logits = model.logits(image.embedding, text.embedding)
        return image, states, text, model.text_hidden_states(ids)[1:], logits, captions

    is_coca = "decoder" in run.model.kwargs
    graphdef, state = nnx.split(run.model)
    return jax.jit(outputs)(state, images, ids)


def compare(model, run):
    """Embeddings, logits, tokens and hidden states of both towers."""
    images, ids, pixels, long_ids = inputs(run)
    image, image_states, text, text_states, logits, captions = ours(run, images, ids)
    visual, tower = model.visual, getattr(model, "text", model)
    blocks = visual.trunk.blocks if hasattr(visual, "trunk") else ()
    if hasattr(visual, "transformer"):
        blocks = visual.transformer.resblocks
    zimg, states = intermediates(blocks, lambda: model.encode_image(pixels, normalize=True))
    assert_same(image.embedding, zimg, "image")
    if states:
        assert_same(image_states, np.stack(states), "image states")
    blocks = tower.transformer.resblocks
    ztxt, states = intermediates(blocks, lambda: model.encode_text(long_ids, normalize=True))
    assert_same(text.embedding, ztxt, "text")
    assert_same(text_states, np.stack(states), "text states")
    with torch.no_grad():
        want = model.logit_scale.exp() * zimg @ ztxt.T
        assert_same(logits, want if model.logit_bias is None else want + model.logit_bias, "logits")
        if captions is not None:
            assert_same(captions, model(pixels, long_ids)["logits"], "captions")
        if hasattr(visual, "trunk"):
            assert_same(image.tokens, visual.trunk.forward_features(pixels), "tokens")
