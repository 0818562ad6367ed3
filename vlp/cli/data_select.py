"""`vlp data convert | reshard | dedup | filter | balance | label`: data from data."""

import argparse
import dataclasses
import hashlib
from functools import partial
from pathlib import Path
from typing import Any

from vlp.cli.arguments import add_count_argument, check_sizes
from vlp.cli.data_jobs import (
    add_form,
    add_job,
    begin,
    form_of,
    form_settings,
    gather,
    judge,
    open_indexed,
    write_and_say,
)
from vlp.cli.data_progress import showing

CONVERT = """\
Write data of any kind as tars, parquet or a folder with a table.

  vlp data convert --data='parquet/*.parquet' --layout=tars --out=tars

Shard k is of the samples k * shard-size to (k + 1) * shard-size; tars have their index beside them.
Where a sample came from stands in its metadata as source_key and source_file."""
RESHARD = """\
Write data as tars of another size, and with --resize with smaller pictures.

  vlp data reshard --data='web/*.tar' --shard-size=5000 --resize=256 --out=small"""
DEDUP = """\
Leave out pictures that are there twice, as they are or scaled and compressed again.

  vlp data dedup --data='web/*.tar' --against='imagenet/*.tar,coco/*.tar' --out=once

Equal files are found by hash, near ones by a perceptual hash of --bits and by the cells of the
picture at 8 x 8 pixels. --against are pictures that a model is to be judged on: what is equal or
near to one of them is left out too. --embeddings=DIR (of vlp embed on the same data) finds instead
what is near by --cosine; it compares all with all.

DIR/manifest says of each sample whether it stayed, why not, and of which other it is a duplicate;
those of --against count from -1 downwards."""
FILTER = """\
Keep the samples that keep to rules, or that a model finds to belong together.

  vlp data filter --data='web/*.tar' --min-side=201 --max-aspect=3 --min-words=3 \
--min-characters=6 --languages=en --out=basic

  vlp embed --model=runs/filter --data='web/*.tar' --out=vectors
  vlp data filter --data='web/*.tar' --embeddings=vectors --share=0.15 --out=best

The first is DataComp's basic filter (https://arxiv.org/abs/2304.14108). By --embeddings the score
is the cosine of picture and caption: with CLIP's vectors LAION's filter, with those of a model
trained on clean pairs DFN's (https://arxiv.org/abs/2309.17425). Rules and scores are two jobs, one
after the other. DIR/manifest says of each sample whether it stayed, its score, or the rule that
it broke."""
BALANCE = """\
Keep at most so many samples of what captions speak of most.

  vlp data balance --data='web/*.tar' --queries=queries.txt --out=balanced

--queries has a word or phrase a line, CLIP's recipe 500,000 of them. A caption belongs to each that
stands in it as whole words. --method=clip keeps at most --most pairs of each query (20,000,
https://arxiv.org/abs/2103.00020), metaclip each pair with the probability most / count for each of
its queries (https://arxiv.org/abs/2309.16671). What belongs to no query does not stay."""
LABEL = """\
Make labels of captions: their nouns, as synsets of WordNet that enough samples have.

  vlp data label --data='web/*.tar' --wordnet=WordNet-3.0/dict --out=labelled
  vlp train --config=experiments/catlip.py:data=labelled,labels=24320 --workdir=runs/catlip

Samples get the field "labels", numbers of lines of DIR/vocabulary.txt, whose count is the
experiment's `labels` (CatLIP, https://arxiv.org/abs/2404.15653). --wordnet is a folder with
index.noun: Princeton's, or corpora/wordnet of NLTK's data."""
_RULES = {
    "min-side": (int, "PIXELS", "of the shorter side"),
    "max-aspect": (float, "RATIO", "longer by shorter side"),
    "min-spread": (float, "X", "of brightness, 0 to 127; 2 leaves out empty pictures"),
    "min-words": (int, "N", "of the caption"),
    "max-words": (int, "N", "of the caption"),
    "min-characters": (int, "N", "of the caption"),
}
_BITS, _COSINE = 4, 0.95


def add_jobs(commands: Any) -> None:
    """Adds the jobs to those of `vlp data`."""
    convert = add_job(
        commands, "convert", summary="write data in another layout", about=CONVERT, run=_convert
    )
    add_form(convert, none=False)
    reshard = add_job(
        commands, "reshard", summary="shards of another size", about=RESHARD, run=_convert
    )
    add_form(reshard, none=False)
    _add_dedup(commands)
    _add_filter(commands)
    balance = add_job(
        commands, "balance", summary="level out what captions speak of", about=BALANCE, run=_balance
    )
    balance.add_argument("--queries", required=True, metavar="FILE", help="one a line")
    balance.add_argument("--method", choices=("clip", "metaclip"), default="clip")
    add_count_argument(balance, "--most", default=20_000, what="samples a query")
    balance.add_argument("--seed", type=int, default=0, help="of the draws (default %(default)s)")
    add_form(balance, none=True)
    label = add_job(
        commands, "label", summary="captions to labels (CatLIP)", about=LABEL, run=_label
    )
    label.add_argument("--wordnet", required=True, metavar="DIR", help="with index.noun")
    add_count_argument(label, "--min-count", default=500, what="samples that a label has")
    add_form(label, none=True)


def _add_dedup(commands: Any) -> None:
    dedup = add_job(
        commands, "dedup", summary="leave out duplicates, and what is to be judged on", about=DEDUP,
        run=_dedup,
    )  # fmt: skip
    dedup.add_argument("--against", metavar="DATA", help="pictures to be judged on")
    dedup.add_argument(
        "--bits", type=int, metavar="N", help=f"-1: equal files only (default {_BITS})"
    )
    dedup.add_argument("--embeddings", metavar="DIR", help="of vlp embed")
    dedup.add_argument(
        "--cosine", type=float, metavar="X", help=f"least of near ones (default {_COSINE})"
    )
    add_form(dedup, none=True)


def _add_filter(commands: Any) -> None:
    parser = add_job(
        commands, "filter", summary="keep what keeps to rules, or scores well", about=FILTER,
        run=_filter,
    )  # fmt: skip
    for name, (kind, unit, what) in _RULES.items():
        parser.add_argument(f"--{name}", type=kind, metavar=unit, help=what)
    parser.add_argument("--languages", default="", metavar="en,de", help="of the caption")
    parser.add_argument("--forbidden", metavar="FILE", help="words, one a line")
    parser.add_argument("--embeddings", metavar="DIR", help="of vlp embed")
    parser.add_argument("--threshold", type=float, metavar="COSINE", help="the least that stays")
    parser.add_argument("--share", type=float, metavar="X", help="of the samples, the best")
    add_form(parser, none=True)


def _convert(args: argparse.Namespace, _: list[str]) -> None:
    form = form_of(args)
    work, flags = begin(args, form_settings(form))
    write_and_say(work, flags, form, chosen=False)


def _dedup(args: argparse.Namespace, _: list[str]) -> None:
    if args.embeddings:
        _dedup_by_embedding(args)
        return
    if args.cosine is not None:
        raise ValueError(
            f"--cosine is of vectors, got {args.cosine:g} without --embeddings; give "
            "--embeddings=DIR, or --bits in its place"
        )
    from data_pipelines.jobs.duplicates import Near, by_look

    near, against = Near(bits=_BITS if args.bits is None else args.bits), None
    form = form_of(args)
    judged_on = open_indexed(args.against, args) if args.against else None
    how = {"bits": near.bits, "against": judged_on and judged_on.fingerprint}
    work, flags = begin(args, {**how, **form_settings(form)})
    if judged_on is not None:
        against = dataclasses.replace(work, spec=args.against, samples=len(judged_on))
        _gather_judged_on(against, flags)
    gather(work, flags, pictures=True)
    judge(work, flags, partial(by_look, work=work, near=near, against=against))
    write_and_say(work, flags, form)


def _gather_judged_on(against: Any, flags: list[str]) -> None:
    """Reads the pictures of --against, whether they have captions or not, and says how many.

    Raises:
        ValueError: none can be read.
    """
    from data_pipelines.faults import summary
    from data_pipelines.jobs.facts import count_usable

    where = "against"
    gather(against, flags, pictures=True, captions=False, where=where, doing="reading --against")
    readable, rejects = count_usable(against, where=where)
    print(
        f"--against: {readable:,} of {against.samples:,} pictures can be read; others: "
        f"{summary(rejects)}"
    )
    if not readable:
        raise ValueError(
            f"--against must have a picture that can be read, {against.spec} has none "
            f"({summary(rejects)}); give pictures, and another --out"
        )


def _dedup_by_embedding(args: argparse.Namespace) -> None:
    for name in ("against", "bits"):
        if getattr(args, name) is not None:
            raise ValueError(
                f"--{name} compares by look, --embeddings by vectors; give one of them"
            )
    cosine = _COSINE if args.cosine is None else args.cosine
    if not -1 <= cosine <= 1:
        raise ValueError(f"--cosine must be of -1 to 1, got {cosine:g}; try {_COSINE}")
    from data_pipelines.jobs.duplicates import by_embedding
    from vlp.jobs.embedded import embedded_by, embedded_shards

    form = form_of(args)
    shards = embedded_shards(args.embeddings, open_indexed(args.data, args))
    images = [image for image, _ in shards]
    how = {"embeddings": embedded_by(args.embeddings), "cosine": cosine}
    work, flags = begin(args, {**how, **form_settings(form)})
    gather(work, flags, pictures=False)
    judging = partial(by_embedding, samples=work.samples, shards=images, cosine=cosine)
    judge(work, flags, judging)
    write_and_say(work, flags, form)


def _filter(args: argparse.Namespace, _: list[str]) -> None:
    given = {name.replace("-", "_"): getattr(args, name.replace("-", "_")) for name in _RULES}
    languages = tuple(filter(None, (code.strip() for code in args.languages.split(","))))
    rules = given | {"languages": languages, "forbidden": args.forbidden}
    some_rule = any(value not in (None, ()) for value in rules.values())
    if bool(args.embeddings) == some_rule:
        raise ValueError(
            "a filter keeps to rules or goes by --embeddings; give one of "
            f"{', '.join(f'--{name}' for name in _RULES)}, --languages, --forbidden, or "
            "--embeddings, and the other in a job of its own"
        )
    if args.embeddings:
        _filter_by_score(args)
        return
    if args.threshold is not None or args.share is not None:
        raise ValueError("--threshold and --share are of scores; give --embeddings too")
    from data_pipelines.jobs.rules import Rules, by_rules
    from data_pipelines.jobs.words_file import read_words

    rules["forbidden"] = read_words(args.forbidden) if args.forbidden else ()
    form, kept = form_of(args), Rules(**rules)
    work, flags = begin(args, {**rules, **form_settings(form)})
    gather(work, flags, pictures=True)
    judge(work, flags, partial(by_rules, work=work, rules=kept))
    write_and_say(work, flags, form)


def _filter_by_score(args: argparse.Namespace) -> None:
    from data_pipelines.jobs.scores import Wanted, by_score, least_score
    from vlp.jobs.embedded import embedded_by, embedded_shards

    form, wanted = form_of(args), Wanted(args.threshold, args.share)
    shards = embedded_shards(args.embeddings, open_indexed(args.data, args))
    how = {"embeddings": embedded_by(args.embeddings), **dataclasses.asdict(wanted)}
    work, flags = begin(args, {**how, **form_settings(form)})
    gather(work, flags, pictures=False)
    least = args.threshold
    if wanted.share is not None:
        with showing("scoring"):
            least = least_score(work, flags, shards, wanted.share)
        print(f"the best {wanted.share:.1%} score at least {least:.4f}")
    judge(work, flags, partial(by_score, samples=work.samples, shards=shards, least=least))
    write_and_say(work, flags, form)


def _balance(args: argparse.Namespace, _: list[str]) -> None:
    from data_pipelines.jobs.balance import by_queries
    from data_pipelines.jobs.words_file import read_words

    check_sizes(args, "most")
    form, queries = form_of(args), read_words(args.queries)
    how = {"method": args.method, "most": args.most, "seed": args.seed}
    work, flags = begin(args, {**how, "queries": _digest(queries), **form_settings(form)})
    gather(work, flags, pictures=False)
    judge(work, flags, partial(by_queries, work=work, queries=queries, **how))
    write_and_say(work, flags, form)


def _label(args: argparse.Namespace, _: list[str]) -> None:
    from data_pipelines.jobs.label import by_nouns, write_vocabulary
    from data_pipelines.jobs.wordnet import WordNet

    check_sizes(args, "min_count")
    form = form_of(args)
    fingerprint = WordNet(args.wordnet).fingerprint  # refused before anything is read
    how = {"wordnet": str(Path(args.wordnet).absolute()), "min_count": args.min_count}
    work, flags = begin(args, {**how, "wordnet": fingerprint, **form_settings(form)})
    gather(work, flags, pictures=False)
    with showing("counting nouns"):
        vocabulary = write_vocabulary(work, flags, **how)
    print(f"{len(vocabulary.read_text(encoding='utf-8').splitlines()):,} labels: {vocabulary}")
    judge(work, flags, partial(by_nouns, work=work, wordnet=how["wordnet"]))
    write_and_say(work, flags, form)


def _digest(lines: tuple[str, ...]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
