"""big_vision's npz files: its own code's numbers, back again byte for byte, bad files refused.

The recorded numbers come from big_vision's flax code (commit 0127fb6, jax 0.10.2, flax 0.12.8):
`proj.image_text.two_towers` with the sizes and pooling of each case was applied to the arrays of
`big_vision_arrays.two_towers`, to the images `(arange(12 * 12 * 3) * k) % 256` for k = 7 and 11,
scaled to [-1, 1], and to the ids below; the first three channels of each embedding were kept.
"""

import numpy as np
import pytest

from tests.interop.big_vision_arrays import HEADS, LENGTH, PATCH, SIDE, WIDTH, two_towers, wave
from tests.interop.tiny import tokenizer
from vlp.interop.big_vision import write
from vlp.interop.load import load_run

IDS = np.int32([[3, 9, 27, 1, 1, 1], [5, 4, 3, 2, 6, 1]])
TEXT = [
    [0.08544538915157318, 0.22552573680877686, -0.14356088638305664],
    [0.08262631297111511, 0.22686927020549774, -0.14108800888061523],
]
RECORDED = {
    "map": (
        dict(pool="map"),
        [
            [0.22474081814289093, 0.07997661083936691, -0.24534986913204193],
            [0.24520009756088257, 0.007196399383246899, -0.2470545619726181],
        ],
        TEXT,
    ),
    "scanned": (
        dict(pool="map", scan=True),
        [
            [0.24424023926258087, 0.01367626991122961, -0.2477644383907318],
            [0.14686943590641022, 0.18523439764976501, -0.19460226595401764],
        ],
        [
            [-0.0799211636185646, 0.2459431141614914, 0.016544319689273834],
            [-0.08448518812656403, 0.24482658505439758, 0.021396057680249214],
        ],
    ),
    "mean": (
        dict(pool="gap"),
        [
            [-0.24068713188171387, 0.11491461843252182, 0.18536320328712463],
            [-0.19326744973659515, -0.12096303701400757, 0.22516728937625885],
        ],
        TEXT,
    ),
}
HEAD = [
    [-0.15138234198093414, 0.2635292410850525, 0.08347364515066147],
    [0.23452408611774445, 0.13628609478473663, -0.26964351534843445],
]


def images():
    size = SIDE * PATCH
    ramp = np.arange(size * size * 3).reshape(size, size, 3)
    return np.stack([ramp * k % 256 for k in (7, 11)]).astype(np.uint8)


def save(folder, arrays, *, prefix="params/"):
    path = folder / "weights.npz"
    np.savez(path, **{prefix + name: array for name, array in arrays.items()})
    return path


def load(path):
    return load_run(path, tokenizer="none")


@pytest.mark.parametrize("case", RECORDED)
def test_embeddings_are_those_of_big_vision_s_own_code(case, tmp_path):
    kwargs, zimg, ztxt = RECORDED[case]
    model = load(save(tmp_path, two_towers(**kwargs))).model
    ours = model.encode_image(images()).embedding[:, :3]
    np.testing.assert_allclose(ours, zimg, atol=1e-5, rtol=0)
    ours = model.encode_text(IDS).embedding[:, :3]
    np.testing.assert_allclose(ours, ztxt, atol=1e-5, rtol=0)
    np.testing.assert_allclose(model.log_scale[...], wave("t", (1,))[0])
    np.testing.assert_allclose(model.bias[...], wave("b", (1,))[0])


def test_a_class_token_and_a_head_are_those_of_big_vision_s_own_code(tmp_path):
    model = load(save(tmp_path, two_towers(pool="tok", head=24, text=None))).model
    ours = model.encode_image(images()).embedding[:, :3]
    np.testing.assert_allclose(ours, HEAD, atol=1e-5, rtol=0)


@pytest.mark.parametrize("prefix", ["", "params/", "opt/target/"])
def test_the_prefix_and_what_an_optimiser_left_change_nothing(prefix, tmp_path):
    arrays = two_towers()
    rest = {"opt/0/mu/img/embedding/bias": wave("x", (3,)), "step": np.int64(7)}
    path = tmp_path / "weights.npz"
    np.savez(path, **{prefix + name: array for name, array in arrays.items()}, **rest)
    run = load(path)
    assert run.model.kwargs["image"]["pool"] == "map"
    np.testing.assert_array_equal(run.model.text.tokens[...], arrays["txt/Embed_0/embedding"])


CASES = {
    "siglip": dict(),
    "scanned": dict(scan=True),
    "mean": dict(pool="gap"),
    "class_token": dict(pool="tok", head=32),
    "lit": dict(pool="tok", head=32, bias=False, text="bert"),
    "image": dict(text=None),
}


@pytest.mark.parametrize("case", CASES)
def test_what_was_read_is_written_again_byte_for_byte(case, tmp_path):
    arrays = two_towers(**CASES[case])
    run = load(save(tmp_path, arrays))
    towers = "both" if CASES[case].get("text", True) else "image"
    write.write(run, tmp_path, towers=towers, scan=case == "scanned")
    written = np.load(tmp_path / write.WEIGHTS)
    assert set(written.files) == {f"params/{name}" for name in arrays}
    for name, array in arrays.items():
        assert written[f"params/{name}"].dtype == array.dtype
        np.testing.assert_array_equal(written[f"params/{name}"], array, err_msg=name)


def older(arrays):
    """The names of the first vision transformers: numbers of all modules, positions in a module."""
    swaps = [
        ("MultiHeadDotProductAttention_0", "MultiHeadDotProductAttention_1"),
        ("LayerNorm_1", "LayerNorm_2"),
        ("MlpBlock_0", "MlpBlock_3"),
        ("img/pos_embedding", "img/Transformer/posembed_input/pos_embedding"),
    ]
    renamed = {}
    for name, array in arrays.items():
        for new, old in swaps:
            name = name.replace(new, old)
        renamed[name] = array
    return renamed


def test_older_names_are_the_same_model(tmp_path):
    arrays = two_towers(pool="gap", text=None)
    new = load(save(tmp_path, arrays)).model.encode_image(images())
    old = load(save(tmp_path, older(arrays))).model.encode_image(images())
    np.testing.assert_array_equal(old.embedding, new.embedding)


def test_a_class_token_with_its_own_position_is_their_sum(tmp_path):
    arrays = two_towers(pool="tok", text=None)
    new = load(save(tmp_path, arrays)).model.encode_image(images())
    table, token = arrays["img/pos_embedding"], arrays["img/cls"]
    half = wave("half", token.shape)
    joined = {"img/cls": token - half, "img/pos_embedding": np.concatenate([half, table], axis=1)}
    old = load(save(tmp_path, arrays | joined)).model.encode_image(images())
    np.testing.assert_allclose(old.embedding, new.embedding, atol=1e-5, rtol=0)


def test_sizes_come_from_the_arrays(tmp_path):
    kwargs = load(save(tmp_path, two_towers())).model.kwargs
    image, text = kwargs["image"], kwargs["text"]
    assert (image["image_size"], image["patch_size"]) == (SIDE * PATCH, PATCH)
    assert (image["width"], image["num_heads"], text["length"]) == (WIDTH, HEADS, LENGTH)


def test_preprocessing_is_big_vision_s(tmp_path):
    preprocess = load(save(tmp_path, two_towers(text=None))).preprocess
    assert (preprocess.resize, preprocess.interpolation) == ("squash", "bilinear_tensorflow")


BAD = {
    "missing": (lambda a: a.pop("img/Transformer/encoder_norm/scale"), "encoder_norm/scale"),
    "shape": (
        lambda a: a.update({"img/head_": a.pop("txt/head/bias"), "txt/head/bias": wave("x", (3,))}),
        r"txt/head/bias.*\(32,\).*\(3,\)",
    ),
    "nan": (lambda a: a["txt/head/bias"].fill(np.nan), "txt/head/bias.*32 NaN"),
    "unknown": (lambda a: a.update({"txt/MAPHead_0/probe": wave("x", (1, 1, 32))}), "MAPHead_0"),
    "naflex": (
        lambda a: a.update({"img/pos_embedding": wave("x", (3, 3, 32))}),
        "NaFlex",
    ),
    "no_depth": (
        lambda a: [a.pop(n) for n in list(a) if "img/Transformer/encoderblock_" in n],
        "encoderblock_0",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_arrays_are_refused_by_name(case, tmp_path):
    damage, message = BAD[case]
    arrays = two_towers()
    damage(arrays)
    arrays.pop("img/head_", None)
    with pytest.raises(ValueError, match=message):
        load(save(tmp_path, arrays))


def test_a_missing_tokenizer_is_named_by_the_vocabulary(tmp_path):
    arrays = two_towers()
    path = save(tmp_path, arrays)
    with pytest.raises(ValueError, match="vocabulary of 40.*SentencePiece.*beside the npz"):
        load_run(path)
    arrays["txt/Embed_0/embedding"] = wave("x", (32000, WIDTH))
    with pytest.raises(ValueError, match="c4_en"):
        load_run(save(tmp_path, arrays))


def test_the_tokenizer_beside_the_npz_is_its_own(tmp_path):
    arrays = two_towers()
    arrays["txt/Embed_0/embedding"] = wave("x", (450, WIDTH))
    path = save(tmp_path, arrays)
    tokenizer().save(tmp_path / "c4_en.model")
    run = load_run(path)
    assert (run.tokenizer.name, run.tokenizer.clean) == ("c4_en", "ascii_lower")
    assert run.tokenize("A Cat").shape == (1, LENGTH)
    np.testing.assert_array_equal(run.tokenize("A Cat"), run.tokenize("a cat"))
    write.write(run, tmp_path)
    assert (tmp_path / "tokenizer.model").read_bytes() == tokenizer().model


def test_a_truncated_file_is_refused(tmp_path):
    path = save(tmp_path, two_towers())
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ValueError, match="whole npz"):
        load(path)


def test_a_compression_that_is_not_known_is_refused(tmp_path):
    path = save(tmp_path, two_towers())
    content = bytearray(path.read_bytes())
    content[content.rindex(b"PK\x01\x02") + 10] = 99  # of the last member, in the directory
    path.write_bytes(content)
    with pytest.raises(ValueError, match="whole npz"):
        load(path)


def test_another_npz_is_refused_by_what_it_holds(tmp_path):
    np.savez(tmp_path / "weights.npz", kernel=wave("x", (3, 3)))
    with pytest.raises(ValueError, match="img/ or txt/"):
        load(tmp_path / "weights.npz")


def test_a_model_that_big_vision_cannot_hold_is_refused_by_setting(tmp_path):
    run = load(save(tmp_path, two_towers()))
    run.model._kwargs = run.model._kwargs.replace("gelu_tanh", "gelu")
    with pytest.raises(ValueError, match="image.activation='gelu'"):
        write.write(run, tmp_path)
