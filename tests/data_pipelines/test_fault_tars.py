"""Tars that lie, and members that would run code: what is read is bounded, and nothing is run."""

import json
import os
import pickle
import tarfile
import time

import numpy as np
import pytest
from data_makers import Noisy, encoded, pair, pairs, pixels, write_tar

from data_pipelines.faults import Reject
from data_pipelines.fields import Pictures
from data_pipelines.loader import make_loader
from data_pipelines.sources import TarSource, build_indexes

PNG = encoded(pixels(0))
FIELDS = {"image": Pictures(Noisy(), size=4)}


def loader(source, **values):
    how = dict(fields=FIELDS, global_batch_size=4, seed=1, num_threads=0, max_reject_share=0.9)
    return make_loader(source, **(how | values))


def rejects(source):
    """Why each sample is rejected; "" where it is not."""
    found = []
    for index in range(len(source)):
        try:
            source[index]
        except Reject as fault:
            found.append(fault.reason)
        else:
            found.append("")
    return found


def test_a_key_in_two_tars_is_two_samples_that_lack_something(tmp_path):
    first = write_tar(tmp_path / "a.tar", [*pair("0", 0), ("split.png", PNG)])
    second = write_tar(tmp_path / "b.tar", [("split.txt", b"words"), *pair("z", 1)])
    source = TarSource([first, second])
    assert rejects(source) == ["", "caption missing", "image missing", ""]
    (survey,) = source.survey()
    assert (survey.without_image, survey.without_caption) == (1, 1)
    assert (survey.image_example, survey.caption_example) == ("b.tar: split", "a.tar: split")


def lying(size):
    """A header that says its member has so many bytes."""
    info = tarfile.TarInfo("x.png")
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    header[124:136] = size
    header[148:156] = b"%06o\0 " % (256 + sum(header) - sum(header[148:156]))
    return bytes(header)


def extended(record):
    """An extended header with a record, in front of an ordinary one."""
    info, body = tarfile.TarInfo("x"), b"%d %s\n" % (len(record) + 4, record)
    info.type, info.size = tarfile.XHDTYPE, len(body)
    filled = body.ljust(-(-len(body) // 512) * 512, b"\0")
    return info.tobuf(tarfile.USTAR_FORMAT) + filled + lying(b"00000000011\0") + bytes(512)


LIES = {
    "8 GiB": lambda: lying(b"77777777777\0"),
    "2^95 bytes": lambda: lying(b"\x80" + b"\x7f" * 11),
    "less than nothing": lambda: lying(b"\xff" * 12),
    "no number": lambda: lying(b"many bytes!\0"),
    "8 EiB by an extended header": lambda: extended(b"size=9223372036854775808"),
    "less than nothing by an extended header": lambda: extended(b"size=-1"),
    "a record longer than its header": lambda: extended(b"path=x")[:512] + b"99999 path=x\n" * 39,
    "an extended header of 1 GB": lambda: extended(b"a=b")[:124] + b"07346545000\0" + bytes(376),
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_a_size_that_lies_costs_no_time_no_memory_and_no_sample_before(tmp_path, lie):
    head = write_tar(tmp_path / "a.tar", pairs(3)).read_bytes()[: 3 * 3 * 1024]
    (tmp_path / "a.tar").write_bytes(head + lie().ljust(1024, b"\0") + bytes(1024))
    paths = [tmp_path / "a.tar", write_tar(tmp_path / "b.tar", pair("z", 9))]
    began = time.process_time()
    source = TarSource(paths)
    found = rejects(source)
    assert time.process_time() - began < 2
    assert found[:2] == ["", ""] and found[-1] == ""
    assert set(found[2:-1]) <= {"shard damaged", "image missing"}
    assert source[0] == TarSource(write_tar(tmp_path / "c.tar", pairs(1)))[0]
    (survey,) = source.survey()
    assert any("rest is left out" in stray.reason for stray in survey.strays)


class Bomb:
    """What makes a file where it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_members_that_would_run_code_are_counted_and_never_opened(tmp_path):
    run = tmp_path / "RUN"
    bomb = pickle.dumps(Bomb(run))
    kinds = ("pyd", "pkl", "pickle", "pt", "pth", "npy", "npz", "cbor", "joblib", "msgpack", "py")
    members = pair("a", 0) + [(f"a.{kind}", bomb) for kind in kinds] + pair("z", 1)
    path = write_tar(tmp_path / "a.tar", members)
    build_indexes([path])
    source = TarSource(path)
    assert [source[index].meta["seed"] for index in range(len(source))] == [0, 1]
    assert sum(stray.count for stray in source.survey()[0].strays) == len(kinds)
    for role in ("txt", "json", "cls", "png", "captions"):
        odd = TarSource(write_tar(tmp_path / f"{role}.tar", pair("a", 0) + [(f"b.{role}", bomb)]))
        for read in (odd.image, odd.captions, odd.meta, odd.audio):
            try:
                read(1)
            except Reject:
                continue
        next(loader(odd))
    assert not run.exists()
    pickle.loads(bomb)  # it would have been seen
    assert run.exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"a": 1, "a": 2}', {"a": 2}),  # the last one, as JSON's readers have it
        ('{"a": ' + "[" * 400 + "]" * 400 + "}", None),
        ('{"a": NaN, "b": -Infinity}', {"a": None, "b": None}),
        ('{"a": 1e400, "b": [-1e400, 1.5]}', {"a": None, "b": [None, 1.5]}),
        ('{"a": ' + "9" * 4000 + "}", None),
        ("[" * 500_000, Reject),
        ('{"a":' * 100_000, Reject),
        ('{"a": ' + "9" * 1_000_000 + "}", Reject),
        ('{"a": "' + "x" * 2**20 + '"}', Reject),
        ('{"a": "\\ud800"}', {"a": "\ud800"}),
    ],
    ids=range(10),
)
def test_json_in_a_sample_is_read_in_bounded_time(tmp_path, text, said):
    members = [("a.png", PNG), ("a.txt", b"words"), ("a.json", text.encode())]
    source = TarSource(write_tar(tmp_path / "a.tar", [*members, *pair("z", 1)]))
    began = time.process_time()
    try:
        found = source.meta(0)
    except Reject as fault:
        assert (said, fault.reason) == (Reject, "metadata invalid")
    else:
        assert said in (None, found)
        json.dumps(found, allow_nan=False)  # as a job writes it
    assert time.process_time() - began < 2
    assert source[0].captions == (b"words",) and source[1].meta == {"seed": 1}


def test_fewer_samples_than_hosts_wrap_around(tmp_path):
    source = TarSource(write_tar(tmp_path / "a.tar", pairs(3)))
    (alone,) = (loader(source, global_batch_size=8) for _ in range(1))
    hosts = [
        loader(source, global_batch_size=8, process_index=i, process_count=8) for i in range(8)
    ]
    for _ in range(3):
        whole, shares = next(alone), [next(host) for host in hosts]
        assert np.concatenate([share["id"] for share in shares]).tolist() == whole["id"].tolist()
        assert whole["weight"].all() and {*whole["id"].tolist()} == {0, 1, 2}


def test_a_tar_of_bad_samples_alone_costs_these(tmp_path):
    bad = [(name, b"" if name.endswith("png") else data) for name, data in pairs(4)]
    paths = [write_tar(tmp_path / "a.tar", pairs(4)), write_tar(tmp_path / "b.tar", bad)]
    paths.append(write_tar(tmp_path / "c.tar", pairs(4)))
    found = loader(TarSource(paths), global_batch_size=12)
    whole = loader(TarSource([paths[0], paths[2], paths[2]]), global_batch_size=12)
    batch, other = next(found), next(whole)
    is_bad = (batch["id"] >= 4) & (batch["id"] < 8)
    assert batch["id"].tolist() == other["id"].tolist()
    assert batch["weight"].tolist() == (~is_bad).astype(float).tolist()
    np.testing.assert_array_equal(batch["image"][~is_bad], other["image"][~is_bad])
    assert found.rejects == {"image empty": 4}
