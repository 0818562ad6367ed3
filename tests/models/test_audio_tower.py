import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from tests.filled import filled
from vlp.models.audio import SpectrogramTransformer, windows
from vlp.nn.stack import Stack

FRAMES, MELS, WIDTH = 12, 8, 16
TOWER = dict(frames=FRAMES, n_mels=MELS, patch_size=(4, 4), width=WIDTH, depth=2, num_heads=2)


def make(**kwargs):
    return filled(lambda: SpectrogramTransformer(**{**TOWER, **kwargs}, rngs=nnx.Rngs(0)))


def sounds(n=3):
    return jnp.float32(np.random.default_rng(0).normal(size=(n, FRAMES, MELS)))


def patches_by_loops(sound, size, stride):
    patches = []
    for time in range(0, FRAMES - size[0] + 1, stride[0]):
        for mel in range(0, MELS - size[1] + 1, stride[1]):
            rows = range(time, time + size[0])
            patches.append([sound[t, m] for t in rows for m in range(mel, mel + size[1])])
    return np.asarray(patches)


@pytest.mark.parametrize(
    ("size", "stride", "count"),
    [((4, 4), (4, 4), 6), ((4, 4), (3, 2), 9), ((5, 3), (5, 3), 4), ((12, 8), (10, 10), 1)],
)
def test_patches_are_those_of_two_loops_with_and_without_overlap(size, stride, count):
    found = windows(sounds(), size, stride)
    assert found.shape == (3, count, size[0] * size[1])
    for sound, patches in zip(np.asarray(sounds()), found, strict=True):
        np.testing.assert_array_equal(patches, patches_by_loops(sound, size, stride))


@pytest.mark.parametrize("stride", [None, (3, 2)])
def test_what_enters_the_first_block_is_embedded_patches_with_positions(stride):
    tower = make(stride=stride)
    patches = np.stack(
        [patches_by_loops(x, (4, 4), stride or (4, 4)) for x in np.asarray(sounds())]
    )
    kernel, bias = (np.asarray(getattr(tower.patches, name)[...]) for name in ("kernel", "bias"))
    found, positions = tower.embed(sounds()), np.asarray(tower.positions[...])
    np.testing.assert_allclose(found[:, 1:], patches @ kernel + bias + positions[1:], atol=1e-5)
    first = tower.class_token[...] + positions[0]
    np.testing.assert_allclose(found[:, 0], np.broadcast_to(first, (3, WIDTH)), atol=1e-6)


@pytest.mark.parametrize(("pool", "tokens"), [("cls", 7), ("mean", 6), ("map", 6)])
def test_pooling_reads_the_normalised_tokens(pool, tokens):
    tower = make(pool=pool)
    pooled, sequence = tower(sounds())
    assert pooled.shape == (3, WIDTH) and sequence.shape == (3, tokens, WIDTH)
    read = {"cls": lambda x: x[:, 0], "mean": lambda x: x.mean(1), "map": tower.head}[pool]
    np.testing.assert_allclose(pooled, read(sequence), atol=1e-6)
    states = tower.hidden_states(sounds())
    np.testing.assert_allclose(states[0], tower.embed(sounds()), atol=1e-6)
    np.testing.assert_allclose(tower.norm(states[-1]), sequence, atol=1e-5)


def test_blocks_of_another_tower_take_the_place_of_its_own():
    own, other = make(), make(depth=1)
    foreign = filled(
        lambda: Stack(WIDTH, 1, mlp_dim=64, num_heads=2, norm_eps=1e-6, rngs=nnx.Rngs(0)), seed=3
    )
    other.stack = foreign
    for name in ("patches", "positions", "class_token", "norm"):
        setattr(other, name, getattr(own, name))
    np.testing.assert_array_equal(own(sounds(), stack=foreign)[0], other(sounds())[0])


def test_sounds_of_a_batch_do_not_hear_each_other():
    tower = make(pool="mean")
    gradient = jax.jit(jax.grad(lambda x: jnp.sum(tower(x)[0][0] ** 2)))(sounds())
    assert float(jnp.abs(gradient[0]).max()) > 0 and float(jnp.abs(gradient[1:]).max()) == 0


def test_bad_settings_and_spectrograms_of_another_size_are_refused():
    with pytest.raises(ValueError, match="pool must be one of cls, mean, map, got 'max'"):
        make(pool="max")
    with pytest.raises(ValueError, match=r"patch of \(16, 4\) .* fit into 12 and 8; .* smaller"):
        make(patch_size=(16, 4))
    with pytest.raises(ValueError, match=r"at least 1, got \(4, 4\) and \(0, 4\)"):
        make(stride=(0, 4))
    with pytest.raises(ValueError, match="12 frames of 8 mel bins, got 10 of 8; make them"):
        make()(sounds()[:, :10])
