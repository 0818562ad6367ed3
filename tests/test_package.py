"""The package from outside: how it is installed to be worked on, and what its door says."""

import inspect
import subprocess
import sys
import zipfile
from pathlib import Path

import vlp
from vlp.interop.load import load_run

ROOT = Path(__file__).parent.parent
BUILD = "import sys; from setuptools import build_meta; build_meta.build_editable(sys.argv[1])"
# Without site-packages, where another vlp may be: the working directory, then what is added.
SEEN = "import sys; sys.path[:0] = ['']; sys.path.append(sys.argv[1]); import vlp; print(vlp.load)"


def test_beside_a_clone_the_package_is_the_package(tmp_path):
    """A folder of the name vlp in the working directory looks like a package without content."""
    clone = tmp_path / "vlp"
    clone.mkdir()
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        (clone / name).write_bytes((ROOT / name).read_bytes())
    for name in ("vlp", "data_pipelines", "experiments"):
        (clone / name).mkdir()
        (clone / name / "__init__.py").write_text("load = 'the package'\n")
    (clone / "vlp" / "version.py").write_text("__version__ = '1'\n")
    python("-c", BUILD, str(tmp_path), cwd=clone)
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        added = [name for name in wheel.namelist() if ".dist-info" not in name]
        assert len(added) == 1 and added[0].endswith(".pth")
        path = wheel.read(added[0]).decode().strip()
    assert python("-IS", "-c", SEEN, path, cwd=tmp_path) == "the package\n"


def python(*args, cwd):
    done = subprocess.run([sys.executable, *args], cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_help_on_load_says_what_every_argument_is():
    ours, theirs = (inspect.signature(function).parameters for function in (vlp.load, load_run))
    assert [*ours, "accept"] == list(theirs)  # what an export accepts is its own business
    for name, parameter in ours.items():
        assert parameter.default == theirs[name].default
        assert name in inspect.getdoc(vlp.load).partition("Args:")[2].partition("Returns:")[0]
