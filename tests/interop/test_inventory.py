"""The list of tensors of an export is that of its source, and what was left out is named."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from tests.interop.big_vision_arrays import two_towers
from tests.interop.test_big_vision import save
from tests.interop.tiny import make_run
from vlp.interop.big_vision import write as big_vision
from vlp.interop.export import export
from vlp.interop.load import load_run
from vlp.interop.open_clip import write as open_clip

IDS = "vision_model.embeddings.position_ids"


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A folder of transformers that holds a buffer beside its weights."""
    folder = tmp_path_factory.mktemp("source") / "clip"
    export(make_run("clip"), folder, check="numpy")
    tensors = load_file(folder / "model.safetensors")
    places = np.arange(10, dtype=np.int64)[None]
    save_file({**tensors, IDS: places}, folder / "model.safetensors")
    return folder


@pytest.fixture(scope="module")
def there(tmp_path_factory):
    """A folder of open_clip, as a source."""
    folder = tmp_path_factory.mktemp("there") / "clip"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(open_clip, "reader", unread)
        export(make_run("clip", **{"text.activation": "quick_gelu"}), folder, to="open_clip")
    return folder


def unread(folder):
    raise ImportError("not here")


def test_a_buffer_that_is_left_out_is_named_in_the_report(source, tmp_path):
    export(source, tmp_path / "out", check="numpy")
    listed = json.loads((tmp_path / "out" / "parity.json").read_text())["tensors"]
    count = len(load_file(tmp_path / "out" / "model.safetensors"))
    assert listed == {
        "left_out": {"places, counted from 0": [IDS]},
        "source": count,
        "written": count,
    }


def test_a_run_of_ours_and_another_format_have_no_list_to_compare(source, tmp_path):
    report = export(make_run("clip"), tmp_path / "run", check="numpy")
    assert report["tensors"] == {"left_out": {}}
    report = export(source, tmp_path / "other", to="stablehlo")
    assert report["tensors"] == {"left_out": {"places, counted from 0": [IDS]}}


def test_a_part_that_was_asked_for_has_names_of_its_own(source, tmp_path):
    report = export(source, tmp_path / "out", towers="image")
    assert report["tensors"] == {"left_out": {"places, counted from 0": [IDS]}}


def test_a_tensor_that_goes_missing_is_seen_where_nothing_can_read_the_export(
    there, tmp_path, monkeypatch
):
    def without_one(rules, params, whole=open_clip.write_tensors):
        tensors = whole(rules, params)
        del tensors["logit_scale"]
        return tensors

    monkeypatch.setattr(open_clip, "reader", unread)
    assert not export(there, tmp_path / "whole", to="open_clip")["verified"]
    monkeypatch.setattr(open_clip, "write_tensors", without_one)
    with pytest.raises(ValueError, match="no others, and this one lacks 1, such as logit_scale"):
        export(there, tmp_path / "out", to="open_clip")
    assert not (tmp_path / "out").exists()


def test_a_tensor_that_the_source_has_not_is_seen_where_the_reader_passes_it_over(
    tmp_path, monkeypatch
):
    def with_another(rules, params, whole=big_vision.write_tensors):
        return {**whole(rules, params), "img/decoder": np.ones(1, np.float32)}

    path = save(tmp_path, two_towers())
    monkeypatch.setattr(big_vision, "reader", unread)
    run = load_run(path, tokenizer="none")
    listed = export(run, tmp_path / "whole", to="big_vision")["tensors"]
    assert listed["source"] == listed["written"] == len(np.load(tmp_path / "whole/model.npz").files)
    monkeypatch.setattr(big_vision, "write_tensors", with_another)
    with pytest.raises(ValueError, match="has, and its source has not, 1, such as img/decoder"):
        export(run, tmp_path / "out", to="big_vision")


def test_what_an_optimiser_left_is_named_by_reason(tmp_path, monkeypatch):
    arrays = two_towers()
    arrays["opt/0/mu"] = np.zeros(3, np.float32)
    monkeypatch.setattr(big_vision, "reader", unread)
    run = load_run(save(tmp_path, arrays), tokenizer="none")
    ((why, names),) = export(run, tmp_path / "out", to="big_vision")["tensors"]["left_out"].items()
    assert [name.endswith("opt/0/mu") for name in names] == [True] and why
