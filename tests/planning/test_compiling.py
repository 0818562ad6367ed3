"""What a compiler said is asked once, and again as soon as anything it depends on is another."""

import dataclasses
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vlp.parallel.mesh import make_mesh
from vlp.planning import compiling
from vlp.planning.compiling import Answer, ask
from vlp.planning.hardware import CHIPS
from vlp.planning.topology import Topology

TOO_LARGE = "RESOURCE_EXHAUSTED: Used 20.00G of 15.75G hbm. Exceeded"


class Lowered:
    """A program that counts how often it is compiled."""

    def __init__(self, text="module @step", error=""):
        self.text, self.error, self.times = text, error, 0

    def as_text(self):
        return self.text

    def compile(self, compiler_options=None):
        self.times += 1
        if self.error:
            raise jax.errors.JaxRuntimeError(self.error)
        names = ("argument", "output", "alias", "temp")
        sizes = dict.fromkeys((f"{name}_size_in_bytes" for name in names), 7)
        memory = SimpleNamespace(**sizes, peak_memory_in_bytes=21)
        return SimpleNamespace(as_text=lambda: "ENTRY", memory_analysis=lambda: memory)


def machine(name="here", **chip):
    chip = dataclasses.replace(CHIPS["h100"], **(dict(kind="cpu") | chip))
    return Topology(name, chip, (8,), jax.devices())


def asked(lowered, cache, *, topology=None, mesh=None):
    return ask(lowered, topology or machine(), mesh=mesh or make_mesh(), cache=cache)


def test_an_answer_is_kept_and_says_that_it_is(tmp_path):
    lowered = Lowered()
    first, second = asked(lowered, tmp_path), asked(lowered, tmp_path)
    assert first == Answer("ENTRY", arguments=7, temporary=7, peak=21)
    assert second == dataclasses.replace(first, kept=True)
    assert lowered.times == 1


def test_without_a_folder_nothing_is_kept():
    lowered = Lowered()
    assert not asked(lowered, None).kept and not asked(lowered, None).kept
    assert lowered.times == 2


def another(monkeypatch, what):
    """The arguments of `asked` and a world in which one thing is another."""
    if what == "program":
        return dict(lowered=Lowered("module @other"))
    if what == "machine":
        return dict(topology=machine("there"))
    if what == "target":
        return dict(topology=machine(target={"name": "another"}))
    if what == "order of devices":
        return dict(mesh=make_mesh(devices=jax.devices()[::-1]))
    if what == "flags":
        monkeypatch.setenv("LIBTPU_INIT_ARGS", "--xla_other=true")
    elif what == "options":
        monkeypatch.setattr(compiling, "OPTIONS", {"cpu": {"xla_other": True}})
    elif what == "versions":
        monkeypatch.setattr(compiling, "_version", lambda package: f"{package} 2")
    elif what == "sources":
        monkeypatch.setattr(compiling, "_sources", lambda: "other")
    return {}


@pytest.mark.parametrize(
    "what",
    [
        "program", "machine", "target", "order of devices", "flags", "options", "versions",
        "sources",
    ],
)  # fmt: skip
def test_another_of_anything_it_depends_on_is_asked_anew(tmp_path, monkeypatch, what):
    asked(Lowered(), tmp_path)
    changed = dict(lowered=Lowered()) | another(monkeypatch, what)
    lowered = changed.pop("lowered")
    assert not asked(lowered, tmp_path, **changed).kept
    assert lowered.times == 1


def test_a_refusal_for_size_is_kept_too(tmp_path):
    lowered = Lowered(error=TOO_LARGE)
    first, second = asked(lowered, tmp_path), asked(lowered, tmp_path)
    assert first.refusal == second.refusal and "20.00G" in first.refusal
    assert second.kept and second.temporary_beside(2**30) == 19 * 2**30
    assert lowered.times == 1


def test_other_failures_are_raised_each_time(tmp_path):
    lowered = Lowered(error="INTERNAL: something else")
    for times in (1, 2):
        with pytest.raises(jax.errors.JaxRuntimeError, match="something else"):
            asked(lowered, tmp_path)
        assert lowered.times == times


def test_a_damaged_answer_is_asked_anew(tmp_path):
    asked(Lowered(), tmp_path)
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:-9])
    assert not asked(Lowered(), tmp_path).kept
    assert asked(Lowered(), tmp_path).kept


def test_who_traces_a_program_makes_no_other(tmp_path):
    def step(x):
        return jnp.tanh(x)

    def from_here():
        return jax.jit(lambda x: step(x)).lower(np.zeros(4, np.float32))

    one = from_here()
    two = from_here()
    assert not asked(one, tmp_path).kept and asked(two, tmp_path).kept
