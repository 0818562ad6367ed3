import json

import pytest

from tests.interop.tiny import make_run, tokenizer
from vlp.interop.card import FILE, check_tokenizer, read_card, validate_card, write_card


@pytest.fixture(scope="module")
def card():
    return make_run("clip").card


def test_a_card_survives_writing_and_reading(card, tmp_path):
    path = write_card(card, tmp_path)
    assert path.name == FILE
    assert read_card(tmp_path) == card
    assert [p.name for p in tmp_path.iterdir()] == [FILE]


@pytest.mark.parametrize(
    "field", ["model", "model.image", "preprocess", "tokenizer.sha256", "objective", "licence"]
)
def test_a_missing_field_is_named(card, field):
    broken = json.loads(json.dumps(card))
    *path, last = field.split(".")
    place = broken
    for name in path:
        place = place[name]
    del place[last]
    with pytest.raises(ValueError, match=f"must have the field '{field}', found .*build_card"):
        validate_card(broken)


def test_an_unknown_format_names_the_version_that_wrote_it(card):
    with pytest.raises(ValueError, match=r"format 1, got 7; .*\(9\.9\).*update vlp"):
        validate_card(card | {"format": 7, "vlp": "9.9"})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"licence": 3}, "licence must be str, got 3"),
        ({"model": []}, "model must be dict"),
    ],
)
def test_a_wrong_value_is_named(card, change, message):
    with pytest.raises(ValueError, match=message):
        validate_card(card | change)


@pytest.mark.parametrize("file", ["../tokenizer.model", "/etc/passwd"])
def test_a_card_cannot_point_out_of_its_folder(card, file):
    stolen = card | {"tokenizer": card["tokenizer"] | {"file": file}}
    with pytest.raises(ValueError, match="must lie inside the run's folder"):
        validate_card(stolen)


def test_another_tokenizer_is_refused(card):
    check_tokenizer(card, tokenizer())
    other = card | {"tokenizer": card["tokenizer"] | {"sha256": "0" * 64}}
    with pytest.raises(ValueError, match="sha256 must be the card's 0000.*put back the tokenizer"):
        check_tokenizer(other, tokenizer())


@pytest.mark.parametrize("content", ["", "{", "[1, 2]", '"text"', "\xff", "[" * 100_000])
def test_a_file_that_is_no_card_is_a_clear_error(tmp_path, content):
    (tmp_path / FILE).write_bytes(content.encode("latin-1"))
    with pytest.raises(ValueError, match="must be JSON|must be a JSON object"):
        read_card(tmp_path)


def test_a_folder_without_a_card_is_a_clear_error(tmp_path):
    with pytest.raises(ValueError, match="must hold card.json, found none .*workdir"):
        read_card(tmp_path)


def test_values_that_are_no_json_are_refused(card, tmp_path):
    with pytest.raises(ValueError, match="JSON values only"):
        write_card(card | {"preprocess": {"size": float("nan")}}, tmp_path)
    assert not list(tmp_path.iterdir())
