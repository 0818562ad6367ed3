"""Results of an evaluation: one JSON object, written atomically, and a table for people."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from vlp.evals.writing import Number, count, percent, plain

FORMAT = 1
PARTS = ("metrics", "chance", "low", "high", "counts")
LABELS = {
    **{
        f"{a}_to_{b}": f"{a} → {b}"
        for a in ("text", "image", "audio")
        for b in ("text", "image", "audio")
        if a != b
    },
    "top1": "top-1",
    "top5": "top-5",
    "mean_per_class_recall": "class mean",
    "all": "all pairs",
    "true_pairs": "true pairs",
    "wrong_captions": "wrong captions",
    "wrong_images": "wrong images",
    "auc": "AUC",
    "own_image": "its image",
    "other_image": "another image",
    "masked_words": "masked words",
}
NO_SHARES = ("nats", "CIDEr")  # scores that are no share of anything


@dataclass(frozen=True)
class Cell:
    """One score beside its chance level, both in 0..1 but for `NO_SHARES`."""

    column: str
    value: Number
    chance: Number | None

    @property
    def is_share(self) -> bool:
        """Whether it is in 0..1 and written in percent."""
        return self.column not in NO_SHARES

    def written(self, value: Number | None) -> str:
        """A value of this column for people; "" for none."""
        if value is None:
            return ""
        return percent(value) if self.is_share else f"{value:.2f}"


@dataclass(frozen=True)
class Row:
    """One line of a table: a direction of retrieval, or a whole classification.

    `group` is "" for all queries; `queries` how many there were.
    """

    group: str
    label: str
    queries: int | None
    cells: tuple[Cell, ...]


def make_result(
    task: str,
    scores: Mapping[str, Any],
    *,
    data: str,
    fingerprint: str,
    samples: int,
    rejected: int,
    step: int,
    dtype: str,
    versions: Mapping[str, str],
    settings: Mapping[str, Any] | None = None,
    notes: Sequence[str] = (),
) -> dict[str, Any]:
    """The JSON-able result of one task on one data set.

    Args:
      task: "retrieval", "classification" and so on.
      scores: What the module of that name returned: `PARTS`, where `low` and `high` are the ends of
        95 % intervals by the bootstrap, and for captions `examples`.
      data: Name of the data set, as people say it.
      fingerprint: Hash that identifies the data.
      samples: Samples that were judged.
      rejected: Samples that could not be read.
      step: Training step of the checkpoint.
      dtype: What the model computed in, e.g. "bfloat16".
      versions: Package versions.
      settings: What else decided the score: prompts, captions used, image size.
      notes: Sentences that a reader of the scores should know: what was left out, which classes.
    """
    return {
        "format": FORMAT,
        "task": task,
        "data": data,
        "fingerprint": fingerprint,
        "samples": samples,
        "rejected": rejected,
        "step": step,
        "dtype": dtype,
        "settings": dict(settings or {}),
        "notes": list(notes),
        "versions": dict(versions),
        **{key: dict(scores.get(key, {})) for key in PARTS},
        **({"examples": list(scores["examples"])} if "examples" in scores else {}),
    }


def finite(value: Any) -> Any:
    """A value of JSON with None in the place of each number that is not finite."""
    if isinstance(value, Mapping):
        return {key: finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def table_rows(result: Mapping[str, Any], *, by: str = "") -> list[Row]:
    """The scores of a result as rows of a table, all queries first, then group by group.

    Args:
      result: See `make_result`.
      by: What stands in front of the groups' names, such as "split: ".
    """
    if result["task"] == "classification":
        return _classification_rows(result)
    rows: dict[tuple[str, str], list[Cell]] = {}
    for key, value in result["metrics"].items():
        *group, way, column = key.split("/") if "/" in key else (result["task"], key)
        cell = Cell(column, value, result["chance"].get(key))
        rows.setdefault(("/".join(group), way), []).append(cell)
    return [
        Row(
            _group(result, group, by),
            LABELS.get(way, way),
            result["counts"].get("/".join(filter(None, (group, way, "queries")))),
            tuple(cells),
        )
        for (group, way), cells in rows.items()
    ]


def task_name(result: Mapping[str, Any]) -> str:
    """What people call the task of a result."""
    name = LABELS.get(result["task"], result["task"])
    return f"{name}, reranked" if result["settings"].get("rerank") else name


def print_results(results: Sequence[Mapping[str, Any]], *, console: Console | None = None) -> None:
    """Prints each result as a table: every score in percent beside its chance level."""
    console = console or Console()
    for place, result in enumerate(results):
        if place:
            console.print()
        for note in result.get("notes", ()):
            console.print(Text(plain(note), style="dim"))
        console.print(result_table(result))


def result_table(result: Mapping[str, Any]) -> Table:
    """One result as a table for the terminal."""
    rows = table_rows(result)
    table = Table(
        box=box.SIMPLE_HEAD,
        title=Text(_title(result)),
        title_justify="left",
        show_edge=False,
        collapse_padding=True,
    )
    table.title_style = "bold"
    # Names of groups may be long; "one of 1,000 classes" is not, and its table is wide.
    table.add_column("", no_wrap=result["task"] == "classification")
    table.add_column("queries", justify="right", style="dim")
    for cell in rows[0].cells if rows else ():
        table.add_column(LABELS.get(cell.column, cell.column), justify="right")
        table.add_column("chance", justify="right", style="dim")
    group = ""
    for row in rows:
        if row.group != group:
            table.add_section()
            table.add_row(Text(plain(row.group), style="italic"))
            group = row.group
        values = [cell.written(part) for cell in row.cells for part in (cell.value, cell.chance)]
        table.add_row(row.label, "" if row.queries is None else count(row.queries), *values)
    return table


def _classification_rows(result: Mapping[str, Any]) -> list[Row]:
    chance, counts = result["chance"], result["counts"]
    images, classes = counts.get("images"), counts.get("classes")
    label = "zero-shot" if classes is None else f"one of {count(classes)} classes"
    cells = tuple(Cell(key, value, chance.get(key)) for key, value in result["metrics"].items())
    rows = [Row("", label, images, cells)]
    if "majority_share" in chance:
        commonest = Cell("top1", chance["majority_share"], None)
        rows.append(Row("", "always the commonest", images, (commonest,)))
    return rows


def _group(result: Mapping[str, Any], group: str, by: str) -> str:
    """What people read above the lines of a group."""
    first, _, rest = group.partition("/")
    if first != "reranked":
        return group and f"{by}{group}"
    title = f"best {count(result['settings']['rerank'])} reranked"
    return f"{by}{rest}, {title}" if rest else title


def _title(result: Mapping[str, Any]) -> str:
    field = result["settings"].get("group")
    by = f", by {plain(field)}" if field else ""
    parts = [f"{task_name(result)} on {plain(result['data'])}{by}", f"step {count(result['step'])}"]
    if result["rejected"]:
        parts.append(f"{count(result['rejected'])} samples unreadable")
    return " · ".join(parts)
