"""What a run looks at of other weights: cut out, named, and found again or refused."""

import numpy as np
import pytest

from tests.interop.tiny import make_run
from tests.models.test_blip2 import KWARGS
from vlp.interop.export import check_model
from vlp.interop.frozen import part, read_again, read_part
from vlp.interop.load import load_run
from vlp.interop.loaded import params_of
from vlp.interop.save import save_run


def test_the_last_blocks_are_left_out_and_nothing_else():
    run = make_run("clip")
    kwargs, before = run.model.kwargs, params_of(run.model)
    cut, params = part(kwargs, before, towers="image", drop_blocks=1)
    assert cut["text"] is None and cut["image"]["depth"] == kwargs["image"]["depth"] - 1
    assert {name.split("/")[0] for name in params} == {"image", "image_projection"}
    for name, array in params.items():
        blocks = name.startswith("image/stack/blocks/")
        np.testing.assert_array_equal(array, before[name][:1] if blocks else before[name])
    for count in (2, -1):
        with pytest.raises(ValueError, match=f"must leave blocks .* which has 2, got {count}"):
            part(kwargs, before, towers="image", drop_blocks=count)


def test_a_part_is_found_again_by_what_the_card_keeps_of_it(tmp_path):
    folder = save_run(make_run("clip"), tmp_path / "run")
    settings = dict(towers="image", drop_blocks=1, tokenizer="none", image_size=32)
    model, reference = read_part(load_run, str(folder), **settings)
    kwargs, params = read_again(load_run, "image", reference)
    assert kwargs == model.kwargs and kwargs["image"]["image_size"] == 32
    for name, array in params_of(model).items():
        np.testing.assert_array_equal(params[name], array)
    with pytest.raises(ValueError, match=r"must be those that this run reads .* put them back"):
        read_again(load_run, "image", reference | {"model": "0" * 64})
    folder.rename(tmp_path / "away")
    with pytest.raises(ValueError, match="of config.frozen.image, which must be at run:.*/run"):
        read_again(load_run, "image", reference)


def test_only_hf_holds_an_embedding_a_query():
    for to in ("open_clip", "timm", "big_vision", "stablehlo"):
        with pytest.raises(ValueError, match=f"each of its 3 queries, and {to} holds one an image"):
            check_model(KWARGS, to=to)
