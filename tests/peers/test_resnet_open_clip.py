"""The ResNet tower gives what open_clip's gives, with the same weights and running statistics."""

import jax
import jax.numpy as jnp
import numpy as np
import open_clip
import pytest
import torch
from flax import nnx
from open_clip.modified_resnet import ModifiedResNet as Theirs

from vlp.models.resnet import ModifiedResNet

# What the last of our names is called there.
LEAVES = {
    "kernel": "weight",
    "scale": "weight",
    "bias": "bias",
    "mean": "running_mean",
    "variance": "running_var",
}


def assert_close(got, want, name=""):
    """To 1e-5 of the largest value: sums round in units of it."""
    got, want = np.asarray(got), np.asarray(want)
    largest = max(1.0, float(np.abs(want).max()))
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-5 * largest, err_msg=name)


def theirs_for(kwargs, *, seed=0):
    """open_clip's tower with random weights and statistics."""
    torch.manual_seed(seed)
    tower = Theirs(
        layers=kwargs["layers"],
        output_dim=kwargs["output_dim"],
        heads=kwargs["num_heads"],
        image_size=kwargs["image_size"],
        width=kwargs["width"],
    )
    for module in tower.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias, std=0.3)
            torch.nn.init.normal_(module.running_mean, std=0.3)
            torch.nn.init.uniform_(module.running_var, 0.5, 2)
    return tower.eval()


def tensor_name(path):
    """open_clip's name of one of our parameters: `layer1/0/norm2/mean` -> `...bn2.running_mean`."""
    parts = [str(part) for part in path if part != "stem"]
    if parts[-2:-1] in (["conv"], ["norm"]):
        parts[-2] = {"conv": "0", "norm": "1"}[parts[-2]]
    parts = [part.replace("norm", "bn") for part in parts]
    return ".".join([*parts[:-1], LEAVES[parts[-1]]])


def our_array(tensors, path, shape):
    """The array of ours that their tensors make."""
    if path[0] == "head":
        return _head_array(tensors, path)
    tensor = tensors[tensor_name(path)]
    return tensor.transpose(2, 3, 1, 0) if len(shape) == 4 else tensor


def _head_array(tensors, path):
    if path[1] == "positions":
        return tensors["attnpool.positional_embedding"]
    names = {"query": "q", "key_value": "kv", "out": "c"}[path[2]]
    leaf = "weight" if path[3] == "kernel" else "bias"
    parts = [tensors[f"attnpool.{name}_proj.{leaf}"].T for name in names]
    return np.concatenate(parts, axis=-1)


def ours_like(tower, kwargs):
    """Our tower with the other's weights."""
    tensors = {name: tensor.numpy() for name, tensor in tower.state_dict().items()}
    graphdef, state = nnx.split(nnx.eval_shape(lambda: ModifiedResNet(**kwargs, rngs=nnx.Rngs(0))))

    def fill(path, leaf):
        parts = tuple(key.key for key in path)
        array = our_array(tensors, parts, leaf.shape)
        assert array.shape == leaf.shape, parts
        return jnp.asarray(array)

    params = jax.tree_util.tree_map_with_path(fill, nnx.to_pure_dict(state))
    return graphdef, params


CASES = [
    dict(image_size=32, layers=[1, 2, 1, 1], width=16, num_heads=4, output_dim=24),
    dict(image_size=96, layers=[2, 1, 1, 2], width=8, num_heads=8, output_dim=16),
]


def pixels(kwargs, n=3):
    size = kwargs["image_size"]
    return np.random.default_rng(0).normal(size=(n, size, size, 3)).astype(np.float32)


@pytest.mark.parametrize("kwargs", CASES, ids=["32", "96"])
def test_pooled_vectors_and_every_feature_map_are_open_clip_s(kwargs):
    theirs = theirs_for(kwargs)
    graphdef, params = ours_like(theirs, kwargs)
    images = pixels(kwargs)

    def run(params, images):
        tower = nnx.merge(graphdef, params)
        return tower(images), tower.stages(images)

    (pooled, tokens), maps = jax.jit(run)(params, images)
    with torch.no_grad():
        want = theirs.forward_intermediates(torch.from_numpy(images.transpose(0, 3, 1, 2)))
    assert_close(pooled, want["image_features"])
    for ours, tensor in zip(maps, want["image_intermediates"], strict=True):
        assert_close(ours, tensor.permute(0, 2, 3, 1))
    assert_close(tokens, maps[-1].reshape(tokens.shape))


@pytest.mark.parametrize("name", ["RN50", "RN101", "RN50x4", "RN50x16", "RN50x64"])
def test_the_published_sizes_have_open_clip_s_tensors(name):
    config = open_clip.get_model_config(name)
    vision = config["vision_cfg"]
    kwargs = dict(
        image_size=vision["image_size"],
        layers=vision["layers"],
        width=vision["width"],
        output_dim=config["embed_dim"],
    )
    with torch.device("meta"):
        theirs = open_clip.model._build_vision_tower(config["embed_dim"], vision)
    tensors = {name: tuple(tensor.shape) for name, tensor in theirs.state_dict().items()}
    ours = nnx.eval_shape(lambda: ModifiedResNet(**kwargs, rngs=nnx.Rngs(0)))
    assert ours.head.attention.num_heads == theirs.attnpool.num_heads
    for path, leaf in jax.tree.leaves_with_path(nnx.to_pure_dict(nnx.state(ours))):
        parts = tuple(key.key for key in path)
        if parts[0] != "head":
            shape = tensors.pop(tensor_name(parts))
            assert leaf.shape == tuple(shape[i] for i in (2, 3, 1, 0)[-len(shape) :]), parts
    left = [name for name in tensors if not name.endswith("num_batches_tracked")]
    assert all(name.startswith("attnpool.") for name in left), left
    assert ours.head.positions.shape == tensors["attnpool.positional_embedding"]


def test_a_training_pass_normalises_and_moves_statistics_as_torch_does():
    kwargs = CASES[0]
    theirs = theirs_for(kwargs)
    graphdef, params = ours_like(theirs, kwargs)
    images = pixels(kwargs, n=4)

    def run(params, images):
        tower = nnx.merge(graphdef, params)
        pooled, _ = tower(images, train=True)
        return pooled, nnx.to_pure_dict(nnx.state(tower))

    pooled, moved = jax.jit(run)(params, images)
    with torch.no_grad():
        want = theirs.train()(torch.from_numpy(images.transpose(0, 3, 1, 2)))
    assert_close(pooled, want)
    _, after = ours_like(theirs, kwargs)
    for path, array in jax.tree.leaves_with_path(moved):
        found = after
        for key in path:
            found = found[key.key]
        assert_close(array, found, str(path))
