"""Prompt templates by name and from files."""

import pytest

from vlp.evals.prompts import TEMPLATES, templates


@pytest.mark.parametrize("name", TEMPLATES)
def test_every_template_has_one_place_for_the_name(name):
    assert all(template.count("{}") == 1 for template in templates(name))


def test_a_file_gives_its_lines_without_comments(tmp_path):
    path = tmp_path / "own.txt"
    path.write_text("# mine\na drawing of {}\n\n  ünï {} \n", encoding="utf-8")
    assert templates(str(path)) == ("a drawing of {}", "ünï {}")


@pytest.mark.parametrize("text", ["no place\n", "{} and {}\n", "{c} or {}\n"])
def test_a_file_without_exactly_one_place_a_line_is_refused(tmp_path, text):
    path = tmp_path / "own.txt"
    path.write_text(text)
    with pytest.raises(ValueError, match="must hold one {} for the class name"):
        templates(str(path))


def test_an_unknown_set_names_the_known_ones():
    with pytest.raises(ValueError, match="one of simple, emoji, photo, clip7 or a file.*'smiple'"):
        templates("smiple")
