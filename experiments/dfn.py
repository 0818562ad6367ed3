"""DFN: a small CLIP learns of clean pairs what fits, filters the web, and its best pairs train one.

  vlp train --config=experiments/dfn.py:stage=filter,data=CLEAN --workdir=runs/filter
  vlp train --config=experiments/dfn.py:stage=tuned,data=BEST,init=runs/filter --workdir=runs/tuned
  vlp embed --model=runs/tuned --data=WEB --out=vectors
  vlp data filter --data=WEB --embeddings=vectors --share=0.15 --out=kept
  vlp train --config=experiments/dfn.py:stage=induced,data=kept,model=ViT-L/14 --workdir=runs/l14

CLEAN, BEST and WEB are pairs as in own_data.py: some tens or hundreds of millions that people
chose; a few with captions by people; and what is to be filtered, from which `vlp data dedup
--against` takes the pictures that models are judged on.

Method: Fang et al., 2023, https://arxiv.org/abs/2309.17425: a ViT-B/32 is trained on clean pairs
and tuned on MS COCO, Flickr30k and ImageNet with CLIP's templates as captions; a pair's score is
the cosine of its embeddings; the best 15 % of 12.8 billion pairs are DFN-2B.
Numbers: the stages filter and induced are those of experiments/clip.py; tuned is at 1e-5 with 2,048
pairs for 8 epochs. All of these are our choice where the paper's own differ.
Cost: filter and induced as in experiments/clip.py by `model`; scoring 15 GFLOPs a pair.
Expected on ImageNet without training there (the paper's abstract): ViT-H of 5 billion pairs that
were kept so, 84.4 %; nobody has run this here at that size. benchmarks/filtered_emoji.py is a small
one.

Arguments: `stage`; `data`; `init`; `model` (a key of clip.py's `MODELS`, for filter and induced);
`epochs`; `batch` (global).
"""

from ml_collections import ConfigDict

from experiments import clip
from experiments.common import check_given, chosen, parse_arg

# Pairs a batch, epochs, and the highest rate; None as for CLIP.
STAGES = {
    "filter": (16384, 32.0, None),
    "tuned": (2048, 8.0, 1e-5),
    "induced": (32768, 32.0, None),
}


def get_config(arg: str = "") -> ConfigDict:
    """The config of one stage."""
    args = parse_arg(arg, stage="filter", data="", init="", model="ViT-B/32", epochs=0.0, batch=0)
    batch, epochs, peak = chosen("stage", args.stage, STAGES)
    needs = ("data", "init") if args.stage == "tuned" else ("data",)
    check_given(args, *needs, example=f"dfn.py:stage={args.stage},data=shards/*.tar,init=runs/b32")
    init = f",init={args.init}" if args.init else ""
    config = clip.get_config(
        f"model={args.model},data={args.data}{init},epochs={args.epochs or epochs},"
        f"batch={args.batch or batch}"
    )
    if peak is not None:
        config.optim.schedule = ConfigDict(dict(name="cosine", peak=peak, warmup="200 steps"))
    return config
