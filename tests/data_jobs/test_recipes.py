"""From raw tars to a trained model."""

import json

import numpy as np
import pytest

from data_pipelines.opening import open_source
from tests.data_jobs.planted import encoded, noise, write_samples
from vlp.cli.main import main
from vlp.interop.load import load_run

pytestmark = pytest.mark.slow
TINY = ("width=32", "depth=1", "num_heads=2")


@pytest.mark.parametrize("layout", ["tars", "parquet"])
def test_catlip_trains_on_what_its_job_labels(tmp_path, layout):
    nouns = ("cat", "dog", "boat")
    rng = np.random.default_rng(0)
    samples = [(encoded(noise(i)), f"a {nouns[rng.integers(3)]}") for i in range(60)]
    data = write_samples(tmp_path / "d.tar", samples)
    (tmp_path / "wn").mkdir()
    entries = "".join(f"{noun} n 1 1 @ 1 1 {i:08d}\n" for i, noun in enumerate(nouns))
    (tmp_path / "wn/index.noun").write_text(entries)
    out, run = tmp_path / "labelled", tmp_path / "run"
    flags = (f"--wordnet={tmp_path / 'wn'}", "--min-count=2", f"--out={out}", f"--layout={layout}")
    assert main(["data", "label", f"--data={data}", *flags]) == 0
    assert len((out / "vocabulary.txt").read_text().splitlines()) == 3
    small = [f"--config.model.image.{setting}" for setting in TINY]
    arg = f"data={out},labels=3,res=32,batch=16,steps=20"
    config = f"--config=experiments/catlip.py:{arg}"
    more = ("--config.model.embed_dim=32", "--config.model.precision=float32")
    assert main(["train", config, f"--workdir={run}", *small, *more]) == 0
    model = load_run(run).model
    images = np.zeros((2, 32, 32, 3), np.uint8)
    assert model.tell_labels(model.encode_image(images)).shape == (2, 3)
    assert open_source(str(out)).meta(0)["labels"]


def test_dfn_trains_on_what_its_filter_keeps(tmp_path):
    """Every command of experiments/dfn.py, in its order."""

    def pairs(name, *seeds):
        samples = [(encoded(noise(seed)), f"blots of number {seed}") for seed in seeds]
        return write_samples(tmp_path / name, samples)

    def train(stage, data, size, more=""):
        arg = f"stage={stage},data={data},batch=8,epochs=1{more}"
        small = [f"--config.model.{part}.{it}" for part in ("image", "text") for it in TINY]
        small += ["--config.model.embed_dim=16", "--config.model.precision=float32"]
        small += [f"--config.preprocess.size={size}", "--config.optim.schedule.warmup=1 steps"]
        run = f"--workdir={tmp_path / stage}"
        assert main(["train", f"--config=experiments/dfn.py:{arg}", run, *small]) == 0

    train("filter", pairs("clean.tar", *range(16)), 32)
    train("tuned", pairs("best.tar", *range(100, 116)), 32, f",init={tmp_path / 'filter'}")
    judged = pairs("judged.tar", 200, 201)
    pairs("web-0.tar", *range(300, 320))
    pairs("web-1.tar", 201, *range(320, 340))
    web, once, vectors, kept = (
        tmp_path / name for name in ("web-*.tar", "once", "vectors", "kept")
    )
    assert main(["data", "dedup", f"--data={web}", f"--against={judged}", f"--out={once}"]) == 0
    own = f"--data={once}/*.tar"
    assert main(["embed", f"--model={tmp_path / 'tuned'}", own, f"--out={vectors}"]) == 0
    best = (f"--embeddings={vectors}", "--share=0.5", f"--out={kept}")
    assert main(["data", "filter", own, *best]) == 0
    train("induced", kept, 28, ",model=ViT-L/14")
    assert len(open_source(str(once))) == 40
    (trained_on,) = json.loads((tmp_path / "induced/data.json").read_text())["training"]
    assert trained_on["samples"] == 20
    images = np.zeros((2, 28, 28, 3), np.uint8)
    assert load_run(tmp_path / "induced").model.encode_image(images).embedding.shape == (2, 16)
