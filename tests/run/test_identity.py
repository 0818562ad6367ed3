"""Runs that meet on a tracker keep apart; a moved run stays itself."""

import re
import shutil

from vlp.run.identity import display_name, run_identity


def folder(path):
    path.mkdir(parents=True)
    return path


def test_folders_of_one_name_are_two_runs(tmp_path):
    jan, feb = (folder(tmp_path / month / "b16") for month in ("jan", "feb"))
    assert run_identity(jan) != run_identity(feb)
    assert (display_name(jan), display_name(feb)) == ("jan/b16", "feb/b16")


def test_it_is_made_of_what_trackers_allow(tmp_path):
    for name in ("ü/b 16:#?%", "x" * 200, "..."):
        assert re.fullmatch(r"[A-Za-z0-9-]{10,64}", run_identity(folder(tmp_path / "a" / name)))


def test_a_moved_run_keeps_it_and_a_copy_gets_its_own(tmp_path):
    run = folder(tmp_path / "run")
    first = run_identity(run)
    assert run_identity(run) == first
    shutil.copytree(run, tmp_path / "copy")
    second = run_identity(tmp_path / "copy")
    assert second != first and run_identity(tmp_path / "copy") == second
    run.rename(tmp_path / "moved")
    assert run_identity(tmp_path / "moved") == first == run_identity(tmp_path / "moved")


def test_a_damaged_file_is_made_anew(tmp_path):
    run = folder(tmp_path / "run")
    first = run_identity(run)
    (run / "run.json").write_text("{")
    assert run_identity(run) == first
