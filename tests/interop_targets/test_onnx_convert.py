"""Single operations in onnxruntime give what they give in JAX, at two sizes of an open batch."""

import jax
import jax.numpy as jnp
import numpy as np
import onnx
import onnxruntime
import pytest

from vlp.interop.onnx.convert import convert
from vlp.nn.pooling import first_position, mean_pool, take_token

W = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
KERNEL = np.random.default_rng(0).normal(size=(3, 3, 6, 4)).astype(np.float32)
NORM = jnp.asarray(W[:, 0])

# Functions of x float32 [n, 5, 6].
FLOATS = {
    "product of matrices": lambda x: x @ W,
    "product of vectors": lambda x: jnp.einsum("nlw,nl->nw", x, x[:, :, 0]),
    "inner product": lambda x: jnp.einsum("nw,nw->n", x[:, 0], x[:, 1]),
    "attention": lambda x: jax.nn.softmax(jnp.einsum("nlw,nmw->nlm", x, x), axis=-1) @ x,
    "softmax of another axis": lambda x: jax.nn.softmax(x, axis=1),
    "mean of an axis": lambda x: jnp.mean(x, axis=1),
    "mean over the batch": lambda x: jnp.mean(x, axis=0),
    "sum by another number": lambda x: jnp.sum(x, axis=2) / 5,
    "variance": lambda x: jnp.var(x, axis=-1),
    "layer norm": lambda x: (
        (x - x.mean(-1, keepdims=True))
        * jax.lax.rsqrt(x.var(-1, keepdims=True) + 1e-6)
        * NORM.reshape(1, 1, -1)
    ),
    "activations": lambda x: jnp.tanh(x) + jax.nn.relu(x) * jax.nn.silu(x),
    "gelu": lambda x: jax.nn.gelu(x, approximate=True) + 0.5 * x * (1 + jax.lax.erf(x * 0.7071)),
    "powers": lambda x: jnp.sqrt(x**2 + 1) + jnp.exp(-jnp.abs(x)) + jnp.log(x**2 + 1) + x**3,
    "clipping": lambda x: jnp.minimum(jnp.maximum(x, -0.5), 0.5),
    "where": lambda x: jnp.where(x > 0, x, -1e30),
    "truth": lambda x: ((x > 0) & (x < 1) | ~(x <= 2)).astype(jnp.float32),
    "a token in front": lambda x: jnp.concatenate(
        [jnp.broadcast_to(NORM.reshape(1, 1, -1), (x.shape[0], 1, 6)), x], axis=1
    ),
    "a constant alone": lambda x: jnp.broadcast_to(NORM.reshape(1, -1), (x.shape[0], 6)),
    "patches": lambda x: x.reshape(-1, 5, 2, 3).transpose(0, 2, 1, 3).reshape(x.shape[0], -1),
    "slices": lambda x: x[:, 1:4] + x[:, 2][:, None],
    "parts": lambda x: sum(jnp.split(x, 3, axis=-1)),
    "last": lambda x: x[:, -1],
    "largest": lambda x: jnp.argmax(x, axis=-1),
    "convolution": lambda x: jax.lax.conv_general_dilated(
        x.reshape(-1, 5, 1, 6),
        KERNEL,
        (2, 1),
        ((1, 1), (1, 1)),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    ),
    "a loop over layers": lambda x: jax.lax.scan(
        lambda x, w: (jnp.tanh(x * w.reshape(1, 1, -1)), None), x, jnp.asarray(W.T)
    )[0],
}
# Functions of ids int32 [n, l].
IDS = {
    "embeddings": lambda ids: jnp.asarray(W)[ids],
    "positions": lambda ids: (
        jnp.asarray(np.resize(W, (12, 4)))[: ids.shape[1]][None] + ids[..., None]
    ),
    "the first of its kind": lambda ids: first_position(ids, 3),
    "one row of each": lambda ids: take_token(jnp.asarray(W)[ids], first_position(ids, 3)),
    "mean of what is there": lambda ids: mean_pool(jnp.asarray(W)[ids], mask=ids != 0),
    "earlier ones": lambda ids: jnp.tril(jnp.ones((ids.shape[1],) * 2, bool)) & (ids != 0)[:, None],
    "padded to a length": lambda ids: jnp.concatenate(
        [ids, jnp.full((ids.shape[0], 7), 5, ids.dtype)], axis=1
    )[:, :7],
}
# Functions that leave x as it is.
IDLE = {
    "a slice of all": lambda x: jax.lax.slice_in_dim(x, 0, 5, axis=1),
    "a slice of all rows": lambda x: jax.lax.slice_in_dim(x, 0, x.shape[0], axis=0),
    "one part": lambda x: jax.lax.split(x, (5,), axis=1)[0],
    "one value in a row": lambda x: jax.lax.concatenate([x], 1),
    "axes in their order": lambda x: jax.lax.transpose(x, (0, 1, 2)),
    "axes there and back": lambda x: x.transpose(2, 0, 1).transpose(1, 2, 0),
    "its own shape": lambda x: jax.lax.reshape(x, x.shape),
    "shapes there and back": lambda x: x.reshape(-1, 15, 2).reshape(x.shape),
    "its own dtype": lambda x: jax.lax.convert_element_type(x, jnp.float32),
    "no more axes": lambda x: jax.lax.squeeze(x, ()),
}


def run(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return session.run(None, {"x": x})[0]


@pytest.mark.parametrize("name", FLOATS)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_functions_of_numbers(name):
    function = FLOATS[name]
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        (n,) = jax.export.symbolic_shape("n")
        open_batch = {"x": jax.ShapeDtypeStruct((n, 5, 6), jnp.float32)}
        model = convert(lambda x: [function(x)], open_batch, outputs=["y"], opset=17)
        for rows in (1, 3):
            x = np.random.default_rng(rows).normal(size=(rows, 5, 6)).astype(np.float32)
            np.testing.assert_allclose(run(model, x), function(jnp.asarray(x)), 1e-5, 1e-5)


@pytest.mark.parametrize("name", IDLE)
def test_what_changes_nothing_is_no_node(name):
    (n,) = jax.export.symbolic_shape("n")
    open_batch = {"x": jax.ShapeDtypeStruct((n, 5, 6), jnp.float32)}
    model = convert(lambda x: [-IDLE[name](x)], open_batch, outputs=["y"], opset=17)
    assert [node.op_type for node in model.graph.node] == ["Neg", "Identity"]
    assert not model.graph.initializer


@pytest.mark.parametrize("name", IDS)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_functions_of_ids(name):
    function = IDS[name]
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        shape = jax.export.symbolic_shape("n, l", constraints=["l <= 12"])
        open_rows = {"x": jax.ShapeDtypeStruct(shape, jnp.int32)}
        model = convert(lambda x: [function(x)], open_rows, outputs=["y"], opset=17)
        for rows, columns in ((1, 5), (3, 8)):
            x = np.random.default_rng(rows).integers(0, 6, (rows, columns))
            ours = function(jnp.asarray(x, jnp.int32))
            np.testing.assert_allclose(run(model, x), ours, 1e-6)


def test_an_operation_without_counterpart_is_named():
    with pytest.raises(ValueError, match="knows no operation 'sort'; it has abs, add"):
        convert(
            lambda x: [jnp.sort(x)],
            {"x": jax.ShapeDtypeStruct((2, 3), jnp.float32)},
            outputs=["y"],
            opset=17,
        )


def test_what_depends_on_no_input_is_computed_before():
    model = convert(
        lambda x: [x + jnp.sum(jnp.exp(jnp.asarray(W)))],
        {"x": jax.ShapeDtypeStruct((2,), jnp.float32)},
        outputs=["y"],
        opset=17,
    )
    assert [node.op_type for node in model.graph.node] == ["Add", "Identity"]


def test_the_same_node_is_written_once():
    model = convert(
        lambda x: [jnp.exp(x) + jnp.exp(x)],
        {"x": jax.ShapeDtypeStruct((2,), jnp.float32)},
        outputs=["y"],
        opset=17,
    )
    assert [node.op_type for node in model.graph.node] == ["Exp", "Add", "Identity"]
