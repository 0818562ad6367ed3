"""Prepare data: index tars, look into them, convert, clean and balance them, train a tokenizer.

`vlp data JOB --help` explains each.
"""

import argparse
from pathlib import Path

from vlp.cli import data_bench, data_look, data_select
from vlp.cli.arguments import add_data_argument, local_path
from vlp.cli.data_progress import indexed
from vlp.jobs.outputs import TOKENIZER, check_output

SUMMARY = "index, inspect, convert, filter, measure data; train tokenizers"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the sub-commands."""
    commands = parser.add_subparsers(dest="job", metavar="JOB", required=True)
    index = commands.add_parser(
        "index",
        help="write the index of tars, so that they open at once; only what is new is read",
        allow_abbrev=False,
    )
    index.add_argument("data", nargs="+", metavar="DATA", help="tars, patterns, ranges, folders")
    index.add_argument("--processes", type=int, help="that read tars; all cores unless given")
    index.set_defaults(run=_index)
    data_look.add_jobs(commands)
    data_select.add_jobs(commands)
    tokenizer = commands.add_parser(
        "tokenizer", help="train a SentencePiece tokenizer on the captions", allow_abbrev=False
    )
    add_data_argument(tokenizer)
    tokenizer.add_argument("--out", type=local_path, required=True, metavar="FILE.model")
    tokenizer.add_argument("--vocab-size", type=int, default=8192, help="default %(default)s")
    tokenizer.add_argument(
        "--begin", action="store_true", help="captions begin with a token of their own (CoCa)"
    )
    tokenizer.set_defaults(run=_tokenizer)
    emoji = commands.add_parser(
        "emoji", help="unpack the embedded emoji as tars and say where", allow_abbrev=False
    )
    emoji.set_defaults(run=_emoji)
    data_bench.add_job(commands)


def _index(args: argparse.Namespace, _: list[str]) -> None:
    from data_pipelines.io import child, name_of
    from data_pipelines.opening import tars_of
    from data_pipelines.sources import TarSource
    from data_pipelines.sources.tar_indexes import folder_of
    from vlp.jobs.data_table import print_faults, print_surveys

    tars = list(dict.fromkeys(str(tar) for spec in args.data for tar in tars_of(spec)))
    built = indexed(tars, processes=args.processes)
    for each in built:
        gone = f", {len(each.forgotten):,} that are gone left out" if each.forgotten else ""
        print(f"{each.path}: {len(each.tars):,} tars, {each.scanned:,} of them read now{gone}")
    bad = {
        tar.name if len(built) == 1 else child(each.folder, tar.name): tar.damage
        for each in built
        for tar in each.tars
        if tar.damage
    }
    print_faults(bad)
    forgotten = {(each.folder, name) for each in built for name in each.forgotten}
    there = [tar for tar in tars if (folder_of(tar), name_of(tar)) not in forgotten]
    print_surveys({"indexed": TarSource(there).survey()})
    if bad:
        raise ValueError(
            f"{len(bad):,} of {len(tars):,} tars are damaged; what comes before the damage is "
            "used, and the rest of them is left out"
        )


def _tokenizer(args: argparse.Namespace, _: list[str]) -> None:
    from data_pipelines.opening import open_source
    from data_pipelines.sources.base import all_captions
    from data_pipelines.text import train_sentencepiece
    from vlp.files import write_whole

    out = Path(args.out)
    check_output("--out", out, TOKENIZER)
    source = open_source(args.data)
    tokenizer = train_sentencepiece(
        all_captions(source), vocab_size=args.vocab_size, name=out.stem, begin=args.begin
    )
    write_whole(out, tokenizer.save)
    print(f"{out}: {tokenizer.vocab_size:,} pieces, sha256 {tokenizer.sha256[:16]}")


def _emoji(args: argparse.Namespace, _: list[str]) -> None:
    from data_pipelines.emoji import materialize

    folder = materialize()
    for tar in sorted(folder.glob("*.tar")):
        print(tar)
