"""Make pretrained weights of another stack a run that every command takes.

  vlp import --from=models/clip-vit-base-patch32 --out=runs/clip_b32
  vlp import --from=hf:openai/clip-vit-base-patch32 --out=runs/clip_b32
  vlp import --from=open_clip:models/b16 --out=runs/b16_384 --image-size=384
  vlp import --from=open_clip:epoch_9.pt --arch=ViT-B-32 --out=runs/b32 --allow-pickle-weights

Read are folders of transformers (CLIPModel, SiglipModel, Siglip2Model, VisionTextDualEncoderModel,
ViTModel, BertModel, BLIP for retrieval or captions), of open_clip and of timm, npz files of
big_vision, and checkpoints of ALBEF's and BLIP's authors. The format is seen from the files, or
given in front of the path: hf:, open_clip:, timm:, big_vision:, and always for the last two,
albef: and blip:. Behind hf:, open_clip: and timm: what is no path is the name of a model on the
Hub, with @REVISION behind it or not; what is fetched stays in the Hub's cache. The run has card,
tokenizer and one checkpoint of step 0. Training begins from it, or from the weights themselves, by
--config.init.path.
"""

from __future__ import annotations

import argparse
from typing import Any

from vlp.cli.paths import local_folder

SUMMARY = "make weights of another stack a run"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `vlp import`."""
    parser.add_argument(
        "--from",
        dest="source",
        required=True,
        metavar="WEIGHTS",
        help="[FORMAT:]PATH of a folder or file, or FORMAT:owner/name on the Hub",
    )
    parser.add_argument(
        "--out", type=local_folder, required=True, metavar="DIR", help="a folder that is not there"
    )
    add_loading_arguments(parser)
    parser.set_defaults(run=run)


def add_model_argument(parser: Any, *, required: bool = True) -> None:
    """Adds the flag that names a model, to a parser or a group of one."""
    parser.add_argument(
        "--model",
        "--workdir",
        dest="model",
        required=required,
        metavar="MODEL",
        help="a run, one of its checkpoints, weights of another stack as [FORMAT:]PATH, or "
        "hf:owner/name",
    )


def add_loading_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds what all commands that read weights have."""
    parser.add_argument(
        "--weights",
        metavar="auto|params|ema",
        help="the average of the weights (ema) or themselves (params); auto: the average where one "
        "was kept (default). For a checkpoint of another stack also what it calls them",
    )
    parser.add_argument(
        "--image-size",
        type=int,
        metavar="PIXELS",
        help="take images of this size: positions of patches are resized",
    )
    parser.add_argument(
        "--text-length",
        type=int,
        metavar="TOKENS",
        help="take texts of this length: their positions are cut off or stretched",
    )
    parser.add_argument(
        "--tokenizer",
        metavar="PATH",
        help='its file or folder, where the weights bring none; "none" to do without',
    )
    parser.add_argument(
        "--allow-pickle-weights",
        action="store_true",
        help="read .bin, .pt and .pth too, by torch.load(weights_only=True); needs torch",
    )
    parser.add_argument(
        "--arch",
        metavar="NAME",
        help="open_clip's name of the model, such as ViT-B-32, or a .json file with its model_cfg, "
        "for weights without an open_clip_config.json",
    )


def loading(args: argparse.Namespace) -> dict[str, Any]:
    """The keyword arguments of `load_run` that were given."""
    names = ("weights", "image_size", "text_length", "tokenizer", "allow_pickle_weights", "arch")
    given = {name: getattr(args, name) for name in names}
    return {name: value for name, value in given.items() if value is not None}


def run(args: argparse.Namespace, _: list[str]) -> int:
    """Loads, writes and says what it was."""
    from vlp.interop.load import load_run
    from vlp.interop.loaded import params_of
    from vlp.interop.save import check_free, save_run

    check_free(args.out)  # before gigabytes are read
    loaded = load_run(args.source, **loading(args))
    folder = save_run(loaded, args.out)
    count = sum(array.size for array in params_of(loaded.model).values())
    tokenizer = loaded.card["tokenizer"]
    reads = f'tokenizer "{tokenizer["name"]}"' if tokenizer else "no tokenizer"
    print(f"{loaded.card['attribution']} {count / 1e6:.1f} M parameters, {reads}")
    print(f"licence of the weights: {loaded.card['licence']}")
    print(f"imported to {folder}")
    return 0
