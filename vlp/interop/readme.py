"""The README beside files for stacks that run graphs: how to use them, and whose work they are."""

from collections.abc import Mapping, Sequence

from vlp.interop.load import Run

_TEMPLATE = """\
# {title}

Encoders exported by vlp {vlp}{trained}.

```python
{usage}
```
{metrics}
## What to know

{notes}
- `parity.json` says how far these files agree with the model they were exported from, and in which
  library that was measured.

## Licence and attribution

{licence}
"""


def portable_readme(
    run: Run, *, title: str, usage: str, notes: Sequence[str], metrics: Mapping[str, float]
) -> str:
    """The text, in Markdown.

    Args:
        run: what was exported.
        title: what the files are.
        usage: Python that runs in the folder.
        notes: what users have to know, in Markdown.
        metrics: figures by name.
    """
    figures = "".join(f"| {name} | {value:.4g} |\n" for name, value in metrics.items())
    lines = [f"Licence: {run.card['licence']}.", *run.card["attribution"].splitlines()]
    return _TEMPLATE.format(
        title=f"{run.folder.name}: {title}",
        vlp=run.card["vlp"],
        trained=f" after {run.step} updates" if run.step else "",
        usage=usage.strip(),
        notes="\n".join(f"- {note}" for note in notes),
        metrics=f"\n| Metric | Value |\n| --- | --- |\n{figures}" if figures else "",
        licence="\n".join(f"- {line}" for line in lines),
    )
