"""StableHLO folders run in JAX alone, on any batch, and are lowered for every platform."""

import json
import re
import subprocess
import sys

import jax
import numpy as np
import pytest

from data_pipelines.tokens import SiglipTokenizer
from tests.interop.readmes import WITHOUT_VLP, code, expected, printed
from tests.interop.tiny import make_run
from tests.interop.tiny import tokenizer as tiny_tokenizer
from tests.interop_targets.towers import CHANGES, run_of
from vlp.interop.export import export
from vlp.interop.hf.tokenizer_write import write_tokenizer
from vlp.interop.load import load_run


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A run and the folder it was exported to."""
    run, out = make_run("siglip"), tmp_path_factory.mktemp("stablehlo") / "out"
    return run, out, export(run, out, to="stablehlo")


@pytest.mark.parametrize("name", CHANGES)
def test_every_kind_of_tower_passes_the_gate_at_two_batch_sizes(name, tmp_path):
    report = export(run_of(name), tmp_path / "out", to="stablehlo")
    assert report["verified"] and report["verified_with"] == "jax.export"
    assert report["batch_sizes"] == [1, 5] and report["token_ids"]["unequal"] == []
    assert set(report["outputs"]) == {"image_embeds", "text_embeds", "logits"}
    for name, by_batch in report["outputs"].items():
        error = "max_relative_difference" if name == "logits" else "max_abs_difference"
        assert all(result[error] < 1e-5 for result in by_batch.values())


def test_siglip_s_own_tokenizer_passes_but_for_names_of_special_tokens(tmp_path):
    folder, length = tmp_path / "hf", make_run("siglip").card["tokenizer"]["length"]
    export(make_run("siglip"), folder, check="numpy")
    tokenizer = SiglipTokenizer(tiny_tokenizer().model)
    for name in ("tokenizer.json", "special_tokens_map.json"):
        (folder / name).unlink()
    config = json.loads((folder / "config.json").read_text())
    write_tokenizer(tokenizer, folder, length=length, config=config)
    report = export(load_run(folder), tmp_path / "out", to="stablehlo")
    assert report["verified"] and report["token_ids"]["unequal"] == []
    assert report["token_ids"]["excepted"]
    assert all(tokenizer.names_special(text) for text in report["token_ids"]["excepted"])


def test_the_readme_runs_as_written_without_vlp(exported):
    run, folder, _ = exported
    np.testing.assert_allclose(printed(folder), expected(run, folder), 1e-5, 1e-6)


def test_the_readme_is_thirty_lines_of_python_or_so(exported):
    assert len(code(exported[1]).splitlines()) <= 32


def test_the_files_run_without_vlp_on_any_batch(exported, tmp_path):
    run, folder, _ = exported
    images = np.random.default_rng(0).integers(0, 256, (3, 24, 24, 3), np.uint8)
    ids = run.tokenize(["a red heart", "cat", ""])
    np.savez(tmp_path / "given.npz", images=images, ids=ids)
    loading = re.search(r"import numpy.*?return lambda[^\n]*", code(folder), re.DOTALL)[0]
    script = (
        f"{WITHOUT_VLP}{loading}\n\n"
        f"given = np.load({str(tmp_path / 'given.npz')!r})\n"
        "image, text = load('image_encoder')(given['images']), load('text_encoder')(given['ids'])\n"
        f"np.savez({str(tmp_path / 'found.npz')!r}, image_embeds=image[0], "
        "image_tokens=image[1], text_embeds=text[0], text_tokens=text[1])\n"
        "assert 'flax' not in [name for name, module in sys.modules.items() if module]\n"
    )
    subprocess.run([sys.executable, "-I", "-c", script], cwd=folder, check=True)
    with np.load(tmp_path / "found.npz") as found:
        for tower, encoded in (
            ("image", run.model.encode_image(images)),
            ("text", run.model.encode_text(ids)),
        ):
            np.testing.assert_allclose(found[f"{tower}_embeds"], encoded.embedding, 1e-5, 1e-5)
            np.testing.assert_allclose(found[f"{tower}_tokens"], encoded.tokens, 1e-5, 1e-5)


def test_the_files_are_for_cpu_cuda_and_tpu_and_any_batch(exported):
    for tower in ("image", "text"):
        content = (exported[1] / f"{tower}_encoder.stablehlo").read_bytes()
        program = jax.export.deserialize(bytearray(content))
        assert program.platforms == ("cpu", "cuda", "tpu")
        assert str(program.in_avals[-1].shape[0]) == "batch"


def test_weights_lie_beside_the_program_under_their_names(exported):
    run, folder, _ = exported
    with np.load(folder / "image_encoder.npz", allow_pickle=False) as weights:
        kernel = weights["image/patches/linear/kernel"]
        assert all(name.startswith(("image/", "image_projection/")) for name in weights)
    np.testing.assert_array_equal(kernel, run.model.image.patches.linear.kernel[...])
    program = (folder / "image_encoder.stablehlo").stat().st_size
    assert program < (folder / "image_encoder.npz").stat().st_size / 2


def test_one_tower_alone_is_one_program(tmp_path):
    report = export(make_run("clip"), tmp_path / "out", to="stablehlo", towers="text")
    assert report["verified"] and set(report["outputs"]) == {"text_embeds"}
    names = {path.name for path in (tmp_path / "out").glob("*_encoder.*")}
    assert names == {"text_encoder.npz", "text_encoder.stablehlo"}
