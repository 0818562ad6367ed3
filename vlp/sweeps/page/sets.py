"""Set by set: the worst classes, the commonest confusions, and where two models differ most."""

from collections.abc import Mapping, Sequence

import numpy as np

from data_pipelines.decode import decode
from data_pipelines.faults import Reject
from vlp.evals import page
from vlp.evals.writing import count, escape
from vlp.sweeps.compare import aligned, shares_of
from vlp.sweeps.names import titled
from vlp.sweeps.page.board import Board, Place, Row, Score, label
from vlp.sweeps.page.mistakes import confusions, furthest_apart, named, worst_classes
from vlp.sweeps.protocol import protocol_of
from vlp.sweeps.samples import VALUE, SampleStore
from vlp.sweeps.sets import EvalSet

SMALL, LARGER = 72, 132  # pixels of pictures
CLASSES, PAIRS, OF_PAIR, APART = 8, 6, 3, 6
OPEN = 4  # so many sets are shown without asking


def set_sections(board: Board, store: SampleStore, sets: Mapping[str, EvalSet]) -> str:
    """A section with a part for every set and task of which samples are kept.

    Args:
        board: the rows.
        store: what was said of the samples.
        sets: that are open, by name; rows of others, or of other pictures or classes, are shown
            without pictures and names of classes.
    """
    parts = [found for place in board.places if (found := _part(board, store, sets, place))]
    if not parts:
        return ""
    drawn = [
        f'<details class="set"{" open" if len(parts) <= OPEN else ""}>{part}</details>'
        for part in parts
    ]
    return f"<section><h2>Set by set</h2>{''.join(drawn)}</section>"


def _part(board: Board, store: SampleStore, sets: Mapping[str, EvalSet], place: Place) -> str:
    best = board.best(place)
    row = board.row(best, place) if best else None
    if row is None or best is None:
        return ""
    said = _classes(board, store.find(row["key"]), _set_of(row, sets), best)
    said += _apart(board, store, sets, place)
    if not said:
        return ""
    score = Score.of(row)
    by = f"{label(score.metric)} {score.written(score.value)}, {board.short[best]}"
    return f'<summary>{escape(place[0])}<span class="by">{escape(by)}</span></summary>{said}'


def _set_of(row: Row, sets: Mapping[str, EvalSet]) -> EvalSet | None:
    """The set of a row; None where it is not open, or has other pictures or classes now."""
    found = sets.get(row["set"])
    if found is None or found.pictures.fingerprint != row.get("fingerprint"):
        return None
    classes = protocol_of(found).get("classes")
    return found if row.get("protocol", {}).get("classes", classes) == classes else None


def _classes(
    board: Board, samples: Mapping[str, np.ndarray], found: EvalSet | None, model: str
) -> str:
    """The worst classes and the confusions, where every sample has one class."""
    labels, predicted = samples.get("label"), samples.get("predicted")
    if labels is None or predicted is None or labels.ndim != 1 or not len(labels):
        return ""
    names = found.class_names if found else ()
    bars = "".join(
        f'<span>{escape(named(c, names))}</span><div class="bar"><i style="width:'
        f'{100 * right / of:.0f}%"></i></div><span class="num">{count(right)} of {count(of)}</span>'
        for c, right, of in worst_classes(labels, predicted, most=CLASSES)
    )
    mixed = "".join(
        f"<div class=mixed><span>{escape(named(pair.label, names))} taken for "
        f"<b>{escape(named(pair.predicted, names))}</b>, {count(len(pair.rows))} times</span>"
        f"{_tiles(found, samples, pair.rows[:OF_PAIR].tolist())}</div>"
        for pair in confusions(labels, predicted, most=PAIRS)
    )
    who = escape(board.short[model])
    return (
        f'<div class="two"><div><h3>Classes that {who} recognises worst</h3>'
        f'<div class="bars">{bars}</div></div>'
        f"<div><h3>What it confuses most</h3>{mixed}</div></div>"
    )


def _tiles(found: EvalSet | None, samples: Mapping[str, np.ndarray], rows: Sequence[int]) -> str:
    ids = samples.get("ids")
    if found is None or ids is None:
        return "<span></span>"
    tiles = (_picture(found, int(ids[row]), alt=_key(samples, row), size=SMALL) for row in rows)
    return f'<span class="tiles">{"".join(tiles)}</span>'


def _apart(board: Board, store: SampleStore, sets: Mapping[str, EvalSet], place: Place) -> str:
    """Samples on which two models differ most: the two best, or the ends of one run."""
    pair = _two(board, place)
    if pair is None:
        return ""
    first, second = pair
    found, other = _set_of(first, sets), _set_of(second, sets)
    if found is None or other is None:
        return ""
    metric = Score.of(first).metric
    ours, theirs = store.find(first["key"]), store.find(second["key"])
    rows = aligned(ours, theirs) if ours and theirs else None
    known = VALUE + metric in ours.keys() & theirs.keys() and "ids" in ours and "ids" in theirs
    if rows is None or not known:
        return ""
    shares = (shares_of(ours, metric, rows[0]), shares_of(theirs, metric, rows[1]))
    blocks = ""
    names = [titled(board.short[r["model"]], r["step"]) for r in (first, second)]
    for which, better in zip(names, furthest_apart(*shares, most=APART), strict=True):
        figures = "".join(
            _figure(found, ours, theirs, (int(rows[0][i]), int(rows[1][i])), names) for i in better
        )
        if figures:
            blocks += f'<h3>Better by {escape(which)}</h3><div class="apart">{figures}</div>'
    return blocks


def _two(board: Board, place: Place) -> tuple[Row, Row] | None:
    """The rows of the two best models, or of the last and the first step of the only one."""
    scores = {
        m: s.value for m in board.models if (s := board.score(m, place)) and s.value is not None
    }
    best = sorted(scores, key=lambda m: scores[m] or 0.0, reverse=True)
    if len(best) >= 2:
        found = [board.row(model, place) for model in best[:2]]
    elif best and len(board.steps[best[0]]) > 1:
        steps = board.steps[best[0]]
        found = [board.row(best[0], place, step=step) for step in (steps[-1], steps[0])]
    else:
        return None
    first, second = found
    if first is None or second is None or "failed" in first or "failed" in second:
        return None
    return first, second


def _figure(
    found: EvalSet,
    ours: Mapping[str, np.ndarray],
    theirs: Mapping[str, np.ndarray],
    rows: tuple[int, int],
    names: Sequence[str],
) -> str:
    index = int(ours["ids"][rows[0]])
    title = _title(found, index, ours, rows[0])
    said = [
        f"{name}: {named(int(samples['predicted'][row]), found.class_names)}"
        for name, samples, row in zip(names, (ours, theirs), rows, strict=True)
        if "predicted" in samples and samples["predicted"].ndim == 1
    ]
    lines = "".join(f"{escape(line)}<br>" for line in said)
    picture = _picture(found, index, alt=title, size=LARGER)
    return f"<figure>{picture}<figcaption><b>{escape(title)}</b>{lines}</figcaption></figure>"


def _title(found: EvalSet, index: int, samples: Mapping[str, np.ndarray], row: int) -> str:
    """What a sample is: its class, its first caption, or its key."""
    if "label" in samples and samples["label"].ndim == 1:
        return named(int(samples["label"][row]), found.class_names)
    if found.picture_of_text is not None:
        texts = np.flatnonzero(np.asarray(found.picture_of_text) == index)
        if len(texts):
            return found.texts[int(texts[0])]
    return _key(samples, row)


def _key(samples: Mapping[str, np.ndarray], row: int) -> str:
    return str(samples["keys"][row]) if "keys" in samples else f"sample {row}"


def _picture(found: EvalSet, index: int, *, alt: str, size: int) -> str:
    """A small picture of the set; nothing for one that cannot be read."""
    try:
        data = found.pictures.image(index)
        pixels = decode(data, max_pixels=found.pictures.limits.pixels)
    except (Reject, OSError):
        return ""
    return page.picture(pixels, alt=alt, size=size)
