"""One page about a data set: what is in it, what cannot be used, what a job made of it."""

import itertools
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from data_pipelines.decode import decode
from data_pipelines.faults import Reject, summary
from data_pipelines.formats import JOB
from data_pipelines.jobs.facts import read_facts
from data_pipelines.jobs.work import Work
from data_pipelines.sources import Source
from data_pipelines.sources.fingerprints import same_data
from vlp.evals import page
from vlp.evals.writing import Number, count, escape, percent, short
from vlp.files import write_text
from vlp.jobs.parts import read_lines

_BY_REASON = 12  # pictures shown of each reason
_EXAMPLES = 5  # keys told of what cannot be read
_STYLE = """
.shots { display: grid; grid-template-columns: repeat(auto-fill, minmax(150px, 1fr)); gap: 18px;
  margin-top: 20px; }
.shots figure { margin: 0; min-width: 0; } .shots figcaption { font-size: 13.5px; line-height: 1.35;
  margin-top: 6px; overflow-wrap: anywhere; }
.shots .size { display: block; color: var(--soft); font-size: 12px; }
.bins { display: grid; grid-template-columns: auto 1fr auto; gap: 3px 12px; align-items: center;
  margin-top: 10px; font-size: 13px; font-variant-numeric: tabular-nums; }
.bins .bar { margin: 0; height: 10px; } .bins span { color: var(--soft); text-align: right; }
"""


def print_statistics(statistics: Mapping[str, Any], *, console: Console | None = None) -> None:
    """Prints the statistics of `gather_statistics`: what cannot be used, then a table each."""
    console = console or Console()
    console.print(_lead(statistics), highlight=False)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("from")
    table.add_column("count", justify="right")
    table.add_column("share", justify="right")
    for name, bins in statistics["distributions"].items():
        table.add_section()
        table.add_row(f"[bold]{name}[/bold]")
        for edge, number, share in _bins(bins):
            if number:
                table.add_row(f"from {short(edge)}", count(number), percent(share))
    console.print(table)


def write_page(
    path: Path,
    *,
    work: Work,
    statistics: Mapping[str, Any],
    samples: int,
    manifest: Sequence[Path] = (),
) -> None:
    """Writes a self-contained page, see `vlp.evals.page`.

    Args:
        path: of the file.
        work: the data, whose facts are there.
        statistics: of `gather_statistics`.
        samples: how many pictures to show, spread evenly over those that can be read.
        manifest: what another job over the same data made of them, see `manifest_files`; none is
            not shown.
    """
    rejects, readable = _sorted_out(work)
    places = np.linspace(0, len(readable) - 1, min(samples, len(readable))).astype(int)
    shown = [readable[place] for place in np.unique(places).tolist()]
    body = [
        f"<header><h1>{escape(work.source.name)}</h1>"
        f'<p class="lead">{escape(_lead(statistics))}</p></header>\n<main>',
        _shots("Samples", "Spread evenly over the data.", work, shown),
        *(_by_reason(work, manifest) if manifest else ()),
        _rejects(statistics["rejects"], rejects),
        _distributions(statistics["distributions"]),
        "</main>\n<footer></footer>",
    ]
    title = f"{work.source.name}: {count(statistics['samples'])} samples"
    write_text(path, page.document(title=title, body="\n".join(body), style=_STYLE))


def manifest_files(job: Path, source: Source) -> list[Path]:
    """The manifest of a job over these data, a file a part.

    Args:
        job: its folder.
        source: the data.

    Raises:
        ValueError: it is no such folder, of other data, or not finished.
    """
    try:
        told = json.loads((job / JOB).read_text(encoding="utf-8"))
        data, parts = told["data"], -(-len(source) // told["part_size"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"--manifest must be the --out of a job of vlp data, got {job}") from error
    if not same_data(data, source.fingerprint):
        raise ValueError(f"--manifest must be of a job over --data, {job} is of other data")
    files = sorted((job / "manifest").glob("[0-9]*.jsonl"))
    if not files:
        raise ValueError(f"{job} must have a manifest, which a job writes that chooses samples")
    if len(files) < parts:
        raise ValueError(
            f"{job} must have its whole manifest, it has {len(files)} of {parts} parts; start the "
            "same job again, which goes on"
        )
    return files


def _lead(statistics: Mapping[str, Any]) -> str:
    rejects = summary(statistics["rejects"])
    return (
        f"{count(statistics['samples'])} samples; cannot be used: {rejects}; "
        f"{count(statistics['equal pictures'])} pictures repeat the file of another."
    )


def _sorted_out(work: Work) -> tuple[dict[str, list[str]], list[int]]:
    """Of each reason a few examples, and the samples that can be read."""
    rejects: dict[str, list[str]] = defaultdict(list)
    readable: list[int] = []
    facts = itertools.chain.from_iterable(read_facts(work, part) for part in range(len(work)))
    for fact in facts:
        if not fact["reject"]:
            readable.append(fact["index"])
        elif len(rejects[fact["reject"]]) < _EXAMPLES:
            rejects[fact["reject"]].append(f"{fact['key']} in {fact['file']}")
    return rejects, readable


def _shots(title: str, note: str, work: Work, indices: Sequence[int]) -> str:
    figures = "".join(_shot(work, index) for index in indices)
    return (
        f'<section><h2>{escape(title)}</h2><p class="note">{escape(note)}</p>'
        f'<div class="shots">{figures}</div></section>'
    )


def _shot(work: Work, index: int, more: str = "") -> str:
    """A picture with its caption and size; of one that cannot be read why."""
    source = work.source
    try:
        pixels = decode(source.image(index), max_pixels=source.limits.pixels)
        captions = [_caption(text) for text in source.captions(index)]
    except Reject as fault:
        return f"<figure><figcaption>{escape(str(fault))}</figcaption></figure>"
    height, width = pixels.shape[:2]
    also = f" and {len(captions) - 1} more" if len(captions) > 1 else ""
    told = f"{width} × {height}{also}, {source.key(index)}"
    picture = page.picture(pixels, alt=captions[0])
    return (
        f"<figure>{picture}<figcaption>{escape(captions[0])}"
        f'<span class="size">{escape(told)}</span>{more}</figcaption></figure>'
    )


def _caption(text: str | bytes) -> str:
    return text if isinstance(text, str) else text.decode("utf-8", "replace")


def _by_reason(work: Work, manifest: Sequence[Path]) -> Iterator[str]:
    """A section a reason of another job's manifest, the most frequent first; then what stayed."""
    found: dict[str, list[int]] = defaultdict(list)
    numbers: dict[str, int] = defaultdict(int)
    for line in itertools.chain.from_iterable(map(read_lines, manifest)):
        reason = "" if line["kept"] else line["reason"]
        numbers[reason] += 1
        if len(found[reason]) < _BY_REASON:
            found[reason].append(line["index"])
    for reason in sorted(numbers, key=lambda reason: (reason == "", -numbers[reason])):
        note = f"{count(numbers[reason])} of {count(work.samples)} samples; the first of them."
        title = f"Left out: {reason}" if reason else "Stayed"
        yield _shots(title, note, work, found[reason])


def _rejects(counts: Mapping[str, int], examples: Mapping[str, Sequence[str]]) -> str:
    if not counts:
        return ""
    rows = "".join(
        f"<tr><th scope='row'>{escape(reason)}</th><td>{count(number)}</td>"
        f"<td>{escape('; '.join(examples[reason]))}</td></tr>"
        for reason, number in counts.items()
    )
    head = "<tr><th>reason</th><th>samples</th><th>such as</th></tr>"
    return (
        "<section><h2>What cannot be used</h2><div class='wide'>"
        f"<table><thead>{head}</thead><tbody>{rows}</tbody></table></div></section>"
    )


def _distributions(distributions: Mapping[str, Sequence[Sequence[Number]]]) -> str:
    cards = "".join(_card(name, bins) for name, bins in distributions.items())
    return f"<section><h2>Distributions</h2><div class='charts'>{cards}</div></section>"


def _card(name: str, bins: Sequence[Sequence[Number]]) -> str:
    rows = "".join(
        f'<span>from {short(edge)}</span><div class="bar" aria-hidden="true">'
        f'<i style="width:{100 * share:.1f}%"></i></div><span>{percent(share)}</span>'
        for edge, _, share in _bins(bins)
    )
    return f'<div class="card"><h3>{escape(name)}</h3><div class="bins">{rows}</div></div>'


def _bins(bins: Sequence[Sequence[Number]]) -> Iterator[tuple[Number, int, float]]:
    """The lower edge, the count and the share of each bin."""
    total = sum(number for _, number in bins)
    for edge, number in bins:
        yield edge, int(number), number / max(1, total)
