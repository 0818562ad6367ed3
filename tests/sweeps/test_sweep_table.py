"""The tidy table of a sweep: which rows count, and what other programs read of it."""

import json

import pyarrow.parquet as pq
import pytest
from pyarrow import csv

from vlp.sweeps.names import find_model, short_names
from vlp.sweeps.table import COLUMNS, current, main_metric, markdown, write_tables


def row(model="runs/a", *, step=1, name="s", task="classification", value=0.5, **changed):
    return {
        "key": "k", "model": model, "step": step, "samples_seen": step and 256 * step, "set": name,
        "split": "test", "group": "g", "task": task, "main": "top1", "settings": {"limit": 0},
        "fingerprint": "f", "versions": {"vlp": "1"}, "time": "2026-07-01T00:00:00Z",
        "dtype": "float32", "weights": "ema", "seconds": {"embedding": 1.0, "task": 0.5},
        "metrics": {
            "top1": {
                "value": value, "chance": 0.1, "low": 0.4, "high": 0.6, "if_ties_hit": value,
                "template_low": 0.3, "template_high": 0.55,
            },
            "f1": {"value": None, "chance": None},
        },
        "counts": {"pictures": 7}, "notes": ["a, note", "another"],
    } | changed  # fmt: skip


def failed(**changed):
    return {k: v for k, v in row(**changed).items() if k != "metrics"} | {"failed": "it's not"}


def test_rows_come_by_model_step_and_set():
    rows = [row("b"), row("a", step=20), row("a", step=3, name="z"), row("a", step=3, name="c")]
    assert [(r["model"], r["step"], r["set"]) for r in current(rows)] == [
        ("a", 3, "c"), ("a", 3, "z"), ("a", 20, "s"), ("b", 1, "s"),
    ]  # fmt: skip


def test_the_newest_row_of_the_same_settings_counts():
    rows = [row(value=0.1), row(value=0.2, settings={"limit": 9}), row(value=0.3)]
    assert [r["metrics"]["top1"]["value"] for r in current(rows)] == [0.2, 0.3]


def test_of_several_settings_the_paper_s_table_shows_those_that_came_last():
    rows = [row(value=0.1), row(value=0.2, settings={"limit": 9}), row(value=0.3)]
    assert markdown(current(rows)).splitlines()[-1] == "| a@1 | **30.0** |"


def test_a_set_that_was_opened_later_did_not_fail():
    once = failed(task="-")
    assert [r["task"] for r in current([once, row()])] == ["classification"]
    assert [r["task"] for r in current([once, row("runs/b")])] == ["-", "classification"]


@pytest.mark.parametrize(
    ("main", "found"),
    [("f1", "f1"), ("classification/f1", "f1"), ("retrieval/R@1", "top1"), ("", "top1")],
)
def test_the_main_metric_is_that_of_the_set_or_the_first_of_the_task(main, found):
    assert main_metric(row(main=main)) == found


def test_all_files_say_the_same(tmp_path):
    rows = [row(), row("b", step=None), failed(model="c", name='t, "quoted"')]
    write_tables(tmp_path, rows)
    lines = (tmp_path / "results.jsonl").read_text().splitlines()
    table = [json.loads(line) for line in lines]
    assert len(table) == 5
    assert pq.read_table(tmp_path / "results.parquet").to_pylist() == table
    assert all(tuple(line) == COLUMNS for line in table)
    first = next(line for line in table if (line["model"], line["metric"]) == ("runs/a", "top1"))
    assert first["value"] == 0.5 and first["main"] and first["samples_seen"] == 256
    assert (first["template_low"], first["template_high"]) == (0.3, 0.55)
    assert next(line for line in table if line["metric"] == "f1")["template_low"] is None
    assert first["seconds"] == 1.5 and first["samples"] == 7


def test_another_reader_finds_the_same_in_csv_as_in_parquet(tmp_path):
    write_tables(tmp_path, [row(), failed(model="c", name='t, "quoted"\nand more')])
    read = csv.read_csv(
        tmp_path / "results.csv", parse_options=csv.ParseOptions(newlines_in_values=True)
    )
    parquet = pq.read_table(tmp_path / "results.parquet")
    assert read.column_names == parquet.column_names == list(COLUMNS)
    for name in ("value", "low", "template_low", "step", "samples", "set", "model", "main"):
        assert read[name].to_pylist() == parquet[name].to_pylist()


def test_no_rows_are_a_table_as_well(tmp_path):
    write_tables(tmp_path, [])
    assert pq.read_table(tmp_path / "results.parquet").num_rows == 0


def test_the_paper_s_table_marks_the_best_and_shortens_names():
    rows = [row("runs/a", value=0.25), row("runs/b", value=0.5), failed(model="runs/c")]
    assert markdown(rows).splitlines() == [
        "| model | s, top1 |",
        "| --- | ---: |",
        "| a@1 | 25.0 |",
        "| b@1 | **50.0** |",
        "| c@1 | - |",
    ]


@pytest.mark.parametrize(
    ("changed", "said"),
    [({"settings": {"limit": 9}}, "limit"), ({"protocol": {"prompts": "other"}}, "prompts")],
)
def test_among_scores_of_different_protocols_none_is_the_best(changed, said):
    rows = [row("runs/a", protocol={"prompts": "p"}), row("runs/b", value=0.7)]
    rows[1] |= {"protocol": {"prompts": "p"}} | changed
    *table, _, last = markdown(rows).splitlines()
    assert table[2:] == ["| a@1 | 50.0 |", "| b@1 | 70.0 |"]
    assert last == f"s, classification: not to be compared, models differ in {said}."


def test_a_bar_in_a_name_breaks_no_table():
    assert "| a/b@1 |" in markdown([row("a|b")])


def test_names_are_as_short_as_they_can_be():
    assert short_names(["x/run/a", "y/run/a"]) == {"x/run/a": "x/run/a", "y/run/a": "y/run/a"}
    assert short_names(["hf:a/b/"]) == {"hf:a/b/": "b"}


def test_models_are_found_by_the_end_of_their_names():
    rows = [
        row("runs/a", step=1),
        row("runs/a", step=30),
        row("old/a", step=2),
        row("hf:b", step=None),
    ]
    assert find_model("runs/a", rows) == ("runs/a", 30)
    assert find_model("runs/a@1", rows) == ("runs/a", 1)
    assert find_model("a@2", rows) == ("old/a", 2)
    assert find_model("hf:b", rows) == ("hf:b", None)
    for text, said in (("a", "fits several"), ("a@7", "none of them"), ("s/a", "none of them")):
        with pytest.raises(ValueError, match=said):
            find_model(text, rows)
