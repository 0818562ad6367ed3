"""The tidy table of a sweep, a row a metric: JSON lines, parquet, CSV, and markdown for a paper.

docs/evaluation.md says what the columns are.
"""

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from vlp.evals.writing import Number, percent, plain
from vlp.files import write_bytes, write_text, write_whole
from vlp.sweeps.names import short_names, titled
from vlp.sweeps.protocol import told_apart

COLUMNS = (
    "model", "step", "samples_seen", "weights", "dtype", "set", "split", "group", "task", "metric",
    "main", "value", "low", "high", "template_low", "template_high", "if_ties_hit", "chance",
    "samples", "settings", "seconds", "failed", "notes", "versions", "time", "source",
    "fingerprint",
)  # fmt: skip
_OF = ("model", "step", "set", "split", "task")
_NUMBERS = (
    "value", "low", "high", "template_low", "template_high", "if_ties_hit", "chance", "seconds",
)  # fmt: skip
_WHOLE = ("step", "samples_seen", "samples")


def current(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The rows of a log that count, by model, step, set and task, then the newest last.

    Of rows of the same model, set, task and settings the newest counts: others are of data, weights
    or prompts that changed. A set that could not be opened once, and was judged later, did not
    fail.
    """
    newest: dict[str, dict[str, Any]] = {}
    for row in rows:
        parts = [*(row.get(name) for name in _OF), row.get("settings")]
        of = json.dumps(parts, sort_keys=True)
        newest.pop(of, None)
        newest[of] = dict(row)
    opened = {(row["model"], row["step"], row["set"]) for row in newest.values() if _opened(row)}
    found = [
        row
        for row in newest.values()
        if _opened(row) or (row["model"], row["step"], row["set"]) not in opened
    ]
    return sorted(found, key=lambda row: (row["model"], row["step"] or 0, row["set"], row["task"]))


def place_of(row: Mapping[str, Any]) -> tuple[str, int | None, str, str]:
    """Where the main metric of a row stands: by model, step, set and task."""
    return row["model"], row["step"], row["set"], row["task"]


def main_metric(row: Mapping[str, Any]) -> str:
    """The metric that stands for a row; "" where it has none.

    The first one, where the main metric of the set is one of another task.
    """
    metrics = row.get("metrics", {})
    name = row.get("main", "").removeprefix(f"{row['task']}/")
    return name if name in metrics else next(iter(metrics), "")


def tidy(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A row a metric of the rows of a log; of a task that failed one without a value."""
    found: list[dict[str, Any]] = []
    for row in rows:
        common = {name: row.get(name) for name in COLUMNS}
        common["seconds"] = sum(row.get("seconds", {}).values()) or None
        common["samples"] = row.get("counts", {}).get("pictures")
        common["settings"] = json.dumps(row.get("settings", {}), sort_keys=True)
        common["notes"] = " | ".join(row.get("notes", ()))
        common["versions"] = json.dumps(row.get("versions", {}), sort_keys=True)
        if "failed" in row:
            found.append(common | {"metric": "", "main": False})
            continue
        main = main_metric(row)
        for name, scores in row["metrics"].items():
            found.append(common | scores | {"metric": name, "main": name == main})
    return found


def write_tables(folder: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Writes results.jsonl, results.parquet, results.csv and table.md, each whole.

    Args:
        folder: of the sweep.
        rows: of its log.
    """
    counting = current(rows)
    table = tidy(counting)
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in table)
    write_text(folder / "results.jsonl", lines)
    write_bytes(folder / "results.csv", _csv(table))
    kinds = dict.fromkeys(COLUMNS, pa.string()) | dict.fromkeys(_NUMBERS, pa.float64())
    kinds |= dict.fromkeys(_WHOLE, pa.int64()) | {"main": pa.bool_()}
    columns = pa.Table.from_pylist(table, schema=pa.schema([(c, kinds[c]) for c in COLUMNS]))
    write_whole(folder / "results.parquet", lambda partial: pq.write_table(columns, partial))
    write_text(folder / "table.md", markdown(counting))


def markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """The main metric of every set by model in percent, the best of a set bold, for a paper.

    Where models were judged by different protocols none is the best, and a line below says so.
    """
    places = list(dict.fromkeys((row["set"], row["task"]) for row in rows if "failed" not in row))
    short = short_names(row["model"] for row in rows)
    models = list(dict.fromkeys((row["model"], row["step"]) for row in rows))
    shown = {place_of(row): row for row in rows}
    values = {place: _value(row) for place, row in shown.items()}
    apart = {
        (name, task): told_apart(row for of, row in shown.items() if of[2:] == (name, task))
        for name, task in places
    }
    head = ["model", *(_column(rows, name, task) for name, task in places)]
    lines = [head, ["---", *["---:"] * len(places)]]
    best: dict[tuple[str, str], Number] = {}
    for (*_, name, task), value in values.items():
        if value is not None and not apart[name, task]:
            best[name, task] = max(value, best.get((name, task), value))
    for model, step in models:
        own = [_percent(values.get((model, step, *place)), best.get(place)) for place in places]
        lines.append([titled(short[model], step), *own])
    table = "".join(
        f"| {' | '.join(plain(cell).replace('|', '/') for cell in line)} |\n" for line in lines
    )
    return table + "".join(
        f"\n{plain(name)}, {task}: not to be compared, models differ in {', '.join(others)}.\n"
        for (name, task), others in apart.items()
        if others
    )


def _opened(row: Mapping[str, Any]) -> bool:
    return row["task"] != "-"


def _column(rows: Sequence[Mapping[str, Any]], name: str, task: str) -> str:
    row = next(r for r in rows if (r["set"], r["task"]) == (name, task) and "failed" not in r)
    return f"{name}, {main_metric(row)}"


def _value(row: Mapping[str, Any]) -> Number | None:
    return row.get("metrics", {}).get(main_metric(row), {}).get("value")


def _percent(value: Number | None, best: Number | None) -> str:
    if value is None:
        return "-"
    written = percent(value).removesuffix(" %")
    return f"**{written}**" if value == best else written


def _csv(table: Sequence[Mapping[str, Any]]) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(table)
    return text.getvalue().encode("utf-8")
