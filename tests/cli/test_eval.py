"""`vlp eval` of models that take images of any shape, and of weights of another stack."""

import dataclasses
import json

import numpy as np
import pytest

from data_pipelines.decode import decode
from data_pipelines.naflex import NaflexPreprocess
from data_pipelines.opening import open_source
from tests.interop import tiny
from tests.small.runs import write_pairs
from vlp.cli.main import main
from vlp.interop.load import load_run
from vlp.interop.save import save_run
from vlp.jobs.evaluator import Evaluator


@pytest.fixture(scope="module")
def naflex(tmp_path_factory):
    """A run whose image tower takes patches."""
    run = tiny.make_run("siglip")
    kwargs = run.card["model"]
    image = {name: kwargs["image"][name] for name in ("patch_size", "width", "depth", "num_heads")}
    kwargs |= {"image": image | dict(kind="naflex", num_patches=9)}
    preprocess = NaflexPreprocess(patch_size=8, max_num_patches=12)
    card = run.card | {"model": kwargs, "preprocess": preprocess.to_dict()}
    made = dataclasses.replace(run, model=tiny.model(kwargs), card=card, preprocess=preprocess)
    return save_run(made, tmp_path_factory.mktemp("runs") / "naflex")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """12 pairs, one without a readable image."""
    path = tmp_path_factory.mktemp("data") / "pairs.tar"
    return write_pairs(path, copies=1, replace={"red-dot-0.png": b"<html>"})


def test_a_model_of_images_of_any_shape_is_judged(naflex, data, tmp_path):
    out = tmp_path / "result.json"
    task = ["--task=classification", "--label=kind", f"--out={out}"]
    assert main(["eval", f"--model={naflex}", f"--data={data}", *task]) == 0
    result = json.loads(out.read_text())
    assert (result["samples"], result["rejected"], result["counts"]["classes"]) == (11, 1, 3)


def test_its_embeddings_are_those_of_each_image_alone(naflex, data, tmp_path):
    run, source = load_run(naflex), open_source(str(data))
    gallery = Evaluator.of_run(run).gallery(str(data))
    wanted = [
        run.model.encode_image(run.preprocess(decode(source.image(int(i))))).embedding[0]
        for i in gallery.ids
    ]
    np.testing.assert_allclose(gallery.zimg, wanted, atol=1e-6)
    out = tmp_path / "e"
    assert main(["embed", f"--model={naflex}", f"--data={data}", f"--out={out}"]) == 0
    vectors = np.load(out / "images" / "00000.npy")  # its batch does not divide by the devices
    np.testing.assert_allclose(vectors, wanted, atol=1e-6)


def test_a_resolution_is_refused_where_there_is_none(naflex, data, capsys):
    task = ["--task=retrieval", "--image-size=32"]
    assert main(["eval", f"--model={naflex}", f"--data={data}", *task]) == 1
    assert "takes images of any size, got image_size 32" in capsys.readouterr().err


def test_judging_at_another_resolution_is_judging_the_resized_model(data, tmp_path, capsys):
    run = save_run(tiny.make_run("clip"), tmp_path / "clip")
    assert main(["import", f"--from={run}", f"--out={tmp_path / 'w'}", "--image-size=32"]) == 0
    found = []
    for flags in ([f"--workdir={run}", "--image-size=32"], [f"--workdir={tmp_path / 'w'}"]):
        out = tmp_path / f"{len(found)}.json"
        task = ["--task=retrieval", "--captions=all", f"--data={data}", f"--out={out}"]
        assert main(["eval", *flags, *task]) == 0
        found.append(json.loads(out.read_text())["metrics"])
    assert found[0] == found[1]
