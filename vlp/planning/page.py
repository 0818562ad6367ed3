"""One HTML page about a plan, for people who would rather look than read."""

from collections.abc import Sequence

from vlp.evals.page import document
from vlp.evals.writing import Number, count, escape, percent
from vlp.parallel import mesh
from vlp.planning.estimate import Estimate
from vlp.planning.findings import Finding
from vlp.planning.plan import Plan
from vlp.planning.saying import (
    EXCHANGES,
    Row,
    Run,
    by_source,
    days,
    duration,
    exchanges,
    gb,
    hours,
    ms,
    short_source,
    times,
    whole_run,
)

Part = tuple[str, Number, str]  # name, size, what is written of it

STYLE = """
:root { --s1: #2456a6; --s2: #5b86cc; --s3: #8fb0e4; --s4: #1c7a4a; --s5: #7fb894; --s6: #b98a3c;
  --s7: #a8500c; --s8: #8d8a83; }
@media (prefers-color-scheme: dark) { :root { --s1: #9cc2ff; --s2: #6390d6; --s3: #40629c;
  --s4: #63cf97; --s5: #37805a; --s6: #d9b46a; --s7: #f2a868; --s8: #85827a; } }
.s1 { background: var(--s1); } .s2 { background: var(--s2); } .s3 { background: var(--s3); }
.s4 { background: var(--s4); } .s5 { background: var(--s5); } .s6 { background: var(--s6); }
.s7 { background: var(--s7); } .s8 { background: var(--s8); }
.stack { position: relative; display: flex; height: 30px; margin-top: 20px; border-radius: 6px;
  background: var(--rule); overflow: hidden; }
.stack i { height: 100%; flex: none; border-right: 1px solid var(--page); }
.stack .limit { position: absolute; inset: 0 auto 0 0; width: 3px; background: var(--ink);
  border: 0; }
.thin { height: 8px; margin-top: 6px; border-radius: 4px; }
.scale { display: flex; justify-content: space-between; gap: 16px; color: var(--soft);
  font-size: 13px; margin-top: 4px; font-variant-numeric: tabular-nums; }
.legend { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 300px), 1fr));
  gap: 0 40px; margin-top: 12px; font-size: 15px; }
.legend div { align-items: baseline; justify-content: flex-start; gap: 10px; }
.legend i { width: 11px; height: 11px; border-radius: 3px; flex: none; }
.legend dt { color: var(--ink); max-width: none; min-width: 0; flex: 1; }
.legend dd { flex: none; }
.finding { border-left: 3px solid var(--miss); padding: 2px 0 2px 14px; margin-top: 14px;
  max-width: 78ch; overflow-wrap: anywhere; }
.finding .where { color: var(--soft); font-size: 13.5px; }
.lead { overflow-wrap: anywhere; } .hero { margin-top: 28px; }
.none { color: var(--right); margin-top: 12px; }
.hero .big { font-size: 44px; } .hero .over { color: var(--miss); }
@media (max-width: 560px) { .hero .big { font-size: 38px; } .stack { height: 24px; }
  .thin { height: 8px; } }
"""
MAX_PIECES, MAX_ROWS, MAX_FINDINGS = 6, 20, 40


def plan_page(plan: Plan, run: Run, *, config: str, source: str) -> str:
    """A page on one plan.

    Args:
        plan: of a step.
        run: the whole, of such steps.
        config: what was planned, as it was asked for.
        source: of the chip's figures.
    """
    spent = plan.estimate
    sections = [
        _memory(plan),
        _time(spent) if spent else _untimed(),
        _exchanges(plan),
        _findings(plan.findings) if spent else "",
        _pieces(spent) if spent else "",
        _facts(plan, run, spent),
    ]
    lead = (
        f"The training step of {config}, compiled for {plan.topology}: {plan.devices} devices, "
        f"mesh {mesh.said(plan.mesh)}, {count(plan.global_batch)} pairs a step."
    )
    return document(
        title=f"A step on {plan.topology}",
        style=STYLE,
        body=(
            f"<header><h1>A step on {escape(plan.topology)}</h1>"
            f'<p class="lead">{escape(lead)}</p>{_hero(plan, run)}</header>\n<main>'
            + "\n".join(filter(None, sections))
            + "</main>\n<footer><p>Nothing was run: memory is the compiler's count, times are "
            f"estimates. Figures of the chip: {escape(source)}</p></footer>"
        ),
    )


def _hero(plan: Plan, run: Run) -> str:
    memory = plan.memory
    over = "" if memory.fits else " over"
    verdict = "fits" if memory.fits else "does not fit"
    share = min(memory.total / memory.capacity, 1.0)
    told = [
        f'<div><div class="big{over}">{gb(memory.total)}</div><div class="what">a device: '
        f'{verdict}</div><div class="bar" aria-hidden="true"><i style="width:{share:.1%}"></i>'
        f'</div><div class="chance">of {gb(memory.capacity)}</div></div>'
    ]
    if plan.estimate:
        seconds, cost = plan.estimate.seconds, hours(plan, run)
        price = f", {cost * run.price:,.0f} in all" if run.price else ""
        told += [
            _figure(ms(seconds), "a step", f"{plan.mfu:.1%} MFU"),
            _figure(
                f"{plan.pairs_per_second:,.0f}",
                "pairs a second",
                f"{plan.pairs_per_second / plan.devices:,.1f} a device",
            ),
            _figure(
                duration(days(plan, run)),
                f"for {count(run.steps)} steps",
                f"{cost:,.0f} chip-hours{price}",
            ),
        ]
    return f'<div class="hero">{"".join(told)}</div>'


def _figure(big: str, what: str, beside: str) -> str:
    return (
        f'<div><div class="big">{escape(big)}</div><div class="what">{escape(what)}</div>'
        f'<div class="chance">{escape(beside)}</div></div>'
    )


def _memory(plan: Plan) -> str:
    memory = plan.memory
    parts = [(kind, size, gb(size)) for kind, size in memory.parts().items() if size]
    whole = max(memory.total, memory.capacity)
    limit = ""
    if not memory.fits:
        place = memory.capacity / whole
        limit = f'<i class="limit" style="left:{place:.2%}"></i>'
    left = memory.capacity - memory.total
    said = f"{gb(left)} left" if memory.fits else f"{gb(-left)} more than there is"
    return _section(
        "Memory of a device",
        f'<div class="stack">{_bars(parts, whole)}{limit}</div>'
        f'<div class="scale"><span>{gb(memory.total)} of {gb(memory.capacity)}</span>'
        f"<span>{said}</span></div>{_legend(parts, memory.total)}",
    )


def _time(spent: Estimate) -> str:
    found = by_source(spent)
    longest, rest = found[:MAX_PIECES], sum(piece.seconds for piece in found[MAX_PIECES:])
    parts = [(piece.source, piece.seconds, ms(piece.seconds)) for piece in longest]
    if rest:
        parts.append(("other computing", rest, ms(rest)))
    if spent.exposed:
        parts.append(("exchanges that nothing hides", spent.exposed, ms(spent.exposed)))
    hidden = sum(spent.hidden.values())
    behind = (
        f'<div class="stack thin"><i class="s6" style="width:{hidden / spent.seconds:.2%}"></i>'
        f'</div><div class="scale"><span>below: {ms(hidden)} of exchanges behind what is computed'
        "</span></div>"
        if hidden
        else ""
    )
    return _section(
        "Time of a step",
        f'<div class="stack">{_bars(parts, spent.seconds)}</div>{behind}'
        f"{_legend(parts, spent.seconds)}",
        note="By a roofline over the compiled instructions, by the line they were written at.",
    )


def _untimed() -> str:
    return _section(
        "Time of a step", "", note="None: the compiler makes no program of what does not fit."
    )


def _bars(parts: Sequence[Part], whole: Number) -> str:
    return "".join(
        f'<i class="s{place}" style="width:{size / whole:.3%}" title="{escape(name)}: {said}"></i>'
        for place, (name, size, said) in enumerate(parts, start=1)
    )


def _legend(parts: Sequence[Part], whole: Number) -> str:
    items = "".join(
        f'<div><i class="s{place}"></i><dt>{escape(name)}</dt><dd>{said}, '
        f"{percent(size / whole)}</dd></div>"
        for place, (name, size, said) in enumerate(parts, start=1)
    )
    return f'<dl class="legend">{items}</dl>'


def _exchanges(plan: Plan) -> str:
    if not plan.collectives:
        return ""
    note = "Along axes of the mesh; MB are those that a device has afterwards, times a step's."
    return _section("Exchanges", table(EXCHANGES, exchanges(plan)), note=note)


def _findings(found: Sequence[Finding]) -> str:
    said = "".join(
        f'<p class="finding">{escape(finding.what)}<br>'
        f'<span class="where">{escape(short_source(finding.source))}</span></p>'
        for finding in found[:MAX_FINDINGS]
    )
    left = len(found) - MAX_FINDINGS
    more = f'<p class="note">{left} more, in the JSON.</p>' if left > 0 else ""
    return _section("Findings", said + more or '<p class="none">Nothing was found.</p>')


def _pieces(spent: Estimate) -> str:
    found = by_source(spent)
    rows = [
        (
            piece.source,
            f"{piece.seconds * 1e3:,.2f}",
            f"{piece.seconds / spent.compute:.1%}",
            f"{piece.flops / 1e12:,.3f}" if piece.flops else "",
            f"{piece.bytes / 1e9:,.2f}",
            piece.bound,
        )
        for piece in found[:MAX_ROWS]
    ]
    note = f"The longest of {len(found)}. Bound by what takes most of its time."
    heads = ("line", "ms", "of computing", "TFLOP", "GB", "bound by")
    return _section("Longest pieces", table(heads, rows), note=note)


def _facts(plan: Plan, run: Run, spent: Estimate | None) -> str:
    flops = ("model FLOPs", f"{plan.model_flops / plan.devices / 1e12:,.2f} T a device and step")
    blocks = [_list("One step", [flops, *(times(plan, spent) if spent else ())])]
    if spent:
        blocks.append(_list("The whole run", whole_run(plan, run)))
    return _section("In numbers", f'<div class="facts">{"".join(blocks)}</div>')


def _list(name: str, rows: Sequence[Row]) -> str:
    items = "".join(f"<div><dt>{escape(a)}</dt><dd>{escape(b)}</dd></div>" for a, b in rows)
    return f"<section><h3>{escape(name)}</h3><dl>{items}</dl></section>"


def _section(title: str, body: str, *, note: str = "") -> str:
    said = f'<p class="note">{escape(note)}</p>' if note else ""
    return f"<section><h2>{escape(title)}</h2>{said}{body}</section>"


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table whose first column names its rows."""
    top = "".join(f'<th scope="col">{escape(head)}</th>' for head in heads)
    lines = "".join(
        f'<tr><th scope="row">{escape(row[0])}</th>'
        + "".join(f"<td>{escape(cell)}</td>" for cell in row[1:])
        + "</tr>"
        for row in rows
    )
    inside = f"<thead><tr>{top}</tr></thead><tbody>{lines}</tbody>"
    return f'<div class="wide"><table>{inside}</table></div>'
