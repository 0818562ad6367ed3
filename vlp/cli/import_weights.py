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

import argparse

from vlp.cli.arguments import add_loading_arguments, any_folder, loading

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
        "--out", type=any_folder, required=True, metavar="DIR", help="a folder that is not there"
    )
    add_loading_arguments(parser)


def run(args: argparse.Namespace, _: list[str]) -> None:
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
