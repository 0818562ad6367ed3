"""Hand a run's encoders to another stack, with proof that they compute the same there.

  vlp export --workdir=runs/emoji --to=hf --out=exported

hf writes a folder for transformers' CLIPModel or SiglipModel and their processors. Image and text
embeddings and logits are compared, in transformers itself where torch is installed and otherwise
with a second implementation that reads only the written files. The folder appears only if they
agree; `parity.json` in it holds the figures.
"""

from __future__ import annotations

import argparse

SUMMARY = "hand the encoders to another stack"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `vlp export`."""
    parser.add_argument("--workdir", required=True, help="a run, or one of its checkpoints")
    parser.add_argument("--to", required=True, choices=("hf",), help="the target's format")
    parser.add_argument("--out", required=True, metavar="DIR", help="a folder that does not exist")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing folder")
    parser.add_argument(
        "--weights",
        choices=("auto", "ema", "params"),
        default="auto",
        help="the averaged weights, the weights themselves, or (auto) the average if there is one",
    )
    parser.add_argument(
        "--check",
        choices=("auto", "transformers", "numpy"),
        default="auto",
        help="what to compare with; auto: transformers where it and torch are installed",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, _: list[str]) -> int:
    """Exports and says how far the two sides agree."""
    from vlp.interop.export import export
    from vlp.interop.parity import summary

    report = export(
        args.workdir,
        args.out,
        to=args.to,
        weights=args.weights,
        check=args.check,
        overwrite=args.overwrite,
    )
    print(f"exported to {args.out}, {summary(report)}")
    return 0
