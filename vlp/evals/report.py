"""One HTML page about a run, for people who would rather look than read."""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from vlp.evals import page
from vlp.evals.curves import panels
from vlp.evals.results import LABELS, Cell, columns_of, table_rows, task_name
from vlp.evals.writing import count, escape
from vlp.files import write_text


def write_report(
    path: str | os.PathLike[str],
    *,
    title: str,
    metrics_rows: Sequence[Mapping[str, Any]],
    results: Sequence[Mapping[str, Any]],
    text_queries: Sequence[Mapping[str, Any]],
    image_queries: Sequence[Mapping[str, Any]],
    facts: Mapping[str, Any],
    attribution: Sequence[str],
    lead: str = "",
    sound_queries: Sequence[tuple[str, Sequence[Mapping[str, Any]]]] = (),
    written: Sequence[Mapping[str, Any]] = (),
    failed: Sequence[str] = (),
) -> None:
    """Writes a self-contained page: it loads nothing, runs nothing, and follows dark mode.

    Args:
      path: File to write, whole or not at all.
      title: Heading of the page.
      metrics_rows: Lines of metrics.jsonl: `step` and numbers such as `train/loss` or
        `eval/NAME/text_to_image/R@1`. Where a step occurs twice, the later row counts.
      results: See `results.make_result`; the first gives the headline. A result may have a
        `title` and a `note`, a sentence on what it means.
      text_queries: See `examples.text_queries`.
      image_queries: See `examples.image_queries`.
      facts: What was run: names to values; a mapping as value becomes a section of its own.
      attribution: Lines on whose pictures are shown and under which licence.
      lead: A sentence under the title.
      sound_queries: For each data set its name and queries, which have `sound`, the bytes of a
        file, beside what those of `text_queries` or `image_queries` have.
      written: Captions by the model: `image`, `written` and `truth`.
      failed: A sentence on each evaluation that has no result.
    """
    sections = [
        _scores(results, failed),
        _queries("Asked in words, found in pictures", text_queries, _text_card),
        _queries("Asked with a picture, answered in words", image_queries, _image_card, "asks"),
        *(_sound_section(data, queries) for data, queries in sound_queries),
        _written_section(written),
        _curves(metrics_rows),
        _facts(facts),
    ]
    head = f"<h1>{escape(title)}</h1>" + (f'<p class="lead">{escape(lead)}</p>' if lead else "")
    lines = "".join(f"<p>{escape(line)}</p>" for line in attribution)
    body = (
        f"<header>{head}{_hero(results)}</header>\n<main>"
        + "\n".join(filter(None, sections))
        + f"</main>\n<footer>{lines}</footer>"
    )
    write_text(path, page.document(title=title, body=body))


def _hero(results: Sequence[Mapping[str, Any]]) -> str:
    rows = table_rows(results[0]) if results else []
    if not rows:
        return ""
    said = "".join(
        f'<div><div class="big">{cell.written(cell.value)}</div>'
        f'<div class="what">{escape(_sentence(rows[0].label, cell.column))}</div>'
        f'{_bar(cell)}<div class="chance">{_chance(cell)}</div></div>'
        for cell in rows[0].cells
    )
    return f'<p class="hero-name">{escape(_name(results[0]))}</p><div class="hero">{said}</div>'


def _sentence(label: str, column: str) -> str:
    way, _, k = column.partition("R@")
    if not k:
        return f"{LABELS.get(way, way)}, {label}"
    return f"{label}: right one first" if k == "1" else f"{label}: among the first {k}"


def _bar(cell: Cell) -> str:
    if not cell.is_share:
        return ""
    width = 100 * min(max(cell.value, 0.0), 1.0)
    return f'<div class="bar" aria-hidden="true"><i style="width:{width:.1f}%"></i></div>'


def _chance(cell: Cell) -> str:
    if cell.chance is None:
        return ""
    return f'<span class="by">by chance </span>{cell.written(cell.chance)}'


def _scores(results: Sequence[Mapping[str, Any]], failed: Sequence[str]) -> str:
    tables = "".join(_table(result) for result in results)
    left_out = "".join(f'<p class="failed">left out: {escape(said)}</p>' for said in failed)
    return f"<section><h2>Scores</h2>{left_out}{tables}</section>" if tables + left_out else ""


def _table(result: Mapping[str, Any]) -> str:
    field = result["settings"].get("group")
    rows = table_rows(result, by=f"{field}: " if field else "")
    columns = columns_of(rows)
    heads = "".join(f'<th scope="col">{escape(LABELS.get(name, name))}</th>' for name in columns)
    about = [f"step {count(result['step'])}", result["dtype"]]
    if result["rejected"]:
        about.append(f"{count(result['rejected'])} samples could not be read")
    said = (f"{text}." for text in result.get("notes", ()))
    note = " ".join(filter(None, [result.get("note", ""), f"({', '.join(about)})", *said]))
    lines = []
    group = ""
    for row in rows:
        if row.group != group:
            group = row.group
            lines.append(
                f'<tr class="group"><th scope="rowgroup" colspan="{len(columns) + 2}">'
                f"{escape(group)}</th></tr>"
            )
        cells = "".join(
            f'<td>{cell.written(cell.value)}<span class="of">{_chance(cell)}</span></td>'
            if cell
            else "<td></td>"
            for cell in row.at(columns)
        )
        queries = "" if row.queries is None else count(row.queries)
        lines.append(f'<tr><th scope="row">{escape(row.label)}</th><td>{queries}</td>{cells}</tr>')
    return (
        f'<div class="wide"><h3>{escape(_name(result))}</h3><p class="note">{escape(note)}'
        f'<span class="narrow">Below each score: chance.</span></p>'
        f'<table><thead><tr><th></th><th scope="col">queries</th>{heads}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


def _name(result: Mapping[str, Any]) -> str:
    return result.get("title") or f"{result['data']}: {task_name(result)}"


def _section(title: str, note: str, body: str, *, kind: str) -> str:
    """A section of cards; `note` is HTML."""
    return (
        f'<section><h2>{title}</h2><p class="note">{note}</p><div class="{kind}">{body}</div>'
        "</section>"
    )


def _queries(
    title: str,
    queries: Sequence[Mapping[str, Any]],
    card: Callable[[Mapping[str, Any]], str],
    kind: str = "cards",
    *,
    about: str = "",
) -> str:
    if not queries:
        return ""
    return _section(title, f"{about}{_choice(queries)}", "".join(map(card, queries)), kind=kind)


def _text_card(query: Mapping[str, Any]) -> str:
    tiles = []
    for place, item in enumerate(query["found"], start=1):
        right = item["right"]
        alt = f"{place}. {item['caption']} (similarity {item['score']:.2f})"
        mark, alt = (' class="right"', f"{alt}, the right one") if right else ("", alt)
        tiles.append(f"<figure{mark}>{page.picture(item['image'], alt=alt)}</figure>")
    if not _is_hit(query):
        answer = page.picture(query["answer"]["image"], alt=f"wanted: {query['query']}")
        where = f"at {count(query['rank'] + 1)}"
        tiles.append(f'<figure class="wanted">{answer}<figcaption>{where}</figcaption></figure>')
    return (
        f'<div class="card"><p class="query">{escape(query["query"])}</p>'
        f'{_player(query)}<p class="rank">{_place(query)}</p>'
        f'<div class="strip">{"".join(tiles)}</div></div>'
    )


def _image_card(query: Mapping[str, Any]) -> str:
    return (
        f'<div class="card ask"><figure>{page.picture(query["image"], alt=query["caption"])}'
        f"</figure>{_answers(query)}</div>"
    )


def _sound_section(data: str, queries: Sequence[Mapping[str, Any]]) -> str:
    in_words = any("query" not in query for query in queries)
    return _queries(
        f"Asked aloud, {'answered in words' if in_words else 'found in pictures'}",
        queries,
        _name_card if in_words else _text_card,
        about=f"{escape(data)}. Above each sound is the caption of its sample, which the model was "
        "not told. ",
    )


def _name_card(query: Mapping[str, Any]) -> str:
    return (
        f'<div class="card"><p class="query">{escape(query["caption"])}</p>{_player(query)}'
        f'<p class="rank">{_place(query)}</p>{_answers(query)}</div>'
    )


def _player(query: Mapping[str, Any]) -> str:
    if "sound" not in query:
        return ""
    return page.player(query["sound"], label=query.get("query") or query["caption"])


def _answers(query: Mapping[str, Any]) -> str:
    items = []
    for item in query["found"]:
        mark, tick = (' class="yes"', "✓ ") if item["right"] else ("", "")
        items.append(
            f"<li{mark}><span>{tick}{escape(item['caption'])}</span>"
            f'<span class="num">{item["score"]:.2f}</span></li>'
        )
    if not _is_hit(query):
        items.append(
            f'<li class="no"><span>wanted: {escape(query["caption"])}</span>'
            f'<span class="num">at {count(query["rank"] + 1)}</span></li>'
        )
    return f"<ol>{''.join(items)}</ol>"


def _written_section(written: Sequence[Mapping[str, Any]]) -> str:
    if not written:
        return ""
    cards = "".join(
        f'<div class="card ask"><figure>{page.picture(one["image"], alt=one["truth"])}</figure>'
        f'<ol><li class="said"><span>{escape(one["written"]) or "(nothing)"}</span></li>'
        f"<li><span>{escape(one['truth'])}</span></li></ol></div>"
        for one in written
    )
    note = "What it wrote, and below it what people did. "
    note += f"{len(written)} pictures, drawn with a fixed seed."
    return _section("Described by the model", note, cards, kind="asks")


def _choice(queries: Sequence[Mapping[str, Any]]) -> str:
    misses = sum(not _is_hit(query) for query in queries)
    shown = max(len(query["found"]) for query in queries)
    candidates = count(max(query["candidates"] for query in queries))
    return (
        f"The {shown} best of {candidates}; a tick marks the right one. {len(queries)} queries, "
        f"drawn with a fixed seed; {misses} of them fail. The scores above say how often it does."
    )


def _place(query: Mapping[str, Any]) -> str:
    if query["rank"] == 0:
        return '<b class="hit">right at once</b>'
    style = "hit" if _is_hit(query) else "miss"
    place = f"place {count(query['rank'] + 1)} of {count(query['candidates'])}"
    return f'<b class="{style}">{place}</b>'


def _is_hit(query: Mapping[str, Any]) -> bool:
    return any(item["right"] for item in query["found"])


def _curves(rows: Sequence[Mapping[str, Any]]) -> str:
    drawn = "".join(
        f'<div class="card"><h3>{escape(name)}</h3>{svg}</div>' for name, svg in panels(rows)
    )
    if not drawn:
        return ""
    return f'<section><h2>How it learned</h2><div class="charts">{drawn}</div></section>'


def _facts(facts: Mapping[str, Any]) -> str:
    loose = {name: value for name, value in facts.items() if not isinstance(value, Mapping)}
    blocks = [_fact_list("", loose)] if loose else []
    blocks += [
        _fact_list(name, value) for name, value in facts.items() if isinstance(value, Mapping)
    ]
    if not blocks:
        return ""
    return f'<section><h2>The run</h2><div class="facts">{"".join(blocks)}</div></section>'


def _fact_list(name: str, values: Mapping[str, Any]) -> str:
    head = f"<h3>{escape(name)}</h3>" if name else ""
    items = "".join(
        f"<div><dt>{escape(str(key))}</dt><dd>{escape(_fact(value))}</dd></div>"
        for key, value in values.items()
    )
    return f"<section>{head}<dl>{items}</dl></section>"


def _fact(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return count(value) if abs(value) >= 10_000 else str(value)
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_fact(inner)}" for key, inner in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_fact(item) for item in value)
    return str(value)
