"""The READMEs of exports to PyTorch's stacks run as they are written and print our own figures."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from tests.interop.readmes import WITHOUT_VLP, code, expected, numbers
from tests.interop.tiny import make_run
from tests.peers.test_blip_hf import folders as blip_folders  # noqa: F401
from tests.peers.test_conversions import folders  # noqa: F401
from tests.peers.test_import_hf import FAMILIES, saved
from vlp.interop.export import export
from vlp.interop.load import load_run
from vlp.interop.samples import EXAMPLE

# What lets torchvision be imported beside another torch, as for the tests themselves.
TORCHVISION = Path(__file__).with_name("conftest.py").read_text()
RUN = """
import contextlib, io, json, os, warnings
warnings.simplefilter("ignore")
said = []
for folder, code in json.load(sys.stdin):
    os.chdir(folder)
    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec(compile(code, folder, "exec"), {"__name__": "__main__"})
    said.append(out.getvalue())
print(json.dumps(said), file=sys.stderr)
"""
TOWERS = (
    "ViT without pooler",
    "ViT",
    "CLIP, image with projection",
    "CLIP, image",
    "SigLIP, image",
)
WITHOUT_TOKENIZER = ("CLIP, quick_gelu", "SigLIP 2, NaFlex", "ViT and BERT", "BERT", "CLIP, text")


def printed(*folders):  # noqa: F811
    """What the Python of each folder's README prints: one process, for PyTorch is slow to come."""
    given = json.dumps([(str(folder), code(folder)) for folder in folders])
    command = [sys.executable, "-c", f"{WITHOUT_VLP}{TORCHVISION}{RUN}"]
    ran = subprocess.run(command, input=given, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr[-3000:]
    return json.loads(ran.stderr.splitlines()[-1])


def assert_prints(said, figures):
    np.testing.assert_allclose(numbers(said), np.ravel(figures), rtol=2e-4, atol=6e-5)


def test_pairs_with_their_tokenizers(folders, tmp_path):  # noqa: F811
    cases = {
        "clip": (make_run("clip"), "hf", "softmax"),
        "siglip": (make_run("siglip", resize="shortest"), "hf", "sigmoid"),
        "open_clip": (load_run(folders / "vit"), "open_clip", "cosines"),
    }
    for name, (run, to, _) in cases.items():
        assert export(run, tmp_path / name, to=to)["verified"]
    said = printed(*(tmp_path / name for name in cases))
    for text, (name, (run, _, shown)) in zip(said, cases.items(), strict=True):
        assert_prints(text, expected(run, tmp_path / name, shown))


def test_image_towers_alone(folders, tmp_path):  # noqa: F811
    runs = {}
    for name in TOWERS:
        saved(FAMILIES[name], tmp_path / name / "source")
        runs[name] = load_run(tmp_path / name / "source")
        assert export(runs[name], tmp_path / name / "out")["verified"]
    runs["timm"] = load_run(folders / "vit")
    assert export(runs["timm"], tmp_path / "timm" / "out", to="timm")["verified"]
    said = printed(*(tmp_path / name / "out" for name in runs))
    for text, (name, run) in zip(said, runs.items(), strict=True):
        assert_prints(text, expected(run, tmp_path / name / "out", towers="image"))


def test_models_that_came_without_a_tokenizer(tmp_path):
    runs = {}
    for name in WITHOUT_TOKENIZER:
        saved(FAMILIES[name], tmp_path / name / "source")
        runs[name] = load_run(tmp_path / name / "source", tokenizer="none")
        export(runs[name], tmp_path / name / "out")
    said = printed(*(tmp_path / name / "out" for name in runs))
    for text, (name, run) in zip(said, runs.items(), strict=True):
        ids = np.ones((2, run.model.text.length), np.int32)
        ztxt = run.model.encode_text(ids).embedding
        if run.model.image is None:
            assert_prints(text, ztxt)
            continue
        with Image.open(tmp_path / name / "out" / EXAMPLE) as picture:
            zimg = run.model.encode_image(run.preprocess(picture)).embedding
        logits = np.asarray(run.model.logits(zimg, ztxt))
        siglip = run.card["objective"] == "siglip"
        assert_prints(text, 1 / (1 + np.exp(-logits)) if siglip else [0.5, 0.5])


def test_blip_shows_cosines_or_a_caption(blip_folders, tmp_path):  # noqa: F811
    runs = {name: load_run(f"hf:{folder}") for name, (folder, _) in blip_folders.items()}
    for name, run in runs.items():
        assert export(run, tmp_path / name)["verified"]
    said = dict(zip(runs, printed(*(tmp_path / name for name in runs)), strict=True))
    assert_prints(said["retrieval"], expected(runs["retrieval"], tmp_path / "retrieval"))
    (caption,) = eval(said["captions"])
    assert isinstance(caption, str)
