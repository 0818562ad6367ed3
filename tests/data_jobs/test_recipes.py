"""From raw tars to a trained model."""

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
