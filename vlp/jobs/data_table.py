"""The table of a run's, an evaluation's or a job's data that is printed before it begins."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from data_pipelines.sources import Source
from data_pipelines.sources.survey import Survey
from vlp.evals.writing import count, plain
from vlp.files import write_json

Surveys = Mapping[str, Sequence[Survey]]


def say_data(sources: Mapping[str, Source], *, file: Path | None = None) -> None:
    """Prints, on process 0, what each source holds and what in it is no sample.

    Args:
        sources: by what they are for, such as "training" or the name of an evaluation.
        file: where the same is written as JSON; not written unless given.
    """
    import jax

    if jax.process_index() != 0:
        return
    found = {role: source.survey() for role, source in sources.items()}
    print_surveys(found)
    if file is not None:
        parts = {role: [part.to_dict() for part in parts] for role, parts in found.items()}
        write_json(file, parts)


def print_surveys(found: Surveys, *, console: Console | None = None) -> None:
    """Prints surveys by what their data are for: a table of counts, then a line a finding."""
    console = console or Console()
    console.print(_table(found))
    findings = [line for parts in found.values() for part in parts for line in _findings(part)]
    for line in dict.fromkeys(findings):  # data of several roles are told once
        console.print(Text(plain(line)), style="yellow", highlight=False)
    if findings:
        console.print()


def print_faults(damage: Mapping[str, str], *, console: Console | None = None) -> None:
    """Prints what is wrong with each of some files, a row a file."""
    if not damage:
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("damaged")
    table.add_column("why", overflow="fold")
    for name, why in damage.items():
        table.add_row(Text(plain(name)), Text(plain(why)))
    (console or Console()).print(table)


def _table(found: Surveys) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("data")
    table.add_column("from", overflow="fold")
    heard = any(part.without_audio is not None for parts in found.values() for part in parts)
    for name in ("samples", "no picture", "no caption", *(["no sound"] * heard), "strays"):
        table.add_column(name, justify="right")
    for role, parts in found.items():
        for part in parts:
            strays = sum(stray.count for stray in part.strays)
            counts = [part.samples, part.without_image, part.without_caption]
            counts += [*([part.without_audio] * heard), strays]
            cells = ("" if number is None else count(number) for number in counts)
            table.add_row(Text(plain(role)), Text(plain(part.name)), *cells)
    return table


def _findings(part: Survey) -> Iterator[str]:
    """What somebody who prepared these data wants to know, with an example each."""
    if part.without_image:
        yield f"{part.name}: no picture for {_some(part.without_image, part.image_example)}"
    # Pictures alone are as they should be for many a job; the table counts them.
    if part.without_caption and part.without_caption < part.samples:
        yield f"{part.name}: no caption for {_some(part.without_caption, part.caption_example)}"
    if part.gone:
        some = f"{count(len(part.gone))} {'file' if len(part.gone) == 1 else 'files'}"
        yield f"{part.name}: {some} gone, e.g. {part.gone[0]}; their samples count as bad"
    for stray in part.strays:
        some = "1 file belongs" if stray.count == 1 else f"{count(stray.count)} files belong"
        yield f"{part.name}: {some} to no sample, e.g. {stray.example}: {stray.reason}"


def _some(number: int, example: str) -> str:
    return f"{count(number)} {'sample' if number == 1 else 'samples'}, e.g. {example}"
