"""Sounds to spectrograms: equal to an independent reference, and never a crash or a bomb."""

import json
import pickle
import sys

import numpy as np
import pytest
import scipy.signal
from sounds import RATE, chirp, sine, sound_file

from data_pipelines.audio import Spectrogram, open_spectrogram
from data_pipelines.faults import Reject
from data_pipelines.sound import decode_sound, resampled
from data_pipelines.sound_augment import SoundAugment

pytest.importorskip("soundfile")
SMALL = Spectrogram(frames=50, n_mels=20, mean=-8.0, std=8.0)


def loudest(shown):
    """The band with most energy."""
    return int(shown.mean(axis=0).argmax())


@pytest.mark.parametrize(("window", "hop", "n_fft", "n_mels", "low"), [
    (400, 160, 512, 128, 20.0), (320, 100, 400, 40, 0.0),
])  # fmt: skip
def test_energies_are_those_of_scipys_transform_under_triangles(window, hop, n_fft, n_mels, low):
    wave = np.random.default_rng(0).normal(0.1, 0.2, 9_000)
    _, _, stft = scipy.signal.stft(
        wave, window=np.hanning(window), nperseg=window, noverlap=window - hop, nfft=n_fft,
        detrend="constant", boundary=None, padded=False,
    )  # fmt: skip
    power = np.abs(stft.T * np.hanning(window).sum()) ** 2

    def mel(hertz):
        return 1127 * np.log1p(np.asarray(hertz) / 700)

    edges = np.linspace(mel(low), mel(8000), n_mels + 2)
    bins = mel(np.linspace(0, 8000, n_fft // 2 + 1))
    bands = [np.interp(bins, edges[k : k + 3], [0, 1, 0]) for k in range(n_mels)]
    wanted = np.log(np.maximum(power @ np.transpose(bands), 1.1920929e-07))
    settings = dict(window=window, hop=hop, n_fft=n_fft, n_mels=n_mels, low=low, preemphasis=0.0)
    spectrogram = Spectrogram(frames=len(wanted) + 3, **settings)
    found = spectrogram(sound_file(wave, subtype="DOUBLE"))
    assert found.shape == (1, len(wanted) + 3, n_mels) and found.dtype == np.float32
    np.testing.assert_allclose(found[0, :-3] * 9.1379948 - 4.2677393, wanted, atol=1e-4)


def test_a_long_sound_loses_its_end_and_a_short_one_gets_zeros_behind():
    wave = chirp(1, seconds=0.6)
    energies = SMALL.energies(wave)
    assert len(energies) == 1 + (len(wave) - 400) // 160 == 58
    shown = (energies + 8) / 8
    np.testing.assert_allclose(SMALL.fitted(energies), shown[:50], atol=1e-6)
    short = SMALL.fitted(energies[:30])
    np.testing.assert_allclose(short[:30], shown[:30], atol=1e-6)
    assert (short[30:] == 1).all()  # zeros, less the mean, by the deviation
    assert len(SMALL.energies(wave[:7])) == 1


@pytest.mark.parametrize(
    ("kind", "subtype"),
    [("WAV", "PCM_16"), ("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", None)],
)
def test_the_files_of_every_kind_sound_alike(kind, subtype):
    wave = sine(1000, seconds=0.5, rate=24_000)
    shown = SMALL(sound_file(wave, rate=24_000, kind=kind, subtype=subtype))[0]
    plain = SMALL.fitted(SMALL.energies(sine(1000, seconds=0.5)))
    band = loudest(plain[5:40])
    assert loudest(shown[5:40]) == band
    np.testing.assert_allclose(shown[5:40, band], plain[5:40, band], atol=0.02)


def test_channels_become_their_mean():
    one, other = chirp(1), chirp(2)
    wave, rate = decode_sound(sound_file(np.stack([one, other, one, other], 1), subtype="FLOAT"))
    np.testing.assert_allclose(wave, (one + other) / 2, atol=1e-6)
    assert wave.dtype == np.float32 and rate == RATE


def test_another_rate_gives_the_same_sound():
    wave = sine(440, seconds=1.0, rate=44_100).astype(np.float32)
    found = resampled(wave, rate=44_100, to=RATE)
    assert len(found) == RATE and found.dtype == np.float32
    np.testing.assert_allclose(found[500:-500], sine(440, seconds=1.0)[500:-500], atol=2e-3)
    assert resampled(wave, rate=RATE, to=RATE) is wave


FLAC = sound_file(np.random.default_rng(0).uniform(-1, 1, RATE), kind="FLAC")
BAD = {
    "nothing": (b"", "audio empty"),
    "no samples": (sound_file(np.zeros(0)), "audio empty: no samples"),
    "a page": (b"<html>sorry</html>" * 9, "audio not recognised: an HTML page"),
    "a picture": (b"\x89PNG\r\n\x1a\n" + bytes(99), "audio not recognised"),
    "cut off": (FLAC[: len(FLAC) // 2], "audio damaged"),
    "not finite": (sound_file(np.full(999, np.nan), subtype="FLOAT"), "audio damaged: NaN"),
    "too slow": (sound_file(sine(9), rate=100), "audio damaged: 100 samples a second"),
    # Ten minutes of silence in a few kilobytes.
    "a bomb": (sound_file(np.zeros(600 * RATE, np.int16), kind="FLAC"), "audio too long"),
    "long": (sound_file(np.zeros(60 * 4_000 + 1, np.int16), rate=4_000), "audio too long: more"),
}


@pytest.mark.parametrize("what", BAD)
def test_a_sound_that_cannot_be_used_is_a_reject_that_says_why(what):
    data, said = BAD[what]
    with pytest.raises(Reject, match=said):
        SMALL(data)


@pytest.mark.parametrize("seed", range(20))
def test_damaged_bytes_are_rejected_or_give_finite_numbers(seed):
    rng = np.random.default_rng(seed)
    kind, subtype = [("WAV", None), ("FLAC", None), ("OGG", "OPUS"), ("MP3", None)][seed % 4]
    data = bytearray(sound_file(chirp(seed), kind=kind, subtype=subtype, rate=RATE))
    for place in rng.integers(0, len(data), 8):
        data[place] = rng.integers(256)
    try:
        shown = SMALL(bytes(data))
    except Reject:
        return
    assert np.isfinite(shown).all()


def test_the_settings_come_back_from_json():
    spectrogram = Spectrogram(frames=30, n_mels=16, mean=-3.0)
    values = json.loads(json.dumps(spectrogram.to_dict()))
    data = sound_file(chirp(3))
    np.testing.assert_array_equal(open_spectrogram(values)(data), spectrogram(data))
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(spectrogram))(data), spectrogram(data))
    with pytest.raises(ValueError, match="audio.kind must be"):
        open_spectrogram(values | {"kind": "waves"})
    with pytest.raises(ValueError, match="must have its own settings, got .*'pitch'"):
        open_spectrogram(values | {"pitch": 3})


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (dict(frames=0), "frames must be a whole number of at least 1, got 0"),
        (dict(window=600), "window must be from 2 to n_fft 512 samples, got 600"),
        (dict(low=8000.0), "low must be under half the rate"),
        (dict(std=0.0), "std must be above 0, got 0.0"),
    ],
)
def test_settings_that_cannot_be_are_refused(values, said):
    with pytest.raises(ValueError, match=said):
        Spectrogram(**values)


def test_without_the_library_sounds_are_refused_with_the_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, "soundfile", None)
    with pytest.raises(ValueError, match=r"sounds need soundfile .* pip install 'vlp\[audio\]'"):
        decode_sound(FLAC)


def changed(wave, *, seed=0, rate=RATE, **options):
    rng = np.random.default_rng(seed)
    return SoundAugment(**options)(wave, rng, rate=rate, spectrogram=SMALL)


def test_with_all_off_a_sound_is_as_evaluation_hears_it():
    wave, rate = decode_sound(sound_file(chirp(4)))
    np.testing.assert_array_equal(changed(wave, rate=rate), SMALL(sound_file(chirp(4)))[0])


def test_speed_moves_the_pitch_and_tempo_the_duration_alone():
    wave = sine(1000).astype(np.float32)
    lasts = [int((changed(wave, seed=s, tempo=0.5) != 1).any(axis=1).sum()) for s in range(12)]
    assert min(lasts) < 32 and max(lasts) == 50 and len(SMALL.energies(wave)) == 38
    bands = {loudest(changed(wave, seed=seed, tempo=0.5)[:20]) for seed in range(12)}
    assert bands == {loudest(SMALL.energies(wave))}
    for seed in range(12):
        factor = 1 + 0.5 * np.random.default_rng(seed).uniform(-1, 1, 3)[0]
        moved = sine(1000 * factor, seconds=0.4 / factor)
        wanted = SMALL.fitted(SMALL.energies(moved))
        assert loudest(changed(wave, seed=seed, speed=0.5)[:20]) == loudest(wanted[:20])


def test_gain_adds_to_the_logarithms():
    wave = np.random.default_rng(0).normal(0, 0.1, 6_400).astype(np.float32)
    added = changed(wave, gain=20.0)[:38] - changed(wave)[:38]
    np.testing.assert_allclose(added, added[0, 0], atol=1e-4)
    assert 0 < abs(added[0, 0]) < np.log(100) / 8


def test_shift_puts_a_short_sound_anywhere_and_shows_any_part_of_a_long_one():
    firsts = set()
    for seed in range(30):
        sounds = np.flatnonzero((changed(chirp(1), seed=seed, shift=1.0) != 1).any(axis=1))
        assert len(sounds) == 38 and sounds[-1] - sounds[0] == 37
        firsts.add(int(sounds[0]))
    assert min(firsts) <= 1 and max(firsts) >= 11
    long = chirp(1, seconds=0.6)
    whole = Spectrogram(frames=58, n_mels=20, mean=-8.0, std=8.0)
    whole = whole.fitted(whole.energies(long))
    for seed in range(5):
        part = changed(long, seed=seed, shift=1.0)
        assert any(np.array_equal(part, whole[first : first + 50]) for first in range(9))


def test_masks_hide_whole_frames_and_bands_of_at_most_that_width():
    wave = np.random.default_rng(0).normal(0, 0.1, 8_240).astype(np.float32)
    for seed in range(20):
        hidden = changed(wave, seed=seed, time_masks=(2, 10), mel_masks=(1, 5)) == 0
        frames, bands = hidden.all(axis=1), hidden.all(axis=0)
        assert frames.sum() <= 20 and bands.sum() <= 5
        np.testing.assert_array_equal(hidden, frames[:, None] | bands[None])
    assert hidden.any()


def test_options_out_of_range_are_refused():
    for options, said in (
        (dict(gain=-1.0), "gain must not be negative"),
        (dict(speed=1.5), "speed must be from 0 to 0.9, got 1.5"),
        (dict(mel_masks=(1, -2)), "mel_masks must be .how many, how wide"),
    ):
        with pytest.raises(ValueError, match=said):
            SoundAugment(**options)
