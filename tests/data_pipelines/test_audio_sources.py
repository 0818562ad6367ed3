"""Sounds come by index from tars and folders, and stay where they are in a stream."""

import itertools
import pickle

import numpy as np
import pytest
from data_makers import pairs, write_tar
from sounds import chirp, sound_file, spoken

from data_pipelines.audio import Spectrogram
from data_pipelines.evaluation import eval_sounds
from data_pipelines.faults import REASONS, Reject
from data_pipelines.fields import Sounds, Texts
from data_pipelines.limits import Limits
from data_pipelines.loader import make_loader
from data_pipelines.opening import open_source
from data_pipelines.sound_augment import SoundAugment
from data_pipelines.sources import (
    ConcatSource,
    ShuffledCaptions,
    TarSource,
)
from data_pipelines.sources.part import PartSource
from data_pipelines.text import train_sentencepiece

pytest.importorskip("soundfile")
SPECTROGRAM = Spectrogram(frames=50, n_mels=20)
WORDS = train_sentencepiece([f"chirp {i}" for i in range(9)], vocab_size=300)


@pytest.fixture
def source(tmp_path):
    return TarSource(write_tar(tmp_path / "spoken.tar", spoken(6)))


def test_a_tar_gives_sounds_by_index_and_says_how_many_are_missing(tmp_path):
    path = write_tar(tmp_path / "a.tar", [*pairs(3), *spoken(3)[::2][:2]])
    source = TarSource(path)
    assert source.audio(1) == sound_file(chirp(1), kind="FLAC")
    with pytest.raises(Reject, match="audio missing"):
        source.audio(2)
    assert source.survey()[0].without_audio == 1
    assert TarSource(write_tar(tmp_path / "b.tar", pairs(3))).survey()[0].without_audio is None


def test_sources_made_of_others_hand_the_sounds_on(source):
    both = ConcatSource([source, ShuffledCaptions(source, share=1.0)])
    assert both.audio(8) == PartSource(both, 8, 9).audio(0) == source.audio(2)
    assert pickle.loads(pickle.dumps(both)).audio(8) == source.audio(2)


def test_a_folder_of_sounds_is_data_and_sounds_lie_beside_pictures(tmp_path):
    for name, data in [*spoken(2), ("b/x.ogg", b"ogg"), ("notes.mid", b"x")]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)
    source = open_source(tmp_path)
    assert [source.key(i) for i in range(len(source))] == ["0000.flac", "0001.flac", "b/x.ogg"]
    assert source.captions(1) == (b"chirp 1",) and source.audio(2) == b"ogg"
    assert source.meta(2) == {"cls": "b"}
    found = source.survey()[0]
    assert (found.without_image, found.without_audio, found.without_caption) == (3, 0, 1)
    assert open_source(f"{tmp_path}/*.flac").audio(1) == source.audio(1)
    for name, data in pairs(1):
        (tmp_path / name).write_bytes(data)
    beside = open_source(tmp_path)
    assert len(beside) == 1 and beside.audio(0) == source.audio(0) and beside.image(0)
    assert beside.survey()[0].without_audio == 0
    before = beside.fingerprint
    (tmp_path / "0000.flac").write_bytes(b"other")
    assert open_source(tmp_path).fingerprint != before


def test_the_limits_of_sounds_count_and_leave_stored_fingerprints_alone(tmp_path):
    path = write_tar(tmp_path / "a.tar", spoken(1))
    with pytest.raises(Reject, match="audio too large"):
        TarSource(path, limits=Limits(audio_bytes=9)).audio(0)
    assert Limits(pixels=10).mark == "[limits: (10, 67108864, 65536, 1048576)]"
    assert Limits(audio_seconds=9).mark.endswith(", 67108864, 9)]")


def test_every_sound_comes_once_for_an_evaluation(tmp_path):
    data = [(name, data if name != "0001.flac" else b"RIFF") for name, data in spoken(3)]
    batches = list(eval_sounds(TarSource(write_tar(tmp_path / "a.tar", data)), SPECTROGRAM,
                               batch_size=2, num_threads=0))  # fmt: skip
    assert [batch["weight"].tolist() for batch in batches] == [[1, 0], [1, 0]]
    assert batches[0]["reject"][1] == 1 + REASONS.index("audio not recognised")
    wanted = SPECTROGRAM(data[4][1])[0]
    np.testing.assert_array_equal(batches[1]["audio"], [wanted, np.zeros_like(wanted)])


AUGMENT = SoundAugment(shift=1.0, speed=0.1, time_masks=(1, 5))


def batches(source, count, *, augment=AUGMENT, **values):
    fields = {
        "text": Texts(WORDS, length=6, pad_id=WORDS.pad_id),
        "audio": Sounds(SPECTROGRAM, augment),
    }
    settings = dict(global_batch_size=4, seed=3, num_threads=0) | values
    return list(itertools.islice(make_loader(source, fields=fields, **settings), count))


def test_sounds_are_a_function_of_seed_epoch_and_index(source):
    one = batches(source, 6)
    for batch, other in zip(one, batches(source, 6, num_threads=3), strict=True):
        np.testing.assert_array_equal(batch["audio"], other["audio"])
    rows = {}
    for batch in one:
        for index, audio in zip(batch["id"], batch["audio"], strict=True):
            rows.setdefault(int(index), []).append(audio)
    for each in rows.values():
        assert not any(np.array_equal(a, b) for a, b in itertools.combinations(each, 2))
    plain = batches(source, 1, augment=SoundAugment())[0]
    for index, audio in zip(plain["id"], plain["audio"], strict=True):
        np.testing.assert_array_equal(audio, SPECTROGRAM(source.audio(int(index)))[0])


def test_worker_processes_change_nothing(source):
    (one,), (other,) = batches(source, 1), batches(source, 1, num_workers=1)
    np.testing.assert_array_equal(one["audio"], other["audio"])
