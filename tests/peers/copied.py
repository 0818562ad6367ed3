"""Another stack's weights in our towers, copied by hand: independent of the rules of `interop`."""

import jax
import jax.numpy as jnp
import numpy as np
import torch
from flax import nnx

# The names of a block's parts in each stack: norm1, norm2, query, key and value (one name where
# they are one matrix), the output projection, and the two layers of the perceptron.
TRANSFORMERS = (
    "layer_norm1", "layer_norm2", ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "self_attn.out_proj", "mlp.fc1", "mlp.fc2",
)  # fmt: skip
VIT_MODEL = (
    "layernorm_before", "layernorm_after",
    ("attention.q_proj", "attention.k_proj", "attention.v_proj"),
    "attention.o_proj", "mlp.fc1", "mlp.fc2",
)  # fmt: skip
BERT = (
    "attention.output.LayerNorm", "output.LayerNorm",
    ("attention.self.query", "attention.self.key", "attention.self.value"),
    "attention.output.dense", "intermediate.dense", "output.dense",
)  # fmt: skip
OPEN_CLIP = ("ln_1", "ln_2", ("attn.in_proj_",), "attn.out_proj", "mlp.c_fc", "mlp.c_proj")
TIMM = ("norm1", "norm2", ("attn.qkv",), "attn.proj", "mlp.fc1", "mlp.fc2")


def randomised(module, *, seed=0):
    """The module in evaluation mode, every parameter random: norms and biases too."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            values = torch.randn(parameter.shape, generator=generator)
            if parameter.ndim > 1:
                parameter.copy_(values * 0.15)
            elif "norm" in name.lower() or "ln_" in name:
                parameter.copy_(values * 0.1 + ("weight" in name))
            else:
                parameter.copy_(values * 0.1)
    return module.eval()


class Tensors:
    """The tensors of a module as numpy arrays, in our shapes; names without the prefix."""

    def __init__(self, module, prefix=""):
        self.tensors = {
            name.removeprefix(prefix): tensor.detach().numpy()
            for name, tensor in module.state_dict().items()
        }

    def __getitem__(self, name):
        return self.tensors[name]

    def norm(self, name):
        return {"scale": self[f"{name}.weight"], "bias": self[f"{name}.bias"]}

    def linear(self, *names):
        """Linear layers side by side; a name with a trailing underscore is `..._weight`."""
        dots = ["" if name.endswith("_") else "." for name in names]
        named = [name + dot for name, dot in zip(names, dots, strict=True)]
        kernels = [self[f"{name}weight"].T for name in named]
        linear = {"kernel": np.concatenate(kernels, axis=1)}
        if f"{named[0]}bias" in self.tensors:
            linear["bias"] = np.concatenate([self[f"{name}bias"] for name in named])
        return linear

    def convolution(self, name):
        """A convolution over patches as a linear layer on (row, column, channel)."""
        weight = self[f"{name}.weight"]
        layer = {"kernel": weight.transpose(2, 3, 1, 0).reshape(-1, len(weight))}
        if f"{name}.bias" in self.tensors:
            layer["bias"] = self[f"{name}.bias"]
        return {"linear": layer}

    def stack(self, name, depth, names, *, scales=()):
        """The blocks `name.0`, `name.1`, ... as one block with a leading depth axis."""
        return {"blocks": jax.tree.map(
            lambda *leaves: np.stack(leaves),
            *(self._block(f"{name}.{i}.", names, scales) for i in range(depth)),
        )}  # fmt: skip

    def _block(self, prefix, names, scales):
        norm1, norm2, qkv, out, up, down = names
        block = {
            "norm1": self.norm(prefix + norm1),
            "norm2": self.norm(prefix + norm2),
            "attention": {
                "qkv": self.linear(*(prefix + name for name in qkv)),
                "out": self.linear(prefix + out),
            },
            "mlp": {"up": self.linear(prefix + up), "down": self.linear(prefix + down)},
        }
        ours = ("attention_scale", "mlp_scale")
        return block | {our: self[prefix + s] for our, s in zip(ours, scales, strict=False)}

    def map_head(self, name):
        """The attention pooling of SigLIP in transformers."""
        return {
            "probe": self[f"{name}.probe"].reshape(-1),
            **_query_key_value(self.linear(f"{name}.attention.in_proj_")),
            "out": self.linear(f"{name}.attention.out_proj"),
            "norm": self.norm(f"{name}.layernorm"),
            "mlp": {"up": self.linear(f"{name}.mlp.fc1"), "down": self.linear(f"{name}.mlp.fc2")},
        }


def _query_key_value(linear):
    width = len(linear["bias"]) // 3
    return {
        "query": {key: value[..., :width] for key, value in linear.items()},
        "key_value": {key: value[..., width:] for key, value in linear.items()},
    }


def tower(make, params):
    """Our module with these parameters: a nested dict that has exactly its names and shapes."""
    graphdef, state = nnx.split(nnx.eval_shape(make))
    wanted = nnx.to_pure_dict(state)
    shapes = jax.tree.map(lambda leaf: leaf.shape, wanted)
    assert jax.tree.map(np.shape, params) == shapes
    params = jax.tree.map(lambda leaf: jnp.asarray(np.ascontiguousarray(leaf)), params)
    nnx.replace_by_pure_dict(state, params)
    return nnx.merge(graphdef, state)


def assert_same(ours, theirs, *, atol=1e-5, where=None):
    """Equal to the last digits, at all places or where the mask says."""
    ours, theirs = np.asarray(ours), theirs.detach().numpy()
    assert ours.shape == theirs.shape
    if where is not None:
        ours, theirs = ours[where], theirs[where]
    np.testing.assert_allclose(ours, theirs, atol=atol, rtol=0)
    assert np.std(theirs) > 0.05, "too small to tell"
