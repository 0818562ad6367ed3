"""Hand encoders to another stack, with proof that they compute the same there.

  vlp export --model=runs/emoji --to=hf --out=exported
  vlp export --model=open_clip:models/b32 --to=onnx --out=b32_onnx

--model is a run of vlp (its workdir, or one of its checkpoints) or weights of another stack:
folders of transformers, open_clip and timm, npz files of big_vision; so this converts as well.

  hf          a folder for transformers: CLIPModel, SiglipModel, ... with processor and tokenizer
  open_clip   a folder for open_clip's "local-dir:"
  timm        the image tower for timm.create_model
  big_vision  an npz for big_vision, and for open_clip's reader of it
  onnx        onnx/vision_model.onnx, onnx/text_model.onnx, and both as onnx/model.onnx
  stablehlo   serialised functions for any JAX, on CPU, GPU and TPU
  savedmodel  a TensorFlow SavedModel
  tflite      one .tflite a tower, for a fixed batch

The result is read by the target's own stack where that is installed, and compared through both
sides' own preprocessing and tokenizer. It appears only if they agree; `parity.json` in it holds the
figures, or says that nothing here could verify it.
"""

import argparse
import logging
from functools import partial

from vlp.cli.arguments import add_loading_arguments, add_model_argument, any_folder, loading

SUMMARY = "hand the encoders to another stack"
TARGETS = ("hf", "open_clip", "timm", "big_vision", "onnx", "stablehlo", "savedmodel", "tflite")
# Flags that belong to some targets only, and what they are called in vlp.interop.export.export.
SETTINGS = ("opset", "precision", "joint", "batch_size", "mode")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `vlp export`."""
    add_model_argument(parser)
    parser.add_argument("--to", required=True, choices=TARGETS, metavar="TARGET", help="see above")
    parser.add_argument(
        "--out", type=any_folder, required=True, metavar="DIR", help="a folder that is not there"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier export")
    parser.add_argument(
        "--towers", choices=("both", "image", "text"), default="both", help="default: %(default)s"
    )
    parser.add_argument(
        "--check",
        choices=("auto", "transformers", "numpy"),
        default="auto",
        help="hf only: what to compare with; auto: transformers where it and torch are installed",
    )
    parser.add_argument("--opset", type=int, help="onnx only: version of the operators")
    parser.add_argument("--precision", help="onnx only: fp32 (default), fp16 or int8")
    parser.add_argument(
        "--joint",
        action=argparse.BooleanOptionalAction,
        help="onnx only: also both towers as one file, as transformers.js opens it; the folder is "
        "twice as large (default: yes)",
    )
    parser.add_argument("--batch-size", type=int, metavar="N", help="tflite only: rows at once")
    parser.add_argument(
        "--mode",
        choices=("encode", "decode"),
        help="hf only: what to write of a BLIP, the class for retrieval or the one for captions",
    )
    add_loading_arguments(parser)


def run(args: argparse.Namespace, _: list[str]) -> None:
    """Exports and says how far the two sides agree."""
    from vlp.interop.export import check_model, check_request, export
    from vlp.interop.load import load_run
    from vlp.interop.parity import summary

    given = {name: getattr(args, name) for name in SETTINGS if getattr(args, name) is not None}
    target = dict(to=args.to, towers=args.towers, **given)
    request = dict(check=args.check, overwrite=args.overwrite, **target)
    check_request(args.out, **request)  # before gigabytes are read
    logging.getLogger("vlp").info("reading %s", args.model)
    loaded = load_run(args.model, accept=partial(check_model, **target), **loading(args))
    report = export(loaded, args.out, **request)
    print(f"exported to {args.out}, {summary(report)}")
