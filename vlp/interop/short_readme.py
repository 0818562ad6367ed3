"""The README of an export: how to open it, what it was compared with, whose work it is."""

from collections.abc import Mapping

from vlp.interop.load import Run

_TEMPLATE = """\
# {title}

Encoders written by vlp {vlp} for {library}: objective {objective}, {updates} updates.

```python
{usage}```
{metrics}
`parity.json` says how far these files agree with the model that they were written from, and by
which library that was measured.

## Licence and attribution

{licence}
"""


def short_readme(
    run: Run, *, library: str, usage: str, metrics: Mapping[str, float], notes: str = ""
) -> str:
    """The text, in Markdown.

    Args:
        run: what was exported.
        library: which opens the export.
        usage: lines of Python that do.
        metrics: figures, by name.
        notes: what else to know, as a paragraph.
    """
    figures = "".join(f"| {name} | {value:.4g} |\n" for name, value in metrics.items())
    table = f"\n| Metric | Value |\n| --- | --- |\n{figures}" if figures else ""
    lines = [f"Licence: {run.card['licence']}.", *run.card["attribution"].splitlines()]
    return _TEMPLATE.format(
        title=run.folder.name,
        vlp=run.card["vlp"],
        library=library,
        objective=run.card["objective"],
        updates=run.step,
        usage=usage,
        metrics=f"{table}\n{notes}\n" if notes else table,
        licence="\n".join(f"- {line}" for line in lines),
    )
