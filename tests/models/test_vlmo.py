"""VLMo as its authors' code computes it; what the numbers are: tests/authors/README.md."""

import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx, traverse_util

from tests.filled import filled
from tests.objectives.calling import call
from vlp.interop.adapt import complete
from vlp.interop.loaded import model_of, param_shapes
from vlp.models import DualEncoder, Vlmo
from vlp.objectives import masked_words
from vlp.objectives.common import triples
from vlp.objectives.vlmo import Vlmo as Objective
from vlp.parallel.ids import id_words
from vlp.training.optim.optimizers import decays, muon
from vlp.training.params import leaf_names

AUTHORS = Path(__file__).parents[1] / "authors"
PAD, FUSED, DEPTH, WIDTH = 0, 2, 4, 32
KWARGS = dict(
    image=dict(kind="patches", image_size=32, patch_size=8, width=WIDTH),
    text=dict(kind="words", vocab_size=50, length=9, width=WIDTH),
    multiway=dict(depth=DEPTH, num_heads=4, mlp_dim=64, fused_from=FUSED, layer_scale=0.1),
    embed_dim=WIDTH,
)
# Our names and the authors'; kernels are transposed, in blocks everything has their number.
TOP = {
    "log_scale": "logit_scale",
    "pair_log_scale": "logit_vl_scale",
    "image/class_token": "transformer.cls_token",
    "image/positions": "transformer.pos_embed",
    "image/patches/linear": "transformer.patch_embed.proj",
    "multiway/norm": "transformer.norm",
    "text/tokens": "text_embeddings.word_embeddings.weight",
    "text/positions": "text_embeddings.position_embeddings.weight",
    "text/embed_norm": "text_embeddings.LayerNorm",
    "pooler": "pooler.dense",
    "match_head": "itm_score.fc",
    "token_head/bias": "mlm_score.bias",
    "token_head/transform": "mlm_score.transform.dense",
    "token_head/norm": "mlm_score.transform.LayerNorm",
    "vocabulary": "mlm_score.decoder",
    "text_projection": "itc_text_proj.fc",
    "image_projection": "itc_image_proj.fc",
    "pair_text_projection": "itc_vl_text_proj.fc",
    "pair_image_projection": "itc_vl_image_proj.fc",
}
BLOCK = {
    "attention_scale": "gamma_1",
    "mlp_scale": "gamma_2",
    "norm": "norm1",
    "attention/qkv": "attn.qkv",
    "attention/out": "attn.proj",
    **{f"{ours}/norm": f"norm2_{theirs}" for ours, theirs in
       {"image": "imag", "text": "text", "pair": "vl"}.items()},
    **{f"{ours}/mlp/{layer}": f"mlp_{theirs}.{name}" for ours, theirs in
       {"image": "imag", "text": "text", "pair": "vl"}.items()
       for layer, name in {"up": "fc1", "down": "fc2"}.items()},
}  # fmt: skip
# How the positions are given, and the authors' numbers with them.
FILES = {"absolute": "vlmo_pretrain.npz", "relative": "vlmo_relative.npz"}
LEAVES = {"kernel": ".weight", "scale": ".weight", "bias": ".bias"}
close = functools.partial(np.testing.assert_allclose, rtol=0, atol=1e-4)


@functools.cache
def numbers(positions):
    return dict(np.load(AUTHORS / FILES[positions], allow_pickle=False))


def settings(positions):
    """The model's; the authors' table has room for longer texts than theirs are."""
    length = {"absolute": 9, "relative": 12}[positions]
    return changed(text=dict(length=length)) | dict(positions=positions)


def theirs(ours, table):
    """The authors' name of one of our parameters."""
    if ours in table:
        return table[ours]
    parent, _, leaf = ours.rpartition("/")
    return table[parent] + LEAVES[leaf]


def read(name, x):
    """One of the authors' weights as we keep it."""
    array = x[f"state/{name}"]
    if name.endswith("patch_embed.proj.weight"):
        return array.transpose(2, 3, 1, 0).reshape(-1, WIDTH)
    if name.endswith(("cls_token", "pos_embed")):
        return array.reshape(-1, WIDTH)
    linear = name.endswith(".weight") and array.ndim == 2 and "embeddings" not in name
    return array.T if linear else array


@functools.cache
def model(positions="absolute"):
    x, params = numbers(positions), {}
    kwargs = settings(positions)
    for name, shape in param_shapes(kwargs).items():
        stack = next((s for s in ("lower", "upper") if name.startswith(f"multiway/{s}")), None)
        if name in ("image/kind", "text/kind"):
            value = x["state/token_type_embeddings.weight"][int(name == "image/kind")]
        elif name == "image/mask_token" or name.startswith("pixel_head"):
            value = np.zeros(shape)
        elif stack is None:
            value = read(theirs(name, TOP), x)
        else:
            first = FUSED if stack == "upper" else 0
            inner = name.removeprefix(f"multiway/{stack}/blocks/")
            blocks = range(first, first + shape[0])
            value = np.stack([block_array(i, inner, x) for i in blocks])
        params[name] = np.asarray(value, np.float32).reshape(shape)
    # Theirs is a vector for all words; ours is in the positions, or in the words.
    table = "text/positions" if positions == "absolute" else "text/tokens"
    params[table] = params[table] + x["state/text_embeddings.token_type_embeddings.weight"][:1]
    return model_of(kwargs, params)


def block_array(i, inner, x):
    if inner == "attention/qkv/bias":
        q, v = (x[f"state/transformer.blocks.{i}.attn.{n}_bias"] for n in "qv")
        return np.concatenate([q, np.zeros_like(q), v])
    if inner.startswith("relative/"):
        # One table for all: 7 x 7 distances of patches and 3 rows of the class token, 2 rows of
        # pairs, then texts; a block has 4 columns.
        parts = np.split(x["state/relative_position_bias_table"][:, 4 * i : 4 * i + 4], [52, 54])
        return parts[("image", "pair", "text").index(inner.removeprefix("relative/"))]
    return read(f"transformer.blocks.{i}.{theirs(inner, BLOCK)}", x)


@functools.cache
def whole_step(positions):
    """The objective with the authors' masks and negatives: losses, outputs, gradients."""
    x = numbers(positions)
    targets = jnp.asarray(np.where(x["labels"] < 0, PAD, x["labels"]))
    shown, all_there = jnp.asarray(x["masked_text"]), jnp.ones(6, bool)
    chosen = [(jnp.asarray(x[f"negative_{way}"]), all_there)
              for way in ("image_of_text", "text_of_image")]  # fmt: skip
    batch = dict(
        image=jnp.zeros((6, 32, 32, 3), jnp.uint8), text=jnp.asarray(x["text"]),
        weight=jnp.ones(6), id=jnp.asarray(id_words(np.arange(6))),
    )  # fmt: skip
    graphdef, state = nnx.split(
        nnx.merge(graphdef_of_plain(positions), nnx.state(model(positions)))
    )
    objective = Objective(mask_id=4)

    def total(state):
        module = nnx.merge(graphdef, state)
        losses, metrics, _ = call(objective, module, batch)
        return jnp.mean(losses), (metrics, outputs(module, batch, shown))

    pixels = jnp.asarray(x["image"].transpose(0, 2, 3, 1))
    with pytest.MonkeyPatch.context() as patch:
        # The numbers' images are pixels, its negatives and masks are given.
        patch.setattr(Vlmo, "normalise", lambda *_: pixels)
        patch.setattr(masked_words, "mask_tokens", lambda *_, **__: (shown, targets))
        negatives = iter(chosen)
        patch.setattr(triples, "mine", lambda *_, **__: next(negatives))
        gradients = jax.jit(jax.value_and_grad(total, has_aux=True))
        (loss, (metrics, found)), gradient = gradients(state)
    return loss, metrics, found, traverse_util.flatten_dict(nnx.to_pure_dict(gradient), sep="/")


def graphdef_of_plain(positions="absolute"):
    kwargs = settings(positions)
    return nnx.graphdef(nnx.eval_shape(lambda: Vlmo(**kwargs, rngs=nnx.Rngs(0))))


def outputs(module, batch, shown):
    image, pair_image = module.branches("image", batch["image"])
    caption, pair_text = module.branches("text", batch["text"])
    words = module.fuse(image, caption, batch["text"])
    mask = module.text.padding_mask(batch["text"])
    _, patches = module.multiway.together(caption.entering, image.entering, mask=mask)
    last = {
        "text": module.text_hidden_states(batch["text"])[-1],
        "image": module.image_hidden_states(batch["image"])[-1],
    }
    return {
        "infer_text/raw_cls_feats": last["text"][:, 0],
        "infer_image/raw_cls_feats": last["image"][:, 0],
        "infer_text/text_feats": module.multiway.norm(last["text"]),
        "infer_image/image_feats": module.multiway.norm(last["image"]),
        "infer_text/cls_feats": caption.embedding,
        "infer_image/cls_feats": image.embedding,
        "infer_text/cls_vlffn_feats": pair_text,
        "infer_image/cls_vlffn_feats": pair_image,
        "infer/text_feats": words,
        "infer/image_feats": patches,
        "mlm_logits": module.predict_tokens(image, shown),
    }


@pytest.mark.parametrize(
    "positions", ["relative", pytest.param("absolute", marks=pytest.mark.slow)]
)
def test_every_way_through_the_model_gives_the_authors_outputs(positions):
    x, found = numbers(positions), whole_step(positions)[2]
    seen = x["attention_mask"] == 1  # padding may hold anything
    compared = found.keys() & x.keys()  # with relative positions fewer outputs were kept
    assert len(compared) == {"absolute": 11, "relative": 5}[positions]
    for name in compared:
        value, want = found[name], x[name]
        if "text_feats" in name or "mlm" in name:
            value, want = value[seen], want[seen]
        close(value, want, err_msg=name)


@pytest.mark.parametrize("positions", FILES)
def test_the_objective_gives_the_authors_losses(positions):
    loss, metrics, *_ = whole_step(positions)
    x = numbers(positions)
    close(loss, x["loss"])
    close(np.mean(metrics["contrastive_loss"]), x["itc_loss"])
    close(np.mean(metrics["pair_contrastive_loss"]), x["itc_loss_vl"])
    close(np.mean(metrics["matching_loss"]), x["itm_loss"])
    close(0.25 * np.mean(metrics["masked_loss"]), x["mlm_loss"])


@pytest.mark.parametrize("positions", FILES)
def test_every_gradient_has_the_authors_norm(positions):
    x = numbers(positions)
    *_, gradient = whole_step(positions)
    found, tables = {}, []
    for name, array in gradient.items():
        stack = next((s for s in ("lower", "upper") if name.startswith(f"multiway/{s}")), None)
        if stack is None:
            if not name.startswith(("image/kind", "text/kind", "image/mask", "pixel")):
                found[theirs(name, TOP)] = array
            continue
        inner = name.removeprefix(f"multiway/{stack}/blocks/")
        if inner.startswith("relative/"):
            assert np.linalg.norm(array, axis=(1, 2)).min() > 1e-4, name
            tables.append(array.ravel())
            continue
        for i, part in enumerate(array, start=FUSED if stack == "upper" else 0):
            if inner == "attention/qkv/bias":
                q, k, v = np.split(part, 3)
                close(k, 0)
                found |= {
                    f"transformer.blocks.{i}.attn.{n}_bias": g
                    for n, g in zip("qv", (q, v), strict=True)
                }
            else:
                found[f"transformer.blocks.{i}.{theirs(inner, BLOCK)}"] = part
    found["token_type_embeddings.weight"] = np.stack(
        [gradient["text/kind"], gradient["image/kind"]]
    )
    wanted = {str(n): v for n, v in zip(x["gradient_names"], x["gradient_norms"], strict=True)}
    del wanted["text_embeddings.token_type_embeddings.weight"]  # ours is in another table
    if positions == "relative":
        found["relative_position_bias_table"] = np.concatenate(tables)
        assert wanted.pop("text_embeddings.position_embeddings.weight") == 0  # is not used
    assert found.keys() == wanted.keys()
    for name, want in wanted.items():
        np.testing.assert_allclose(
            np.linalg.norm(found[name]), want, rtol=1e-4, atol=1e-5, err_msg=name
        )


def test_tables_of_relative_positions_neither_decay_nor_are_made_orthogonal():
    params = nnx.to_pure_dict(nnx.state(model("relative")))
    tables = {name for name in leaf_names(params) if "/relative/" in name}
    assert len(tables) == 6
    decayed = dict(zip(leaf_names(params), jax.tree.leaves(decays(params)), strict=True))
    assert not any(decayed[name] for name in tables)
    states = leaf_names(jax.eval_shape(muon().init, params))
    kept = {way: [n for n in states if f"/{way}/" in n] for way in ("adamw", "muon")}
    for name in tables:
        assert any(path.endswith(name) for path in kept["adamw"])
        assert not any(path.endswith(name) for path in kept["muon"])


def changed(**sections):
    return {key: value | sections.get(key, {}) if isinstance(value, dict) else value
            for key, value in KWARGS.items()}  # fmt: skip


@pytest.mark.parametrize(
    ("kwargs", "said"),
    [
        (changed(image=dict(width=16)), "one width in a transformer that they share, got 16 and"),
        (changed(image=dict(image_size=36)), "divide by patch_size 8, got 36; try 32 or 40"),
        (KWARGS | dict(text=None), "needs image.kind .* and text.kind .* got PatchTokens and None"),
        (
            KWARGS | dict(text=dict(kind="bow", vocab_size=50, length=9, width=WIDTH)),
            "got PatchTokens and BagOfWords",
        ),
        (
            KWARGS | dict(positions="both"),
            "positions must be one of absolute, relative, got 'both'",
        ),
    ],
)
def test_settings_that_do_not_fit_are_refused(kwargs, said):
    with pytest.raises(ValueError, match=said):
        nnx.eval_shape(lambda: Vlmo(**kwargs, rngs=nnx.Rngs(0)))


@pytest.mark.parametrize("fused_from", ["2", 0, 10**9])
def test_a_card_with_a_wrong_number_is_refused_before_anything_is_made(fused_from):
    with pytest.raises(ValueError, match="fused_from must be a whole number from 1"):
        complete(changed(multiway=dict(fused_from=fused_from)))


def test_its_towers_refuse_to_be_a_dual_encoder_s():
    towers = {key: value for key, value in KWARGS.items() if key != "multiway"}
    plain = filled(lambda: DualEncoder(**towers, rngs=nnx.Rngs(0)))
    with pytest.raises(ValueError, match='tower of kind "patches".*give model.multiway'):
        plain.encode_image(jnp.zeros((1, 32, 32, 3), jnp.uint8))
    with pytest.raises(ValueError, match='tower of kind "words".*give model.multiway'):
        plain.encode_text(jnp.zeros((1, 9), jnp.int32))


def test_inputs_of_another_size_and_dropped_patches_are_refused():
    with pytest.raises(ValueError, match="images must be 32 x 32 pixels, got 16 x 16"):
        model().encode_image(jnp.zeros((1, 16, 16, 3), jnp.uint8))
    with pytest.raises(ValueError, match="at most 9 tokens, got 10"):
        model().encode_text(jnp.zeros((1, 10), jnp.int32))
    with pytest.raises(ValueError, match="takes no patch_drop, got .*leave them out"):
        model().encode_image(jnp.zeros((1, 32, 32, 3), jnp.uint8), patch_drop=0.5)


@pytest.mark.parametrize("positions", FILES)
def test_it_is_built_again_from_its_own_arguments(positions):
    kwargs = model(positions).kwargs
    again = nnx.eval_shape(lambda: Vlmo(**kwargs, rngs=nnx.Rngs(0)))
    assert again.kwargs == kwargs
    assert nnx.graphdef(again) == graphdef_of_plain(positions)
