"""The parts of a sweep's page that are words: what failed, what to know, how it was computed."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from vlp.evals.writing import count, escape
from vlp.sweeps.names import titled
from vlp.sweeps.page.board import Board
from vlp.sweeps.protocol import told_apart
from vlp.sweeps.sets import EvalSet

_SHOWN = 6  # names of models behind a note


def failures(board: Board) -> str:
    """A section with a line a reason; "" where nothing failed."""
    by: dict[str, list[str]] = {}
    for row in board.rows:
        if "failed" in row:
            what = row["set"] if row["task"] == "-" else f"{row['set']}, {row['task']}"
            model = titled(board.short[row["model"]], row["step"])
            by.setdefault(f"{what}: {row['failed']}", []).append(model)
    if not by:
        return ""
    lines = "".join(f"<p class=failed>{escape(f'{what} ({_list(by[what])})')}</p>" for what in by)
    return f"<section><h2>What failed</h2>{lines}</section>"


def notes(board: Board) -> str:
    """A section with what a reader of the scores should know; "" where there is nothing."""
    by: dict[str, dict[str, list[str]]] = {}
    for row in board.rows:
        for note in row.get("notes", ()):
            model = titled(board.short[row["model"]], row["step"])
            by.setdefault(row["set"], {}).setdefault(note, []).append(model)
    judged = {
        name: len({(r["model"], r["step"]) for r in board.rows if r["set"] == name}) for name in by
    }
    items = "".join(
        f"<li><b>{escape(name)}</b>: {escape(note)}"
        f"{'' if len(set(models)) == judged[name] else escape(f' ({_list(models)})')}</li>"
        for name, said in by.items()
        for note, models in said.items()
    )
    for name, task in board.places:
        rows = [r for r in board.rows if (r["set"], r["task"]) == (name, task)]
        if others := told_apart(rows):
            said = f"{task} is not to be compared, models differ in {', '.join(others)}."
            items += f"<li><b>{escape(name)}</b>: {escape(said)}</li>"
    if board.hidden:
        items += f"<li>{count(board.hidden)} rows with other settings are in results.csv only.</li>"
    return f'<section><h2>Notes</h2><ul class="said">{items}</ul></section>' if items else ""


def protocol(board: Board, sets: Mapping[str, EvalSet]) -> str:
    """A section on models, sets and versions."""
    blocks = [
        _facts("Models", _models(board)),
        _facts("Sets", _sets(board, sets)),
        _facts("Computed", _computed(board)),
    ]
    return (
        f'<section><h2>How it was computed</h2><div class="facts">{"".join(blocks)}</div></section>'
    )


def _models(board: Board) -> dict[str, str]:
    found = {}
    for model, steps in board.steps.items():
        row = next((r for r in board.rows if r["model"] == model and "dtype" in r), {})
        said = [model, f"{row['weights']} in {row['dtype']}" if row else "could not be opened"]
        if len(steps) > 1:
            said.append(
                f"{len(steps)} checkpoints, {count(steps[0] or 0)} to {count(steps[-1] or 0)}"
            )
        found[board.short[model]] = "; ".join(said)
    return found


def _sets(board: Board, sets: Mapping[str, EvalSet]) -> dict[str, str]:
    found = {}
    for name, task in board.places:
        row = next(
            (r for r in board.rows if (r["set"], r["task"]) == (name, task) and "failed" not in r),
            None,
        )
        if row is None:
            continue
        said = [f"{count(n)} {what.replace('_', ' ')}" for what, n in row["counts"].items() if n]
        own = sets.get(name)
        if own is not None and task == "classification" and own.templates:
            more = f" and {len(own.templates) - 1} more" if len(own.templates) > 1 else ""
            said.append(f"“{own.templates[0]}”{more}")
        settings = {k: v for k, v in row["settings"].items() if k not in ("pictures", "limit")}
        said += [f"{key} {_value(value)}" for key, value in settings.items()]
        found[f"{name}, {task}"] = "; ".join([f"split {row['split']}", *said])
    return found


def _computed(board: Board) -> dict[str, str]:
    seconds = sum(sum(row.get("seconds", {}).values()) for row in board.rows)
    every: dict[str, set[str]] = {name: set() for name in ("pictures", "limit", "ties", "versions")}
    for row in board.rows:
        settings = row.get("settings", {})
        every["pictures"].add(str(settings.get("pictures", "")))
        every["ties"].add(str(settings.get("ties", "lost")))
        every["limit"].add(count(settings["limit"]) if settings.get("limit") else "all")
        every["versions"].add(", ".join(f"{k} {v}" for k, v in row.get("versions", {}).items()))
    return {
        "pictures decoded": _list(sorted(every["pictures"])),
        "pictures a set": _list(sorted(every["limit"])),
        "ties": _list(sorted(every["ties"])),
        "time": f"{count(round(seconds))} s",
        "versions": _list(sorted(every["versions"])),
    }


def _facts(name: str, values: Mapping[str, str]) -> str:
    items = "".join(
        f"<div><dt>{escape(key)}</dt><dd>{escape(value)}</dd></div>"
        for key, value in values.items()
    )
    return f"<section><h3>{name}</h3><dl>{items}</dl></section>" if items else ""


def _value(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _list(names: Iterable[str]) -> str:
    every = list(dict.fromkeys(names))
    more = f" and {len(every) - _SHOWN} more" if len(every) > _SHOWN else ""
    return ", ".join(every[:_SHOWN]) + more
