"""The jobs of `vlp data` where Apache Beam is not installed, as in most environments."""

import importlib.util

import pytest

from vlp.cli.main import main


@pytest.mark.skipif(importlib.util.find_spec("apache_beam") is not None, reason="Beam is there")
@pytest.mark.parametrize("job", ["stats", "inspect", "dedup", "convert", "reshard"])
def test_a_job_says_what_to_install_and_writes_nothing(tmp_path, capsys, job):
    out = tmp_path / "out"
    assert main(["data", job, "--data=emoji:twemoji", f"--out={out}"]) == 1
    assert "pip install 'vlp[jobs]'" in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize("job", ["stats", "convert", "dedup", "filter", "balance", "label"])
def test_the_help_of_a_job_has_its_command_and_says_that_it_goes_on(capsys, job):
    with pytest.raises(SystemExit):
        main(["data", job, "--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert f"data {job} --data=" in said and "start the same command again" in said
