"""Steps planned, here for the host's own devices: figures, findings and the command."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from tests.training.test_dual_encoder_training import batches, make_tiny_training
from vlp.cli.main import main
from vlp.parallel.mesh import make_mesh
from vlp.parallel.sharding import batch_sharding
from vlp.planning import findings as finding
from vlp.planning.compiling import Answer
from vlp.planning.hardware import CHIPS
from vlp.planning.plan import Memory, _memory, plan_step
from vlp.planning.topology import Topology


@pytest.fixture(autouse=True)
def a_cache_of_its_own(monkeypatch, tmp_path):
    monkeypatch.setenv("VLP_CACHE", str(tmp_path / "cache"))


def here(name="here", *, slices=1):
    chip = dataclasses.replace(CHIPS["h100"], kind="cpu")
    return Topology(name, chip, (8,), jax.devices())


@pytest.fixture(scope="module")
def planned():
    training = make_tiny_training("clip", make_mesh(fsdp=8))
    batch = next(batches(1))
    shapes = {
        name: jax.ShapeDtypeStruct(batch[name].shape, batch[name].dtype) for name in training.fields
    }
    return training, shapes, plan_step(training, shapes, here(), low=False)


def test_memory_by_kind_is_the_compiler_s_arguments_and_temporaries(planned):
    training, shapes, plan = planned
    compiled = training.lower(shapes).compile().memory_analysis()
    kinds, step = plan.memory.parts(), 4  # the count of steps is of no kind
    assert kinds["temporary"] == compiled.temp_size_in_bytes
    rest = sum(size for kind, size in kinds.items() if kind != "temporary")
    assert rest + step == compiled.argument_size_in_bytes


@pytest.mark.parametrize("axes", [dict(fsdp=4), dict(tensor=2), dict(fsdp=2, tensor=2)])
def test_a_device_holds_the_rows_of_a_batch_that_its_sharding_gives_it(axes, planned):
    _, shapes, _ = planned
    training = make_tiny_training("clip", make_mesh(**axes))
    place = batch_sharding(training.mesh)
    want = sum(
        np.prod(place.shard_shape(like.shape)) * like.dtype.itemsize for like in shapes.values()
    )
    assert _memory(training, shapes, here()).batch == want


def test_the_program_has_the_flops_of_the_model_and_of_little_else(planned):
    _, _, plan = planned
    ran = 8 * sum(plan.estimate.flops.values())
    assert 0.99 * plan.model_flops <= ran <= 1.3 * plan.model_flops


def test_what_is_gathered_whole_is_found_with_its_line(planned, monkeypatch):
    monkeypatch.setattr(finding, "MIN_BYTES", 0)
    _, _, plan = planned
    facts = finding.Facts(layer_bytes=1, shapes=(), tables=(), low=False, whole={})
    gathers = [each for each in plan.collectives if each.kind == "all-gather" and not each.depth]
    found = list(finding._gathered(gathers, facts))
    assert len(found) == len(gathers) > 0
    assert any("vlp" in each.source for each in found)


@pytest.mark.parametrize(
    ("message", "total"),
    [
        (
            "the total memory required for HLO temporaries (379.03G) exceeds available HBM (15G).",
            10 + round(379.03 * 2**30),
        ),
        ("Used 20.10G of 15.75G hbm. Exceeded", round(20.1 * 2**30)),
    ],
)
def test_a_refusal_for_memory_says_how_much_it_would_be(message, total):
    given = Memory(1, 2, 3, 1, 1, 2, 0, capacity=100)
    temporary = Answer("", refusal=message).temporary_beside(given.total)
    refused = dataclasses.replace(given, temporary=temporary)
    assert refused.total == total and not refused.fits


def test_the_command_prints_and_writes_the_plan(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr("vlp.planning.topology.open_topology", here)
    config = "--config=tests/small/config.py:data=nowhere.tar,steps=4,objective=clip"
    page = tmp_path / "plan.html"
    flags = ["--topology=here", "--samples=64", "--price=2", f"--json={tmp_path / 'plan.json'}"]
    command = ["plan", config, *flags, f"--page={page}", "--config.mesh.fsdp=8"]
    assert main(command) == 0
    said = capsys.readouterr().out
    assert "8 devices, mesh data 1 x fsdp 8" in said and "fits" in said and "chip-hours" in said
    assert "is kept" not in said and "A step on here" in page.read_text()
    figures = json.loads((tmp_path / "plan.json").read_text())
    assert figures["memory"]["total"] < figures["memory"]["capacity"]
    assert figures["estimate"]["seconds"] > 0 and figures["collectives"]
    page.unlink()
    monkeypatch.setattr(jax.stages.Lowered, "compile", None)  # the compiler is not asked again
    assert main(command) == 0
    again = capsys.readouterr().out
    assert (
        again.replace(
            "the compiler's answer is kept from an earlier plan (--no-cache asks anew)\n", ""
        )
        == said
    )
    assert json.loads((tmp_path / "plan.json").read_text()) == figures and page.exists()


def small(name, *, slices=1):
    """This machine with chips of next to no memory."""
    chip = dataclasses.replace(here().chip, memory=SMALL_CHIP[name])
    return dataclasses.replace(here(name), chip=chip)


SMALL_CHIP = {"less": 400_000, "nothing": 10}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["less", "nothing"])
def test_a_step_that_does_not_fit_is_tried_with_settings_that_need_less(
    name, monkeypatch, tmp_path, capsys
):
    monkeypatch.setattr("vlp.planning.topology.open_topology", small)
    config = "--config=tests/small/config.py:data=nowhere.tar,steps=4,objective=clip"
    flags = [f"--topology={name}", "--samples=64", f"--json={tmp_path / 'plan.json'}"]
    assert main(["plan", config, *flags, "--config.mesh.fsdp_min_elements=64"]) == 0
    tried = json.loads((tmp_path / "plan.json").read_text())["tried"]
    said = capsys.readouterr().out
    assert tried[0]["flags"] == ["--config.mesh.fsdp=8"]
    assert not any(each.get("fits") for each in tried[:-1])
    if name == "nothing":
        assert not tried[-1]["fits"] and "nothing that was tried makes it fit" in said
    else:
        assert tried[-1]["fits"] and f"with {' '.join(tried[-1]['flags'])}" in said


@pytest.mark.slow
def test_a_sweep_prints_and_draws_every_point_and_goes_on_where_it_was_cut_off(
    monkeypatch, tmp_path, capsys
):
    monkeypatch.setattr("vlp.planning.topology.open_topology", here)
    config = "--config=tests/small/config.py:data=nowhere.tar,steps=4,objective=clip,batch=8"
    page, file = tmp_path / "sweep.html", tmp_path / "sweep.json"
    flags = ["--topology=here", "--samples=64", f"--page={page}", f"--json={file}"]
    compile = jax.stages.Lowered.compile
    asked = []

    def counted(lowered, *arguments, **options):
        asked.append(lowered)
        if len(asked) == 3:
            raise KeyboardInterrupt
        return compile(lowered, *arguments, **options)

    monkeypatch.setattr(jax.stages.Lowered, "compile", counted)
    sweep = ["plan", config, *flags, "--sweep=batch,remat"]
    assert main(sweep) == 130 and len(asked) == 3
    assert main(sweep) == 0
    said = capsys.readouterr().out
    rows = json.loads(file.read_text())["tried"]
    assert len(rows) == 9 and len(asked) == 3 + 4  # two were kept, three have no such batch
    failed = [row["settings"]["batch"] for row in rows if "why" in row]
    assert failed == [4, 4, 4] and "must divide by 8 devices" in rows[0]["why"]
    assert any(row["best"] for row in rows) and "2 of 9 are kept" in said
    assert page.read_text().count("<tr") == 10
