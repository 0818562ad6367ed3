"""What an export would refuse is refused before a weight is read, in one line."""

import importlib.util

import pytest

from tests.interop.tiny import kwargs, make_run, save_run
from tests.interop_targets.towers import BOW, RESNET
from vlp.cli.main import main
from vlp.interop import load, runs
from vlp.interop.export import TARGETS, check_model, check_request, export

NAFLEX = dict(kind="naflex", patch_size=4, num_patches=9, width=24, depth=1, num_heads=3)
GRAPHS = ("onnx", "stablehlo", "savedmodel", "tflite")


@pytest.fixture
def all_installed(monkeypatch):
    """Every package a target is written with, as far as a look for it can tell."""
    installed(monkeypatch)


def installed(monkeypatch, *, but=()):
    found = importlib.util.find_spec("numpy")
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name in but else found
    )


def never(*args, **kwargs):
    raise AssertionError("no weight may be read")


@pytest.mark.parametrize(
    "flags, message",
    [
        ("--to=onnx --precision=bf16", "precision must be one of fp32, fp16, int8, got 'bf16'"),
        ("--to=onnx --opset=9", "opset must be from 13 to 23, got 9"),
        ("--to=tflite --batch-size=0", "batch_size must be a number, at least 1, got 0"),
        ("--to=stablehlo --opset=17", "opset is no setting of this target"),
        ("--to=hf --no-joint", "joint is no setting of this target"),
        ("--to=timm --check=numpy", "check must be one of auto, got 'numpy'"),
    ],
)
def test_a_wrong_setting_is_said_before_a_model_is_looked_for(flags, message, tmp_path, capsys):
    code = main(["export", "--model=nowhere", f"--out={tmp_path / 'out'}", *flags.split()])
    said = capsys.readouterr().err
    assert code == 1 and message in said and len(said.splitlines()) == 1
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    "settings, package, extra",
    [
        (dict(to="onnx"), "onnx", "onnx"),
        (dict(to="onnx", precision="fp16"), "onnxruntime", "onnx"),
        (dict(to="savedmodel"), "tensorflow", "tf"),
        (dict(to="tflite"), "tensorflow", "tf"),
        (dict(to="hf", check="transformers"), "torch", "export"),
    ],
)
def test_a_missing_package_is_said_with_its_extra(settings, package, extra, tmp_path, monkeypatch):
    monkeypatch.setattr("vlp.interop.onnx.write.find_spec", lambda name: None)
    installed(monkeypatch, but=(package,))
    with pytest.raises(
        ValueError, match=rf"{package}, which is not .*pip install\s'vlp\[{extra}]'"
    ):
        check_request(tmp_path / "out", **settings)


def test_a_run_that_a_target_cannot_hold_is_refused_before_its_weights_are_read(
    tmp_path, monkeypatch
):
    folder = save_run(make_run("clip"), tmp_path / "run")
    monkeypatch.setattr(runs, "read_weights", never)
    with pytest.raises(ValueError, match="must have the shape of open_clip"):
        export(folder, tmp_path / "out", to="open_clip")
    with pytest.raises(AssertionError):
        export(folder, tmp_path / "out", to="hf")


def test_so_are_weights_of_another_stack(tmp_path, monkeypatch):
    export(make_run("clip"), tmp_path / "theirs", check="numpy")
    monkeypatch.setattr(load, "read_params", never)
    with pytest.raises(ValueError, match="must have the shape of big_vision"):
        export(tmp_path / "theirs", tmp_path / "out", to="big_vision")


@pytest.mark.parametrize("to", GRAPHS)
def test_a_graph_holds_no_pictures_of_several_shapes(to, all_installed):
    settings = kwargs("siglip") | {"image": NAFLEX}
    with pytest.raises(ValueError, match="kind vit or resnet, got 'naflex'"):
        check_model(settings, to=to)
    check_model(settings, to=to, towers="text")


@pytest.mark.parametrize("to", TARGETS)
def test_every_target_says_before_training_what_it_cannot_hold(to, all_installed):
    settings = kwargs("clip") | dict(image=RESNET, image_projection="none", text=BOW)
    if to in GRAPHS:
        check_model(settings, to=to)
        return
    with pytest.raises(ValueError, match="must have the shape of|must be"):
        check_model(settings, to=to)
