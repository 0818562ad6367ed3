"""What files of another stack leave open, or say wrongly, is said when they are opened."""

import json
import logging
import shutil

import pytest

from tests.interop.tiny import make_run
from vlp.interop.describe import describe
from vlp.interop.hf import write as hf
from vlp.interop.open_clip import write as open_clip
from vlp.interop.timm import write as timm

CHANGES = {"text.activation": "quick_gelu"}  # which open_clip wants of both towers


def written(target, tmp_path_factory, **settings):
    folder = tmp_path_factory.mktemp("written")
    target.write(make_run("clip", **CHANGES), folder, metrics={}, **settings)
    return folder


@pytest.fixture(scope="module")
def of_hf(tmp_path_factory):
    return written(hf, tmp_path_factory)


@pytest.fixture(scope="module")
def of_open_clip(tmp_path_factory):
    return written(open_clip, tmp_path_factory)


@pytest.fixture(scope="module")
def of_timm(tmp_path_factory):
    return written(timm, tmp_path_factory, towers="image")


def changed(folder, tmp_path, name, change):
    """A copy of a folder with a change to one of its files of JSON."""
    copy = shutil.copytree(folder, tmp_path / "copy")
    value = json.loads((copy / name).read_text())
    change(value)
    (copy / name).write_text(json.dumps(value))
    return copy


def said(source, caplog):
    with caplog.at_level(logging.WARNING, "vlp"):
        describe(source)
    return " ".join(caplog.messages)


def test_files_that_say_all_are_opened_without_a_word(of_hf, of_open_clip, of_timm, caplog):
    for source in (of_hf, of_open_clip, of_timm):
        assert said(source, caplog) == ""


def test_pixels_that_transformers_files_leave_open_are_said(of_hf, tmp_path, caplog):
    copy = shutil.copytree(of_hf, tmp_path / "copy")
    for name in ("processor_config.json", "preprocessor_config.json"):
        (copy / name).unlink(missing_ok=True)
    message = said(copy, caplog)
    assert "has no preprocessor_config.json: pixels are made as transformers' CLIPModel" in message
    assert "resize='shortest'" in message


def test_pixels_that_open_clip_and_timm_files_leave_open_are_said(
    of_open_clip, of_timm, tmp_path, caplog
):
    name = "open_clip_config.json"
    copy = changed(of_open_clip, tmp_path / "a", name, lambda value: value.pop("preprocess_cfg"))
    assert "has no preprocess_cfg: pixels are made as open_clip does" in said(copy, caplog)
    copy = changed(
        of_timm, tmp_path / "b", "config.json", lambda value: value["pretrained_cfg"].pop("mean")
    )
    assert "has no mean and std in its pretrained_cfg" in said(copy, caplog)


@pytest.mark.parametrize(
    ("end", "message"),
    [
        (420, "end token is 420, of 420 tokens"),
        (None, "end token is 49407, of 420 tokens"),
        (5, "end token is 5, and the tokenizer ends captions by 1"),
    ],
)
def test_an_end_token_that_cannot_be_right_is_said(of_hf, tmp_path, caplog, end, message):
    def change(config):
        config["text_config"]["eos_token_id"] = end
        if end is None:
            del config["text_config"]["eos_token_id"]

    assert message in said(changed(of_hf, tmp_path, "config.json", change), caplog)
