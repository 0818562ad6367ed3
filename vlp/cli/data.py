"""Prepare data: index tars, look into them, convert, clean and balance them, train a tokenizer.

`vlp data JOB --help` explains each.
"""

import argparse
from pathlib import Path

from vlp.cli import data_look, data_select
from vlp.cli.arguments import add_data_argument, local_path
from vlp.jobs.outputs import TOKENIZER, check_output

SUMMARY = "index, inspect, convert, filter data; train tokenizers"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the sub-commands."""
    commands = parser.add_subparsers(dest="job", metavar="JOB", required=True)
    index = commands.add_parser(
        "index",
        help="write the byte-offset index beside each tar, so that it opens at once",
        allow_abbrev=False,
    )
    index.add_argument(
        "data", nargs="+", metavar="DATA", help="uncompressed tars, patterns, ranges, or folders"
    )
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


def _index(args: argparse.Namespace, _: list[str]) -> None:
    from rich.progress import track

    from data_pipelines.opening import tars_of
    from data_pipelines.sources import TarSource, build_index
    from vlp.jobs.data_table import print_surveys

    tars = list(dict.fromkeys(tar for spec in args.data for tar in tars_of(spec)))
    bad: list[str] = []
    good: list[Path] = []
    for tar in track(tars, description="indexing", disable=len(tars) < 2):
        try:
            build_index(tar)
        except (OSError, ValueError) as error:
            bad.append(str(error))
        else:
            good.append(tar)
    if good:
        print_surveys({"indexed": TarSource(good).survey()})
    if bad:
        raise ValueError(f"{len(bad)} of {len(tars)} tars have no index:\n  " + "\n  ".join(bad))


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
