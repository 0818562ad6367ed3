"""Nothing that comes out of data, configs or weights can be run: how the code itself is written."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FILES = sorted(
    path
    for name in ("vlp", "data_pipelines", "experiments")
    for path in (ROOT / name).rglob("*.py")
)
READERS = {"pickle", "cPickle", "dill", "joblib", "cloudpickle", "marshal", "shelve", "yaml"}
# What a program hands to worker processes of its own, and they to it; never a file.
BETWEEN_PROCESSES = {"data_pipelines/workers.py": ["import pickle"]}
RUNNERS = {"eval", "exec", "compile", "__import__"}


def faults(tree):
    """What could run what is read, or what is named in a text, in a module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (f"import {a.name}" for a in node.names if a.name.split(".")[0] in READERS)
        elif isinstance(node, ast.ImportFrom):
            if (node.module or "").split(".")[0] in READERS:
                yield f"from {node.module}"
        elif isinstance(node, ast.Call):
            yield from _of_call(node)


def _of_call(node):
    words = {word.arg: word.value for word in node.keywords}
    if isinstance(node.func, ast.Name) and node.func.id in RUNNERS:
        yield node.func.id
    called = ast.unparse(node.func)
    if called in ("np.load", "numpy.load"):
        if ast.unparse(words.get("allow_pickle", ast.Constant(True))) != "False":
            yield "np.load without allow_pickle=False"
    if (
        called == "torch.load"
        and ast.unparse(words.get("weights_only", ast.Constant(False))) != "True"
    ):
        yield "torch.load without weights_only=True"
    own = "f'{__name__}."  # the files of a package that lists itself
    if called == "importlib.import_module" and not ast.unparse(node.args[0]).startswith(("'", own)):
        yield "import_module of a name that is not written there"


def test_nothing_that_is_read_can_be_run():
    found = {
        str(path.relative_to(ROOT)): [*faults(ast.parse(path.read_text(encoding="utf-8")))]
        for path in FILES
    }
    assert len(found) > 300
    assert {path: each for path, each in found.items() if each} == BETWEEN_PROCESSES


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "from yaml import load",
        "eval(x)",
        "np.load(p)",
        "np.load(p, allow_pickle=True)",
        "torch.load(p)",
        "importlib.import_module(name)",
    ],
)
def test_what_could_be_is_seen(code):
    assert len([*faults(ast.parse(code))]) == 1
