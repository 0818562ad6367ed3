"""Writes the page of a sweep, and that of a comparison."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from vlp.evals.page import document
from vlp.evals.writing import count, escape
from vlp.files import write_text
from vlp.sweeps.compare import Comparison, compare
from vlp.sweeps.page import words
from vlp.sweeps.page.board import DRAWN, Board, Row
from vlp.sweeps.page.differences import difference_section
from vlp.sweeps.page.heat import heat_map
from vlp.sweeps.page.sets import set_sections
from vlp.sweeps.page.style import STYLE
from vlp.sweeps.page.trends import parallel_lines, trends
from vlp.sweeps.samples import SampleStore
from vlp.sweeps.sets import EvalSet

NAME, COMPARED = "index.html", "compare.html"


def write_page(
    folder: Path,
    rows: Iterable[Row],
    *,
    sets: Mapping[str, EvalSet] | None = None,
    draws: int = 1000,
    seed: int = 0,
) -> None:
    """Writes index.html, self-contained: it loads nothing, runs nothing, and follows dark mode.

    Args:
        folder: of the sweep.
        rows: of its log.
        sets: that are open, by name, for pictures and names of classes.
        draws: of the bootstrap behind comparisons; 0 for none.
        seed: of the draws.
    """
    board = Board(rows)
    store = SampleStore(folder / "samples")
    sets = sets or {}
    compared = _best_against_others(board, store, draws=draws, seed=seed) if draws else None
    sections = [
        heat_map(board),
        parallel_lines(board),
        trends(board),
        difference_section(compared, title="The best against the others") if compared else "",
        set_sections(board, store, sets),
        words.failures(board),
        words.notes(board),
        words.protocol(board, sets),
    ]
    _write(folder / NAME, "Zero-shot sweep", _lead(board), "\n".join(filter(None, sections)))


def write_comparison(folder: Path, found: Comparison) -> None:
    """Writes compare.html.

    Args:
        folder: of the sweep.
        found: what was compared.
    """
    section = difference_section(found, title="Differences")
    _write(folder / COMPARED, "Models compared", "", section)


def _write(path: Path, title: str, lead: str, sections: str) -> None:
    body = f"<header><h1>{title}</h1>{lead}</header>\n<main>{sections}</main>\n<footer></footer>"
    write_text(path, document(title=title, body=body, style=STYLE))


def _lead(board: Board) -> str:
    models, sets = len(board.models), len({name for name, _ in board.places})
    steps = sum(map(len, board.steps.values()))
    failed = sum("failed" in row for row in board.rows)
    days = sorted({row["time"][:10] for row in board.rows if row.get("time")})
    said = [
        f"{count(models)} model{'s' * (models != 1)}"
        + (f" at {count(steps)} checkpoints" if steps > models else ""),
        f"{count(sets)} set{'s' * (sets != 1)}",
        f"{count(len(board.rows))} rows" + (f", {count(failed)} of them failed" if failed else ""),
    ]
    date = f" {' to '.join(dict.fromkeys((days[0], days[-1])))}." if days else ""
    return f'<p class="lead">{escape(", ".join(said[:2]))}: {escape(said[2])}.{date}</p>'


def _best_against_others(
    board: Board, store: SampleStore, *, draws: int, seed: int
) -> Comparison | None:
    """The model that is best on average against the others, at their last steps."""
    if len(board.models) < 2:
        return None
    ways = {
        model: [board.way(model, place) or 0.0 for place in board.places] for model in board.models
    }
    order = sorted(board.models, key=lambda model: -sum(ways[model]))[:DRAWN]
    first, *others = [(model, board.steps[model][-1]) for model in order]
    return compare(
        board.rows, store, first=first, others=others, draws=draws, seed=seed, main_only=True
    )
