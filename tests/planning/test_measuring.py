"""Steps really run, here on the host's own devices, beside their plan."""

import json

import jax
import numpy as np
import pytest

from tests.plans import plan
from tests.training.test_dual_encoder_training import batches, make_tiny_training
from vlp.cli.main import main
from vlp.models.naflex import NaflexImages
from vlp.parallel.mesh import make_mesh
from vlp.planning.hardware import CHIPS, chip_of
from vlp.planning.measuring import IDS, Measured, beside, drawn, here, measure


def shapes_of(training):
    batch = next(batches(1))
    return {
        name: jax.ShapeDtypeStruct(batch[name].shape, batch[name].dtype) for name in training.fields
    }


def test_a_step_is_run_as_it_is_planned_and_a_cpu_has_no_figures():
    training = make_tiny_training("clip", make_mesh(fsdp=8))
    topology = here(jax.devices())
    plan, taken = measure(training, shapes_of(training), topology, low=False, steps=2)
    assert len(taken.seconds) == 2 and taken.median > 0 and taken.peak is None
    assert plan.estimate is None and plan.memory.fits and plan.collectives
    assert plan.memory.temporary > 0
    rows = {what: row for what, *row in beside(plan, taken)}
    assert rows["step, ms"][0] == "no figures of this chip" and float(rows["step, ms"][1]) > 0
    assert rows["memory a device, GB"][1:] == ["not counted by this device", ""]


def test_planned_over_measured_is_told_where_both_are_known():
    found = plan()
    taken = Measured((0.3, 0.1, 0.2), peak=2 * found.memory.total)
    rows = {what: row for what, *row in beside(found, taken)}
    assert rows["step, ms"] == ["100.000", "200.000", "0.50"]
    assert rows["step by cycles, ms"][0] == "160.000"
    assert rows["pairs/s"] == ["10,000.000", "5,000.000", "2.00"]
    assert rows["memory a device, GB"][2] == "0.50"


@pytest.mark.parametrize(
    ("device_kind", "chip"),
    [
        ("TPU v5 lite", "v5e"),
        ("TPU v5", "v5p"),
        ("TPU v4", "v4"),
        ("NVIDIA H100 80GB HBM3", "h100"),
        ("NVIDIA A100-SXM4-80GB", "a100"),
    ],
)
def test_a_device_that_is_here_is_known_by_what_jax_calls_it(device_kind, chip):
    assert chip_of(device_kind) is CHIPS[chip]


def test_a_device_without_figures_is_no_chip():
    assert chip_of("cpu") is None and chip_of("NVIDIA GeForce RTX 4090") is None


def test_drawn_batches_have_the_declared_shapes_and_ids_that_all_vocabularies_have():
    like = {
        "image": jax.ShapeDtypeStruct((4, 8, 8, 3), np.uint8),
        "text": jax.ShapeDtypeStruct((4, 5), np.int32),
        "weight": jax.ShapeDtypeStruct((4,), np.float32),
        "present/image": jax.ShapeDtypeStruct((4,), np.bool_),
        "teacher/image_embedding": jax.ShapeDtypeStruct((4, 6), np.float32),
    }
    found = drawn(like)
    assert {name: (each.shape, each.dtype) for name, each in found.items()} == {
        name: (each.shape, each.dtype) for name, each in like.items()
    }
    assert found["image"].max() > IDS > found["text"].max() >= found["text"].min() >= 0
    assert found["weight"].all() and found["present/image"].all()


def test_drawn_pictures_of_any_shape_have_all_patches():
    parts = dict(patches=((4, 6, 12), np.uint8), mask=((4, 6), np.bool_), grid=((4, 2), np.int32))
    like = {name: jax.ShapeDtypeStruct(*part) for name, part in parts.items()}
    found = drawn({"image": NaflexImages(**like)})["image"]
    assert found.mask.all() and (found.grid.prod(axis=1) == 6).all()
    assert (found.patches.shape, found.patches.dtype) == ((4, 6, 12), np.uint8)


@pytest.mark.slow
def test_the_command_measures_what_is_here(tmp_path, capsys):
    config = "--config=tests/small/config.py:data=nowhere.tar,steps=4,objective=clip"
    file = tmp_path / "measured.json"
    assert main(["plan", config, "--measure", "--samples=64", f"--json={file}"]) == 0
    said = capsys.readouterr().out
    assert "planned" in said and "measured" in said and "There are no figures of 8 x cpu" in said
    figures = json.loads(file.read_text())
    assert figures["measured"]["median"] > 0 and figures["planned"]["memory"]["total"] > 0


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ([], "either --topology"),
        (["--topology=h100:8", "--measure"], "either --topology"),
        (["--measure", "--sweep"], "alone"),
        (["--measure", "--slices=2"], "alone"),
        (["--topology=h100:8", "--sweep=depth"], "some of batch,fsdp,remat,precision"),
        (["--topology=h100:8", "--sweep=batch,batch"], "each once"),
        (["--topology=h100:8", "--bytes-a-picture=0"], "must be above 0"),
    ],
)
def test_flags_that_do_not_go_together_are_refused(flags, said, capsys):
    assert main(["plan", "--config=tests/small/config.py:data=x.tar", *flags]) == 2
    assert said in capsys.readouterr().err
