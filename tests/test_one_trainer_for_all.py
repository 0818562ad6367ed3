"""Training, evaluation and data know no method by its name: a model is what it offers."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FILES = [
    path for tree in ("vlp/training", "vlp/evals", "data_pipelines") for path in
    sorted((ROOT / tree).rglob("*.py"))
]  # fmt: skip
METHODS = re.compile(r"albef|blip|coca|vlmo", re.IGNORECASE)
CLASSES = {"Clip", "CLIP", "SigLip", "SigLIP"}  # CLIP's tokenizer and its prompts have its name


def words(tree):
    """The names and the texts of a module, without its docstrings."""
    docstrings = {
        id(node.value) for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }  # fmt: skip
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            if id(node) not in docstrings:
                yield node.value
        elif isinstance(node, ast.alias):
            yield from node.name.split(".")
        elif isinstance(node, ast.ImportFrom):
            yield from (node.module or "").split(".")
        for field in ("id", "attr", "name", "arg"):
            if isinstance(value := getattr(node, field, None), str):
                yield value


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_method_is_named(path):
    found = set(words(ast.parse(path.read_text(encoding="utf-8"))))
    assert not {word for word in found if METHODS.search(word)}
    assert not found & CLASSES


def test_a_name_would_be_found():
    code = 'from vlp.models.albef import X\n"BLIP in a docstring"\ny = Clip(kind="coca", vlmo=1)'
    found = set(words(ast.parse(code)))
    assert {"albef", "coca", "vlmo", "Clip"} <= found and "BLIP in a docstring" not in found
