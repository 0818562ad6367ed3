"""A whole run on drawings with names and drawings with sounds, as experiments/emoji_spoken.py."""

import json
import tarfile

import numpy as np
import pytest

import vlp
from data_pipelines.opening import open_source
from tests.data_pipelines.sounds import chirp, sound_file
from tests.small.runs import COLOURS, SHAPES, add, resumes_to_the_bit
from vlp.cli.main import main
from vlp.interop.load import load_run

pytest.importorskip("soundfile")
RUN = """
from ml_collections import ConfigDict

from experiments import emoji_spoken

def get_config(arg=""):
    config = emoji_spoken.get_config("voice={voice},heard={voice},size=16,share=0.25")
    for name in config.data.sets:
        config.data.sets[name].data = "{pairs}"
    config.audio.update(frames=20, n_mels=16)
    config.augment_audio.update(time_masks=(1, 4), mel_masks=(1, 2))
    config.tokenizer.update(vocab_size=300, length=8)
    config.model.embed_dim = 16
    for tower in (config.model.image, config.model.text, config.model.audio):
        tower.update(width=16, depth=2, num_heads=2, unroll=1)
    config.model.image.patch_size = 8
    config.model.audio.patch_size = (10, 8)
    config.train.update(total="4 steps", global_batch_size=16)
    config.optim.schedule = ConfigDict(dict(name="cosine", peak=1e-2, warmup=1))
    config.checkpoint.every = "2 steps"
    del config.evals["twemoji"], config.evals["categories"]
    config.evals.heard_drawings.data = "{pairs} + {voice}"
    for each in config.evals.values():
        each.every = "4 steps"
    config.report.data = "{pairs}"
    return config
"""


@pytest.fixture
def voice(tmp_path):
    """A sound for every second of the pairs, by key, with its name."""
    keys = [(c, s, n) for n in range(3) for c in COLOURS for s in SHAPES][::2]
    with tarfile.open(tmp_path / "voice.tar", "w") as tar:
        for pitch, (colour, shape, copy) in enumerate(keys):
            sound = sound_file(chirp(pitch), kind="OGG", subtype="VORBIS")
            add(tar, f"{colour}-{shape}-{copy}.ogg", sound)
            add(tar, f"{colour}-{shape}-{copy}.txt", f"a {colour} {shape}".encode())
    return tmp_path / "voice.tar"


@pytest.mark.slow
def test_a_run_that_hears_resumes_to_the_bit_and_is_judged_loaded_and_searched(
    pairs, voice, tmp_path, capsys
):
    file = tmp_path / "spoken.py"
    file.write_text(RUN.format(pairs=pairs, voice=voice))
    run = resumes_to_the_bit(file, tmp_path)

    folder = tmp_path / "whole"
    results = {
        name: json.loads((folder / "results" / f"{name}.json").read_text())
        for name in ("heard_names", "heard_drawings")
    }
    assert "audio_to_text/R@10" in results["heard_names"]["metrics"]
    assert results["heard_names"]["counts"]["text_to_audio/queries"] == 18
    assert results["heard_drawings"]["counts"]["audio_to_image/queries"] == 18
    page = (folder / "report.html").read_text()
    assert page.count("<audio") == 24 and "data:audio/ogg;base64" in page

    flags = [f"--model={folder}", f"--data={voice}", f"--out={tmp_path / 'again.json'}"]
    assert main(["eval", *flags, "--task=retrieval", "--between=audio-text"]) == 0
    again = json.loads((tmp_path / "again.json").read_text())
    assert (
        again["metrics"]
        == json.loads((folder / "results" / "heard_names.json").read_text())["metrics"]
    )

    loaded, source = load_run(folder), open_source(voice)
    model, _, _ = vlp.load(folder)
    heard = loaded.spectrogram(source.audio(0))
    z = loaded.model.encode("audio", heard).embedding
    np.testing.assert_allclose(np.linalg.norm(z), 1, rtol=1e-5)
    np.testing.assert_array_equal(z, model.encode("audio", heard).embedding)

    (tmp_path / "one.ogg").write_bytes(source.audio(0))
    search = ["search", f"--model={folder}", f"--data={pairs}", f"--sound={tmp_path / 'one.ogg'}"]
    capsys.readouterr()
    assert main([*search, f"--out={tmp_path / 's.png'}", "--top=3"]) == 0
    scores = [float(line.split()[0]) for line in capsys.readouterr().out.splitlines()
              if line[:1] in "-0" and line[1:2] in "01."]  # fmt: skip
    seen = open_source(pairs)
    pictures = np.concatenate([loaded.preprocess([seen.image(i)]) for i in range(len(seen))])
    cosines = np.asarray(loaded.model.encode_image(pictures).embedding) @ np.asarray(z[0])
    np.testing.assert_allclose(scores, np.sort(cosines)[::-1][:3], atol=6e-3)

    out = tmp_path / "embedded"
    assert main(["embed", f"--model={folder}", f"--data={pairs}", f"--out={out}"]) == 0
    assert "sounds are not embedded" in capsys.readouterr().out
    export = ["export", f"--model={folder}", "--to=stablehlo", f"--out={tmp_path / 'out'}"]
    assert main(export) == 1 and "give --towers=image or --towers=text" in capsys.readouterr().err
    assert main([*export, "--towers=image"]) == 0

    kept = "=('image.*', 'text.*')"
    flags = [f"--config.init.path={folder}", f"--config.init.only{kept}"]
    assert len(run("bound", *flags, f"--config.optim.freeze{kept}")) == 4
    both = (vlp.load(tmp_path / name, weights="params")[0] for name in ("bound", "whole"))
    one, other = (model.encode_image(pictures).embedding for model in both)
    np.testing.assert_array_equal(one, other)
