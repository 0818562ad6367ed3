"""Of a model of many towers one is exported, which is a plain model with the same weights."""

import dataclasses

import numpy as np
import pytest

from tests.interop import tiny
from vlp.interop.export import check_model, export
from vlp.interop.loaded import Run
from vlp.interop.of_many import is_of_many, run_alone

TOWER = dict(width=16, depth=1, num_heads=2)
HEARS = dict(
    kind="bound",
    image=dict(image_size=16, patch_size=8, **TOWER),
    text=dict(vocab_size=tiny.VOCABULARY, length=tiny.LENGTH, **TOWER),
    audio=dict(frames=20, n_mels=16, patch_size=(10, 8), **TOWER),
    embed_dim=12,
    pairs=["image-text", "image-audio"],
)


def run() -> Run:
    card = tiny.make_run("clip").card | {"model": HEARS}
    return dataclasses.replace(tiny.make_run("clip"), model=tiny.model(HEARS), card=card)


def test_a_tower_alone_gives_what_it_gave_among_the_others():
    whole = run()
    pixels = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3), np.uint8)
    given = {"image": pixels, "text": whole.tokenize(["a", "red", "heart"])}
    for name, inputs in given.items():
        alone = run_alone(whole, towers=name)
        assert list(alone.model.towers) == [name] and not is_of_many(alone.model)
        assert alone.card["model"] == alone.model.kwargs
        np.testing.assert_array_equal(
            alone.model.encode(name, inputs).embedding, whole.model.encode(name, inputs).embedding
        )


def test_more_than_one_tower_is_refused_with_what_to_give(tmp_path):
    said = "kind \"bound\" one tower .* got towers 'both'; give --towers=image or --towers=text"
    for to in ("hf", "open_clip", "stablehlo"):
        with pytest.raises(ValueError, match=said):
            check_model(HEARS, to=to)
    with pytest.raises(ValueError, match=said):
        export(run(), tmp_path / "out", to="stablehlo")
    with pytest.raises(ValueError, match="got towers 'text'; give --towers=image"):
        check_model(HEARS | dict(text=None, pairs=["image-audio"]), to="stablehlo", towers="text")
    with pytest.raises(ValueError, match='towers must be "image" for timm'):
        check_model(HEARS, to="timm", towers="text")
    check_model(HEARS, to="stablehlo", towers="image")
    assert not any(tmp_path.iterdir())


def test_a_tower_without_blocks_of_its_own_is_refused():
    shared = HEARS | dict(trunk="image")
    with pytest.raises(ValueError, match="no blocks but those of its trunk image.*--towers=image"):
        check_model(shared, to="stablehlo", towers="text")
    check_model(shared, to="stablehlo", towers="image")
