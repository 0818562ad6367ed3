"""Evaluator a model on a data set: retrieval, classification, matching, masked words, captions.

  vlp eval --model=runs/emoji --data=emoji:twemoji --task=retrieval --out=result.json
  vlp eval --model=hf:models/clip-b32 --data=imagenet-val/ --task=classification
      --classes=classnames.txt --templates=clip80
  vlp eval --model=runs/fusion --data=pairs.tar --task=retrieval --rerank=16
  vlp eval --model=runs/spoken --data='emoji:twemoji + voice.tar' --task=retrieval
      --between=image-audio
  vlp eval --model=runs/fusion --data=pairs.tar --task=masked_words --mask-id=1024

Classification needs pictures and labels, no captions: the label is a field of the samples' JSON
(--label), or `cls`, which is KEY.cls in a tar and the folder's name where pictures lie in a folder
a class. --classes names all classes there are: a file with one name a line, whose number from 0 is
the label (classnames.txt), or JSON, a list of names or an object from labels to names. Without it
the classes are the labels that occur.

With --rerank the dual encoder's best candidates are ordered anew by a model that reads image and
text together; "matching" asks such a model to tell true pairs from the hardest wrong ones,
"masked_words" to tell hidden words, with the image and with another one. "captioning" compares
written captions with the data's own by CIDEr and BLEU-4; METEOR and SPICE are Java programs and not
offered.

The model is a run of vlp (its workdir, or one of its checkpoints) or weights of another stack, as
`vlp import --help` lists them. Data are tars in WebDataset's layout (`KEY.png`, `KEY.txt` with its
caption, `KEY.json`), a folder of pictures, or `emoji:NAME`. Samples that cannot be used are counted
and said under the scores.
"""

import argparse
from typing import Any

from vlp.cli.arguments import (
    add_data_argument,
    add_decoding_arguments,
    add_loading_arguments,
    add_model_argument,
    any_path,
    check_sizes,
    loading,
    open_data,
)
from vlp.jobs.outputs import RESULT, check_output

SUMMARY = "judge a model on a data set: retrieval, classification, matching, captions"

# Which flags belong to which task, as the names of its settings.
FLAGS = {
    "retrieval": ("captions", "group", "between", "rerank", "rerank_by"),
    "classification": ("label", "classes", "templates"),
    "matching": ("captions",),
    "masked_words": ("captions", "mask_id"),
    "captioning": ("num_beams", "length_penalty", "min_length", "prompt"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `vlp eval`."""
    add_model_argument(parser)
    add_data_argument(parser)
    parser.add_argument("--task", required=True, choices=tuple(FLAGS))
    parser.add_argument("--out", type=any_path, metavar="FILE.json", help="write the result there")
    parser.add_argument(
        "--captions",
        choices=("first", "all"),
        default=None,
        help="retrieval, matching, masked_words: of each image; default first",
    )
    parser.add_argument(
        "--group", metavar="FIELD", help="retrieval: report each value of a JSON field on its own"
    )
    parser.add_argument(
        "--between",
        metavar="A-B",
        help="retrieval: which modalities, of image, audio and text; default image-text",
    )
    parser.add_argument(
        "--rerank", type=int, metavar="K", help="retrieval: order the best K anew by the match"
    )
    parser.add_argument(
        "--rerank-by",
        choices=("match", "match_and_cosine"),
        help="retrieval with --rerank: by what; default match",
    )
    parser.add_argument(
        "--label", metavar="FIELD", help="classification: the field that is the class; default cls"
    )
    parser.add_argument(
        "--classes",
        metavar="NAME|FILE",
        help="classification: the names of all classes in a file, or those of imagenet1k, ...; "
        "default the labels that occur",
    )
    parser.add_argument(
        "--templates",
        metavar="NAME|FILE",
        help="classification: prompts by name (simple, emoji, photo, clip7, clip80, or those that "
        "the field has for cifar10, eurosat, ...), or a file of them, one a line or a JSON list",
    )
    parser.add_argument(
        "--mask-id", type=int, metavar="ID", help="masked_words: the token that hides others"
    )
    parser.add_argument(
        "--beams", dest="num_beams", type=int, metavar="N", help="captioning: default 3"
    )
    parser.add_argument(
        "--length-penalty", type=float, metavar="P", help="captioning: above 0 favours long ones"
    )
    parser.add_argument(
        "--min-length", type=int, metavar="L", help="captioning: tokens in front of the end token"
    )
    parser.add_argument(
        "--prompt", metavar="TEXT", help="captioning: what captions begin with; left out of them"
    )
    add_decoding_arguments(parser)
    add_loading_arguments(parser)


def run(args: argparse.Namespace, _: list[str]) -> None:
    """Judges, prints a table and writes the JSON."""
    check_sizes(args, "threads")
    settings = _settings(args)
    if args.out:
        check_output("--out", args.out, RESULT)
    from vlp.caches import use_compilation_cache
    from vlp.evals.results import print_results
    from vlp.files import write_json
    from vlp.interop.load import load_run
    from vlp.jobs.data_table import say_data
    from vlp.jobs.evaluator import Evaluator
    from vlp.jobs.progress import counting
    from vlp.jobs.tasks import check_data, check_settings, check_task, evaluate

    check_settings(args.task, settings)
    source = open_data(args)
    say_data({args.task: source})
    check_data(args.task, source=source, settings=settings)  # before gigabytes are read
    loaded = load_run(args.model, **loading(args))
    check_task(args.task, model=loaded.model, settings=settings)  # before a bar is shown
    use_compilation_cache()
    with counting("images", len(source)) as progress:
        evaluator = Evaluator.of_run(loaded, threads=args.threads, progress=progress)
        evaluator.sources[args.data] = source
        result = evaluate(evaluator, args.task, data=args.data, **settings)
    print_results([result])
    if args.out:
        write_json(args.out, result)
        print(f"written to {args.out}")


def _settings(args: argparse.Namespace) -> dict[str, Any]:
    """The settings of the task; a setting of another task is refused, not ignored."""
    given = {name: getattr(args, name) for names in FLAGS.values() for name in names}
    given = {name: value for name, value in given.items() if value is not None}
    foreign = sorted(set(given) - set(FLAGS[args.task]))
    if foreign:
        flag = foreign[0].removeprefix("num_").replace("_", "-")
        raise ValueError(f"--{flag} does not belong to --task={args.task}; leave it out")
    if args.task == "masked_words" and "mask_id" not in given:
        raise ValueError(
            "--task=masked_words needs --mask-id=ID, the token that hides others: "
            "config.objective.mask_id of the run, 103 for BERT's own vocabulary"
        )
    if "rerank_by" in given and not given.get("rerank"):
        raise ValueError("--rerank-by needs --rerank=K, how many to order anew; try --rerank=16")
    return given
