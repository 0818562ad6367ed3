"""Sets of pairs by config: drawings with captions, and drawings with sounds joined by key."""

import itertools
import sys
import tarfile
from fractions import Fraction

import numpy as np
import pytest
from ml_collections import ConfigDict

from data_pipelines.audio import Spectrogram, open_spectrogram
from data_pipelines.limits import Limits
from data_pipelines.opening import open_source
from data_pipelines.order import MixedOrder, Mixture
from experiments import emoji
from tests.small.runs import COLOURS, SHAPES, TINY, add, resumes_to_the_bit
from vlp.cli.config import load_config
from vlp.interop.card import read_card
from vlp.jobs.data_table import say_data
from vlp.objectives.clip import Clip
from vlp.run.inputs import open_inputs
from vlp.run.sets import data_name, most_rows, pair_sets
from vlp.run.workdir import Workdir

NAMES = ("image", "text", "audio", "present/text", "present/audio", "id")
AUDIO = dict(frames=20, n_mels=16)


@pytest.fixture
def tones(tmp_path):
    """A tone for every second of the pairs, by key, and one that no picture has."""
    soundfile = pytest.importorskip("soundfile")
    keys = [f"{c}-{s}-{n}" for n in range(3) for c in COLOURS for s in SHAPES][::2]
    with tarfile.open(tmp_path / "tones.tar", "w") as tar:
        for pitch, key in enumerate([*keys, "silence"]):
            wave = np.sin(np.arange(3_000) * (pitch + 1) / 50)
            soundfile.write(tmp_path / "one.ogg", wave, 16_000)
            add(tar, f"{key}.ogg", (tmp_path / "one.ogg").read_bytes())
    return tmp_path / "tones.tar"


@pytest.fixture
def config(pairs, tones, monkeypatch):
    monkeypatch.setattr("vlp.run.inputs.objective_fields", lambda config: NAMES)
    config = emoji.get_config("size=16")
    config.data.train = ""
    config.data.sets = ConfigDict(
        dict(
            seen=dict(data=str(pairs), fields=("image", "text"), share=0.75),
            heard=dict(data=str(pairs), join=str(tones), fields=("image", "audio"), share=0.25),
        )
    )
    config.audio = ConfigDict(AUDIO)
    config.tokenizer.update(vocab_size=300, length=8)
    config.train.global_batch_size = 8
    return config


def inputs_of(config, tmp_path):
    return open_inputs(config, Workdir(tmp_path / "run"))


def test_a_batch_has_the_shares_of_the_sets_and_of_each_what_is_used(
    config, pairs, tones, tmp_path, capsys
):
    inputs = inputs_of(config, tmp_path)
    inputs.loader.check()
    assert len(inputs.source) == 36 + 18 and data_name(config) == "heard, seen"
    sounds, pictures = open_source(tones), open_source(pairs)
    rows = {sounds.key(i): i for i in range(len(sounds))}
    heard_by = open_spectrogram(AUDIO)
    for batch in itertools.islice(inputs.loader, 4):
        heard = batch["id"] < 18
        assert heard.sum() == 2 and (batch["weight"] == 1).all()
        np.testing.assert_array_equal(batch["present/audio"], heard)
        np.testing.assert_array_equal(batch["present/text"], ~heard)
        assert (batch["audio"][~heard] == 0).all() and (batch["text"][heard] == 0).all()
        for index, audio in zip(batch["id"][heard], batch["audio"][heard], strict=True):
            key = pictures.key(2 * index)
            np.testing.assert_array_equal(audio, heard_by(sounds.audio(rows[key]))[0])
            assert inputs.source.image(index) == pictures.image(2 * index)
    say_data({"training": inputs.source})
    said = " ".join(capsys.readouterr().out.split())
    assert "18 files belong to no sample, e.g. red-bar-0: tones has no such key" in said
    assert "e.g. silence: pairs has no such key" in said


def test_the_sets_of_a_run_go_on_where_they_were(config, tmp_path):
    whole = list(itertools.islice(inputs_of(config, tmp_path).loader, 5))
    before = inputs_of(config, tmp_path).loader
    for _ in range(2):
        next(before)
    after = inputs_of(config, tmp_path).loader
    after.set_state(before.get_state())
    for batch in whole[2:]:
        for name, rows in next(after).items():
            np.testing.assert_array_equal(rows, batch[name])


def test_sets_that_cannot_be_are_refused_by_name(config, tmp_path):
    seen, heard = config.data.sets.seen, config.data.sets.heard
    for section, settings, said in (
        (heard, dict(fields=("audio",)), "heard: the objective reads 'image' of every sample"),
        (heard, dict(fields=("image", "smell")), "heard: modalities .* got smell"),
        (seen, dict(data="nowhere.tar"), "seen: no data at 'nowhere.tar'"),
        (seen, dict(share=0.5), "sum to 1, got 0.25, 0.5; leave all out"),
        (seen, dict(share=None), "all of them have one .* got 0.25, None"),
        (config.data, dict(train="x.tar"), "take the place of config.data.train .*'x.tar'"),
    ):
        before = section.to_dict()
        with section.ignore_type():
            section.update(settings)
        with pytest.raises(ValueError, match=said):
            inputs_of(config, tmp_path)
        with section.ignore_type():
            section.update({name: before[name] for name in settings})


@pytest.mark.parametrize("shares", [(0.5, 0.5), (0.25, 0.75), (0.2, 0.3, 0.5), (0.1, 0.6, 0.3)])
def test_no_window_of_the_stream_has_more_rows_of_a_modality_than_its_sets_say(shares):
    fields = [("image", "text"), ("image", "audio"), ("image", "text", "audio")][: len(shares)]
    sets = {
        name: dict(data="", fields=own, share=share)
        for name, own, share in zip("abc", fields, shares, strict=False)
    }
    boundaries = tuple(10 * i for i in range(1, len(shares)))
    mixture = Mixture(boundaries, shares[1:])
    order = MixedOrder(10 * len(shares), mixture=mixture, seed=0, shuffle=True)
    stream = [fields[order(place)[1] // 10] for place in range(400)]
    for rows in (1, 2, 7, 16, 20):
        most = most_rows(sets, rows=rows)
        for name in ("image", "text", "audio"):
            has = np.cumsum([0, *(name in own for own in stream)])
            assert (has[rows:] - has[:-rows]).max() <= most.get(name, rows)
    exact = most_rows(sets, rows=20)
    assert "image" not in exact
    if len(shares) == 2:
        assert exact == dict(text=20 * shares[0], audio=20 * shares[1])
    assert most_rows({"a": sets["a"]}, rows=20) == {}
    assert most_rows(sets | {"d": dict(data="")}, rows=20) == {}


def test_without_shares_every_sample_comes_equally_often(config, tmp_path):
    for name in config.data.sets:
        del config.data.sets[name]["share"]
    config.train.global_batch_size = 54
    assert sorted(next(inputs_of(config, tmp_path).loader)["id"]) == list(range(54))


def many(pairs, **sets):
    """Pairs by these settings of sets, each of the 36 samples of one tar."""
    made = {name: dict(data=str(pairs)) | settings for name, settings in sets.items()}
    return pair_sets(made, needs=("image", "text"), limits=Limits(), length=lambda n: 4 * n)


def shares_of(found):
    source, mixture = found
    return dict(zip(mixture.labels, mixture.exact, strict=True))


def test_sets_are_mixed_by_weight_by_epochs_and_by_temperature(pairs):
    half, third = Fraction(1, 2), Fraction(1, 3)
    weights = shares_of(many(pairs, a=dict(weight=1), b=dict(weight=2.0)))
    assert weights == dict(a=third, b=2 * third)
    epochs = shares_of(many(pairs, a=dict(epochs=3), b=dict(epochs=1)))
    assert epochs == dict(a=3 * half / 2, b=half / 2)
    sets = dict(a=dict(data=str(pairs)), b=dict(data=f"{pairs},{pairs}"))
    found = pair_sets(sets, needs=(), limits=Limits(), temperature=2.0)
    assert shares_of(found)["b"] == pytest.approx(2**0.5 / (1 + 2**0.5))
    capped = shares_of(many(pairs, a=dict(weight=9, max_epochs=2), b=dict(weight=1)))
    assert capped == dict(a=Fraction(1, 4), b=Fraction(3, 4))  # of 4 epochs of both


def test_sets_lie_within_sets(pairs):
    inside = dict(x=dict(data=str(pairs), weight=1), y=dict(data=str(pairs), weight=3))
    sets = dict(own=dict(data=str(pairs), share=0.5), web=dict(sets=inside, share=0.5))
    source, mixture = pair_sets(sets, needs=("text",), limits=Limits())
    assert len(source) == 108 and mixture.boundaries == (36, 72)
    eighths = [Fraction(n, 8) for n in (4, 1, 3)]
    assert shares_of((source, mixture)) == dict(
        zip(("own", "web/x", "web/y"), eighths, strict=True)
    )
    assert most_rows(sets, rows=8) == {}
    del sets["own"]["share"], sets["web"]["share"]  # by size, and within by weight
    assert shares_of(pair_sets(sets, needs=(), limits=Limits()))["web/y"] == Fraction(1, 2)


def test_a_set_is_drawn_with_replacement(pairs):
    _, mixture = many(pairs, a=dict(replacement=True), b={})
    assert mixture.drawn == (0,) and mixture.exact == [Fraction(1, 2)] * 2
    assert many(pairs, a=dict(replacement=True))[1].drawn == (0,)


@pytest.mark.parametrize(
    ("sets", "said"),
    [
        (dict(a=dict(share=0.5), b=dict(weight=1)), "either shares, weights, .* share and weight"),
        (
            dict(a=dict(weight=1), b={}),
            "all sets of config.data.sets have weight or none, got 1, None",
        ),
        (dict(a=dict(sets=dict(b=dict()))), "a: a set has either data or sets within it"),
        (dict(a=dict(temperature=2.0)), "a: a temperature is of the sets within a set"),
        (dict(a=dict(max_epochs=1), b=dict(max_epochs=1)), "cannot keep to the epochs"),
    ],
)
def test_mixtures_that_cannot_be_are_refused(pairs, sets, said):
    with pytest.raises(ValueError, match=said):
        many(pairs, **sets)


def test_sets_have_flags(pairs, tmp_path):
    flags = ["--config.data.sets.a.data=x.tar", "--config.data.sets.a.fields=('image', 'audio')",
             "--config.audio.n_mels=64", "--config.augment_audio.speed=0.1"]  # fmt: skip
    config = load_config(f"{TINY}:data={pairs}", flags)
    assert config.data.sets.a.to_dict() == dict(data="x.tar", fields=("image", "audio"))
    assert (config.audio.n_mels, config.augment_audio.speed) == (64, 0.1)
    with pytest.raises(ValueError, match="config.data.sets.a has no setting smell|does not exist"):
        load_config(f"{TINY}:data={pairs}", [*flags, "--config.data.sets.a.smell=1"])


def test_sounds_without_the_library_are_refused_before_training(config, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "soundfile", None)
    monkeypatch.setattr("vlp.run.inputs.objective_fields", lambda config: ("image", "audio"))
    config.model.text = None
    del config.data.sets["seen"], config.data.sets.heard["share"]
    with pytest.raises(ValueError, match=r"pip install 'vlp\[audio\]'"):
        inputs_of(config, tmp_path).loader.check()


RUN = """
from ml_collections import ConfigDict
from tests.small import config as small

def get_config(arg=""):
    config = small.get_config("data={pairs},steps=4,batch=8")
    config.data.train = ""
    config.data.sets = ConfigDict(dict(
        heard=dict(data="{pairs}", join="{tones}", fields=("image", "audio"), share=0.25),
        seen=dict(data="{pairs}", fields=("image", "text"), share=0.75),
    ))
    config.audio = ConfigDict({audio})
    config.augment_audio = ConfigDict(dict(shift=1.0, speed=0.1))
    config.export, config.report.data = ConfigDict(), ""
    return config
"""


@pytest.mark.slow
def test_a_run_on_sets_resumes_to_the_bit_and_its_card_says_how_it_hears(
    pairs, tones, tmp_path, monkeypatch
):
    monkeypatch.setattr(Clip, "fields", NAMES)
    file = tmp_path / "sets.py"
    file.write_text(RUN.format(pairs=pairs, tones=tones, audio=AUDIO))
    resumes_to_the_bit(file, tmp_path)
    card = read_card(tmp_path / "whole")
    assert open_spectrogram(card["audio"]).to_dict() == Spectrogram(**AUDIO).to_dict()
    assert "tones has no such key" in (tmp_path / "whole" / "data.json").read_text()
