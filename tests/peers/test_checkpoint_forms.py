"""Checkpoints as PyTorch's programs leave them, read as the tensors that they hold."""

import contextlib
import json
import os
import shutil
import warnings
import zipfile

import numpy as np
import open_clip
import pytest
import torch

from tests.peers.shrunk import make, small
from vlp.interop.load import load_run
from vlp.interop.open_clip import architectures, config
from vlp.interop.weights import open_tensors

CONFIG = small(open_clip.get_model_config("ViT-B-32"))


@pytest.fixture(scope="module")
def weights():
    return make(CONFIG).state_dict()


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": CONFIG}))
    return tmp_path


def assert_tensors(path, expected, **settings):
    found = open_tensors(path, allow_pickle_weights=True, **settings)
    assert found.shapes == {name: tuple(tensor.shape) for name, tensor in expected.items()}
    for name, tensor in expected.items():
        np.testing.assert_array_equal(found[name], tensor.float().numpy(), err_msg=name)
    return found


def shifted(weights):
    return {name: tensor + 1 for name, tensor in weights.items()}


FORMS = {
    "a state dict": lambda w: w,
    "open_clip": lambda w: {"epoch": 3, "state_dict": {f"module.{k}": v for k, v in w.items()}},
    "compiled": lambda w: {"state_dict": {f"_orig_mod.{k}": v for k, v in w.items()}},
    "Lightning": lambda w: {"state_dict": {f"model.{k}": v for k, v in w.items()}, "loops": {}},
    "an average beside it": lambda w: {"state_dict": shifted(w), "state_dict_ema": w},
    "timm": lambda w: {"model": shifted(w), "model_ema": {f"module.{k}": v for k, v in w.items()}},
}


@pytest.mark.parametrize("form", FORMS)
def test_the_weights_in_a_pickle_are_found(form, weights, folder):
    torch.save(FORMS[form](weights), folder / "epoch_3.pt")
    found = assert_tensors(folder / "epoch_3.pt", weights)
    run = load_run(folder / "epoch_3.pt", tokenizer="none", allow_pickle_weights=True)
    assert run.weights == found.weights == ("ema" if "ema" in str(found.left_out) else run.weights)


def test_an_optimiser_beside_the_weights_is_none(weights, tmp_path):
    module = torch.nn.Linear(3, 4)
    optimiser = torch.optim.AdamW(module.parameters())
    module(torch.ones(1, 3)).sum().backward()
    optimiser.step()
    state = {"model": module.state_dict(), "optimizer": optimiser.state_dict()}
    torch.save(state, tmp_path / "x.pt")
    found = assert_tensors(tmp_path / "x.pt", module.state_dict())
    assert all(name.startswith("optimizer.") for name in found.left_out)


def test_shards_of_pickles_are_read_by_their_index(weights, tmp_path):
    names = list(weights)
    files = ("pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin")
    parts = (names[: len(names) // 2], names[len(names) // 2 :])
    for file, part in zip(files, parts, strict=True):
        torch.save({name: weights[name] for name in part}, tmp_path / file)
    index = {name: file for file, part in zip(files, parts, strict=True) for name in part}
    path = tmp_path / "pytorch_model.bin.index.json"
    path.write_text(json.dumps({"weight_map": index}))
    assert_tensors(path, weights)
    with pytest.raises(ValueError, match="must not be a pickle.*--allow-pickle-weights"):
        open_tensors(path)


class Archive(torch.nn.Module):
    """What OpenAI's archives are: a model, and numbers among its buffers."""

    def __init__(self, model):
        super().__init__()
        self.inner = model
        self.register_buffer("context_length", torch.tensor(9))

    def forward(self, x):
        return self.inner(x)


def block():
    layers = [torch.nn.Linear(3, 3), torch.nn.Linear(3, 3).half().float()]
    return Archive(torch.nn.Sequential(*layers, torch.nn.ReLU()))


@pytest.mark.parametrize("make_archive", [
    torch.jit.script, lambda m: torch.jit.trace(m, torch.zeros(1, 3), check_trace=False),
])  # fmt: skip
def test_a_torchscript_archive_gives_its_state_dict(make_archive, tmp_path):
    model = block()
    with _quiet():
        make_archive(model).save(str(tmp_path / "x.pt"))
    assert_tensors(tmp_path / "x.pt", model.state_dict())


def test_the_code_in_a_torchscript_archive_is_not_run(tmp_path):
    """`torch.jit.load` runs `__setstate__` of what it loads."""

    class Loud(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(3))

        @torch.jit.export
        def __getstate__(self):
            return (self.weight, self.training)

        @torch.jit.export
        def __setstate__(self, state: tuple[torch.Tensor, bool]):
            self.weight, self.training = state[0], state[1]
            raise RuntimeError("this ran")

        def forward(self, x):
            return x * self.weight

    with _quiet():
        torch.jit.script(Loud()).save(str(tmp_path / "x.pt"))
        with pytest.raises(torch.jit.Error, match="this ran"):
            torch.jit.load(str(tmp_path / "x.pt"))
    with pytest.raises(ValueError, match="must (hold tensors and nothing else|be a state dict)"):
        open_tensors(tmp_path / "x.pt", allow_pickle_weights=True)


class Evil:
    """What a hostile pickle would do."""

    def __reduce__(self):
        return (os.mkdir, ("ran",))


@pytest.mark.parametrize("as_archive", [False, True])
def test_a_hostile_pickle_is_refused_by_what_it_names(as_archive, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"x": Evil()}, tmp_path / "x.pt")
    if as_archive:
        shutil.move("x.pt", "y.pt")
        with zipfile.ZipFile("y.pt") as given, zipfile.ZipFile("x.pt", "w") as made:
            for name in given.namelist():
                made.writestr(name, given.read(name))
            made.writestr(f"{given.namelist()[0].split('/')[0]}/constants.pkl", b"")
    with pytest.raises(ValueError, match="x.pt must hold tensors and nothing else, but it names "):
        open_tensors(tmp_path / "x.pt", allow_pickle_weights=True)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("tensor", [
    torch.ones(3).to(torch.float8_e4m3fn), torch.ones(3, dtype=torch.complex64),
    torch.eye(3).to_sparse(), torch.ones(3, dtype=torch.int8),
])  # fmt: skip
def test_a_tensor_of_another_kind_is_refused_by_name(tensor, tmp_path):
    torch.save({"w": tensor}, tmp_path / "x.pt")
    with pytest.raises(ValueError, match="must be dense and of .*, w in .* is "):
        open_tensors(tmp_path / "x.pt", allow_pickle_weights=True)


def test_the_names_of_models_mean_what_they_mean_in_open_clip():
    known = 0
    for name in open_clip.list_models():
        theirs = open_clip.get_model_config(name)
        try:
            expected = config.kwargs(theirs)
        except (ValueError, KeyError, TypeError):  # no tower of ours
            continue
        if name in ("MobileCLIP2-L-14", "coca_base"):
            with pytest.raises(ValueError, match="arch must be open_clip's name"):
                architectures.find(name)
            continue
        known += 1
        assert config.kwargs(architectures.find(name)["model_cfg"]) == expected, name
    assert known > 80


def test_a_bare_file_of_openai_s_is_known_by_its_shapes(tmp_path):
    """The whole model, all zeros: only shapes and OpenAI's numbers tell."""
    with torch.device("meta"):
        state = open_clip.CLIP(**open_clip.get_model_config("ViT-B-32")).state_dict()
    numbers = dict(input_resolution=224, context_length=77, vocab_size=49408)
    found = {**{k: v.shape for k, v in state.items()}, **dict.fromkeys(numbers, ())}
    names = [name for name, _ in architectures.fitting(found)]
    assert {"ViT-B-32", "ViT-B-32-quickgelu"} <= set(names)


@contextlib.contextmanager
def _quiet():
    """TorchScript says that it is on its way out."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
