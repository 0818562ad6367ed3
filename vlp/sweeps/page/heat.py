"""The heat map of a sweep: a row a set, a column a model, and means by group."""

from collections.abc import Sequence

from vlp.evals.writing import Number, count, escape, percent
from vlp.sweeps.page.board import Board, Place, Score, label, section_name

_DEEP = 0.55  # from here on the colour is nearer to that of letters than to the paper's


def heat_map(board: Board) -> str:
    """A section with the scores of all models on all sets, coloured."""
    heads = "".join(_head(board, model) for model in board.models)
    body = "".join(
        _group(board, section, places) + "".join(_line(board, place) for place in places)
        for section, places in board.sections().items()
    )
    several = len(board.models) > 1
    best = "the best of the row" if several else "1"
    several_steps = any(len(steps) > 1 for steps in board.steps.values())
    note = "Each model at its last step. " if several_steps else ""
    note += (
        "A number's colour says how far it is on the way from chance to the best; none where its "
        "interval reaches down to chance. Intervals, and why a score is not there, are in the "
        "titles. In italics the mean over a group, of the models that have all of its sets."
    )
    key = f'<p class="key"><span>chance<i class="ramp"></i>{best}</span></p>'
    return (
        f'<section><h2>Scores</h2><p class="note">{note}</p>{key}<div class="wide">'
        f'<table class="heat"><thead><tr><th scope="col">{"in percent" if body else ""}</th>{heads}'
        f"</tr></thead><tbody>{body}</tbody></table></div></section>"
    )


def _head(board: Board, model: str) -> str:
    step = board.steps[model][-1]
    at = "" if step is None else f"<small>step {count(step)}</small>"
    return f'<th scope="col" title="{escape(model)}">{escape(board.short[model])}{at}</th>'


def _group(board: Board, section: tuple[str, str], places: Sequence[Place]) -> str:
    task, group = section
    name = section_name(task, group)
    cells = ""
    for model in board.models:
        mean = board.mean(model, places) if len(places) > 1 else None
        said = f"mean over {len(places)} sets"
        cells += (
            f'<td title="{said}">{percent(mean).removesuffix(" %")}</td>'
            if mean is not None
            else "<td></td>"
        )
    return f'<tr class="group"><th scope="rowgroup">{escape(name)}</th>{cells}</tr>'


def _line(board: Board, place: Place) -> str:
    scores = [board.score(model, place) for model in board.models]
    metric = next((score.metric for score in scores if score is not None and score.metric), "")
    best = board.best(place) if len(board.models) > 1 else None
    cells = "".join(
        _cell(score, board.way(model, place), top=model == best)
        for model, score in zip(board.models, scores, strict=True)
    )
    by = f'<span class="by">{escape(label(metric))}</span>' if metric else ""
    return f'<tr><th scope="row">{escape(place[0])}{by}</th>{cells}</tr>'


def _cell(score: Score | None, way: Number | None, *, top: bool) -> str:
    if score is None:
        return '<td class="none" title="not judged">-</td>'
    title = escape(score.said)
    if score.value is None:
        return f'<td class="fail" title="{title}">{"failed" if score.failed else "none"}</td>'
    part = (way or 0.0) ** 2  # models of a sweep are mostly near each other, and far from chance
    kinds = " ".join(filter(None, ["deep" * (part >= _DEEP), "top" * top]))
    written = score.written(score.value).removesuffix(" %")
    return f'<td class="{kinds}" style="--way:{100 * part:.0f}%" title="{title}">{written}</td>'
