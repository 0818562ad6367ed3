"""Files and folders written whole."""

import json

import pytest

from vlp.files import remove_partials, whole_folder, write_json, write_text, write_whole


def test_a_number_that_json_has_not_leaves_the_old_file(tmp_path):
    path = tmp_path / "eval.json"
    write_json(path, {"a": 1})
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(path, {"a": float("nan")})
    assert json.loads(path.read_text()) == {"a": 1}


def test_a_failed_write_leaves_nothing_behind(tmp_path):
    target = tmp_path / "folder"
    target.mkdir()
    with pytest.raises(OSError):
        write_text(target, "a folder cannot be replaced by a file")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_two_writers_of_one_file_leave_each_other_alone(tmp_path):
    path = tmp_path / "a.bin"

    def outer(partial):
        write_whole(path, lambda inner: inner.write_bytes(b"inner"))
        partial.write_bytes(b"outer")

    write_whole(path, outer)
    assert path.read_bytes() == b"outer" and list(tmp_path.iterdir()) == [path]


def test_json_is_for_people_too_and_its_folder_is_made(tmp_path):
    path = tmp_path / "new" / "folder" / "a.json"
    write_json(path, {"name": "café 日本", "sizes": [1, 2]})
    wanted = '{\n  "name": "café 日本",\n  "sizes": [\n    1,\n    2\n  ]\n}\n'
    assert path.read_bytes() == wanted.encode()


def test_what_a_killed_writer_left_goes_and_what_others_write_stays(tmp_path):
    left, other = tmp_path / ".a.json.0123.partial", tmp_path / ".b.json.0123.partial"
    for path in (left, other, tmp_path / "a.json"):
        path.touch()
    remove_partials(tmp_path, of="a.json")
    assert sorted(path.name for path in tmp_path.iterdir()) == [other.name, "a.json"]
    remove_partials(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_a_folder_takes_its_place_only_once_it_is_whole(tmp_path):
    path = tmp_path / "new" / "out"
    for text in ("first", "second"):
        with whole_folder(path) as partial:
            (partial / "a").write_text(text)
            assert text == "first" or (path / "a").read_text() == "first"
        assert (path / "a").read_text() == text
    with pytest.raises(OSError, match="No space left .*out"):
        with whole_folder(path) as partial:
            (partial / "a").write_text("third")
            raise OSError(28, "No space left on device")
    assert (path / "a").read_text() == "second"
    assert list(path.parent.iterdir()) == [path]


def test_a_folder_that_a_killed_writer_left_is_not_in_the_way(tmp_path):
    (tmp_path / ".out.partial").mkdir()
    (tmp_path / ".out.partial" / "half").touch()
    with whole_folder(tmp_path / "out"):
        pass
    assert not list((tmp_path / "out").iterdir())
