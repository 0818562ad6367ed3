"""Prompt templates by name and from files."""

import pytest

from vlp.evals.prompts import TEMPLATES, templates


@pytest.mark.parametrize("name", TEMPLATES)
def test_every_template_has_one_place_for_the_name(name):
    assert all(template.count("{}") == 1 for template in templates(name))


def test_eighty_different_prompts_hold_the_best_seven():
    assert len(set(TEMPLATES["clip80"])) == len(TEMPLATES["clip80"]) == 80
    assert set(TEMPLATES["clip7"]) < set(TEMPLATES["clip80"])


def test_a_file_gives_its_lines_without_comments(tmp_path):
    path = tmp_path / "own.txt"
    path.write_text("# mine\na drawing of {}\n\n  ünï {} \n", encoding="utf-8")
    assert templates(str(path)) == ("a drawing of {}", "ünï {}")


@pytest.mark.parametrize(
    "text", ["no place\n", "{} and {}\n", "{c} or {}\n", "a {{}} photo", "a {{c}}", "{} of }}"]
)
def test_a_file_without_exactly_one_place_a_line_not_in_doubled_braces_is_refused(tmp_path, text):
    path = tmp_path / "own.txt"
    path.write_text(text)
    with pytest.raises(ValueError, match="must hold one {} for the class name"):
        templates(str(path))


def test_an_unknown_set_names_the_known_ones():
    with pytest.raises(
        ValueError, match="one of simple, emoji, photo, clip7, clip80 or a file.*'smiple'"
    ):
        templates("smiple")


@pytest.mark.parametrize("place", ["{}", "{c}", "{classname}", "{0}"])
def test_the_place_of_the_name_may_have_a_name(tmp_path, place):
    path = tmp_path / "own.txt"
    path.write_text(f"a drawing of {place}.\n{place}\n")
    assert templates(str(path)) == ("a drawing of {}.", "{}")


def test_a_json_list_is_read_as_it_stands_quotes_and_commas_included(tmp_path):
    path = tmp_path / "own.json"
    path.write_text('\ufeff["a {c}, seen from above,", "the word \\"{}\\""]', encoding="utf-8")
    assert templates(str(path)) == ("a {}, seen from above,", 'the word "{}"')


@pytest.mark.parametrize(
    "line",
    ['"a {}."', '"a {}.",', "'a {}'", "a {},", 'a {}"', "f'a {}'", "[", "lambda c: f'a {c}.'"],
)
def test_what_was_copied_out_of_a_program_is_refused_with_its_line(tmp_path, line):
    path = tmp_path / "own.txt"
    path.write_text(f"# mine,\na kid's {{}}\n{line}\n")
    with pytest.raises(ValueError, match="own.txt, line 3: the words alone"):
        templates(str(path))


def test_lists_by_data_set_are_refused_with_their_names(tmp_path):
    path = tmp_path / "own.json"
    path.write_text('{"cifar10": ["a {c}"], "mnist": ["{c}"]}')
    with pytest.raises(ValueError, match="must be a list of templates, got dict with cifar10, mn"):
        templates(str(path))


def test_an_empty_file_is_refused(tmp_path):
    path = tmp_path / "own.txt"
    path.write_text("# nothing\n")
    with pytest.raises(ValueError, match="must hold one template at least"):
        templates(str(path))
