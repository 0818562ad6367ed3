"""The tidy table of a sweep, a row a metric: JSON lines, parquet, CSV, and markdown for a paper."""

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from vlp.evals.writing import percent, plain
from vlp.files import write_bytes, write_text, write_whole

COLUMNS = (
    "model", "step", "weights", "dtype", "set", "split", "group", "task", "metric", "main",
    "value", "low", "high", "if_ties_hit", "chance", "samples", "settings", "seconds", "failed",
    "notes", "versions", "time", "source", "fingerprint",
)  # fmt: skip
_NUMBERS = ("value", "low", "high", "if_ties_hit", "chance", "seconds")
_WHOLE = ("step", "samples")


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
        for name, scores in row["metrics"].items():
            found.append(common | scores | {"metric": name, "main": name == row["main"]})
    return found


def write_tables(folder: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Writes results.jsonl, results.parquet and results.csv, each whole.

    Args:
        folder: of the sweep.
        rows: of its log.
    """
    table = tidy(rows)
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in table)
    write_text(folder / "results.jsonl", lines)
    write_bytes(folder / "results.csv", _csv(table))
    kinds = dict.fromkeys(COLUMNS, pa.string()) | dict.fromkeys(_NUMBERS, pa.float64())
    kinds |= dict.fromkeys(_WHOLE, pa.int64()) | {"main": pa.bool_()}
    columns = pa.Table.from_pylist(table, schema=pa.schema([(c, kinds[c]) for c in COLUMNS]))
    write_whole(folder / "results.parquet", lambda partial: pq.write_table(columns, partial))


def markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """The main metric of every set by model, as a table for a paper."""
    sets = list(dict.fromkeys((row["set"], row["task"]) for row in rows))
    models = list(dict.fromkeys((row["model"], row["step"]) for row in rows))
    cells = {(row["model"], row["step"], row["set"], row["task"]): _main(row) for row in rows}
    head = ["model", *(f"{name}, {task}" if task != "-" else name for name, task in sets)]
    lines = [head, ["---", *["---:"] * len(sets)]]
    for model, step in models:
        title = model if step is None else f"{model}@{step}"
        lines.append([title, *(cells.get((model, step, *place), "") for place in sets)])
    return "".join(
        f"| {' | '.join(plain(cell).replace('|', '/') for cell in line)} |\n" for line in lines
    )


def _main(row: Mapping[str, Any]) -> str:
    if "failed" in row:
        return "failed"
    value = row["metrics"].get(row["main"], {}).get("value")
    return "" if value is None else percent(value).removesuffix(" %")


def _csv(table: Sequence[Mapping[str, Any]]) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(table)
    return text.getvalue().encode("utf-8")
