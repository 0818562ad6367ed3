import numpy as np
import pytest

from vlp.models.resize import resize_positions

WIDTH = 6


def array(*shape):
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def pair(*, extra=1, text=None):
    """Settings and tables of a tower of 3 x 3 patches and one of 5 tokens."""
    kwargs = {
        "image": dict(image_size=12, patch_size=4),
        "text": dict(length=5, **(text or {})),
        "embed_dim": 6,
    }
    params = {
        "image": {"positions": array(9 + extra, WIDTH), "class_token": array(WIDTH)},
        "text": {"positions": array(5, WIDTH)},
        "log_scale": np.float32(1),
    }
    return kwargs, params


def test_settings_follow_and_what_was_given_stays_as_it_is():
    kwargs, params = pair()
    before = params["image"]["positions"].copy()
    new_kwargs, new_params = resize_positions(kwargs, params, image_size=20, text_length=3)
    assert new_kwargs["image"] == dict(image_size=20, patch_size=4)
    assert new_kwargs["text"] == dict(length=3) and new_kwargs["embed_dim"] == 6
    assert new_params["image"]["positions"].shape == (26, WIDTH)
    assert new_params["image"]["positions"].dtype == np.float32
    assert new_params["image"]["class_token"] is params["image"]["class_token"]
    assert kwargs == pair()[0]
    np.testing.assert_array_equal(params["image"]["positions"], before)


def test_without_a_size_nothing_changes():
    kwargs, params = pair()
    assert resize_positions(kwargs, params) == (kwargs, params)


@pytest.mark.parametrize("extra", [0, 1])
def test_the_class_token_s_position_is_kept_and_a_level_grid_stays_level(extra):
    kwargs, params = pair(extra=extra)
    params["image"]["positions"][extra:] = 2.5
    _, resized = resize_positions(kwargs, params, image_size=28)
    table = resized["image"]["positions"]
    np.testing.assert_array_equal(table[:extra], params["image"]["positions"][:extra])
    np.testing.assert_allclose(table[extra:], 2.5, rtol=1e-6)
    assert len(table) == 49 + extra


def test_a_grid_turned_and_resized_is_the_resized_grid_turned():
    kwargs, params = pair(extra=0)
    table = params["image"]["positions"]
    turned = {"image": {"positions": table.reshape(3, 3, -1).swapaxes(0, 1).reshape(9, -1)}}
    _, a = resize_positions(kwargs, params, image_size=20)
    _, b = resize_positions(kwargs, turned | {"text": {}}, image_size=20)
    want = a["image"]["positions"].reshape(5, 5, -1).swapaxes(0, 1).reshape(25, -1)
    np.testing.assert_allclose(b["image"]["positions"], want, atol=1e-6)


def test_a_shorter_text_keeps_the_first_positions():
    kwargs, params = pair()
    _, resized = resize_positions(kwargs, params, text_length=3)
    np.testing.assert_array_equal(resized["text"]["positions"], params["text"]["positions"][:3])


def test_a_longer_text_lies_between_the_neighbours():
    kwargs, params = pair()
    params["text"]["positions"] = np.arange(5, dtype=np.float32)[:, None].repeat(WIDTH, 1)
    _, resized = resize_positions(kwargs, params, text_length=10)
    want = np.clip((np.arange(10) + 0.5) / 2 - 0.5, 0, 4)
    np.testing.assert_allclose(resized["text"]["positions"][:, 0], want, rtol=1e-6)


@pytest.mark.parametrize(("pool", "row"), [("cls", 0), ("cls_last", -1)])
@pytest.mark.parametrize("length", [3, 9])
def test_a_text_tower_s_class_token_keeps_its_position(pool, row, length):
    kwargs, params = pair(text=dict(pool=pool))
    params["text"]["positions"] = array(6, WIDTH)
    _, resized = resize_positions(kwargs, params, text_length=length)
    table = resized["text"]["positions"]
    assert len(table) == length + 1
    np.testing.assert_array_equal(table[row], params["text"]["positions"][row])


def test_towers_without_a_table_change_their_setting_only():
    kwargs = {"image": dict(image_size=8, patch_size=4), "text": dict(kind="bow", length=5)}
    params = {"image": {"norm": 1}, "text": {"norm": 2}}
    new_kwargs, new_params = resize_positions(kwargs, params, image_size=16, text_length=9)
    assert (new_kwargs["image"]["image_size"], new_kwargs["text"]["length"]) == (16, 9)
    assert new_params == params


def test_a_resnet_s_positions_lie_in_its_attention_pooling():
    kwargs = {"image": dict(kind="resnet", image_size=64), "text": None}
    params = {"image": {"head": {"positions": array(5, WIDTH)}, "stem": 1}}
    new_kwargs, new_params = resize_positions(kwargs, params, image_size=96)
    assert new_kwargs["image"] == dict(kind="resnet", image_size=96)
    assert new_params["image"]["head"]["positions"].shape == (10, WIDTH)
    assert new_params["image"]["stem"] == 1


def test_pixels_behind_the_last_patch_change_no_position():
    kwargs, params = pair()
    new_kwargs, new_params = resize_positions(kwargs, params, image_size=15)
    assert new_kwargs["image"] == dict(image_size=15, patch_size=4)
    np.testing.assert_array_equal(new_params["image"]["positions"], params["image"]["positions"])


def test_what_cannot_be_resized_is_refused():
    kwargs, params = pair()
    with pytest.raises(ValueError, match="divide by 4, got 18; try 16 or 20"):
        resize_positions(kwargs, params, image_size=18)
    with pytest.raises(ValueError, match="divide by 4, got 0; try 4 or 8"):
        resize_positions(kwargs, params, image_size=0)
    with pytest.raises(ValueError, match="text_length must be at least 1, got 0"):
        resize_positions(kwargs, params, text_length=0)
    with pytest.raises(ValueError, match="no text tower to resize, got 9"):
        resize_positions(kwargs | {"text": None}, params, text_length=9)
    with pytest.raises(ValueError, match='kind "naflex" takes images of any size'):
        resize_positions(kwargs | {"image": dict(kind="naflex")}, params, image_size=9)
