"""CapFilt: a BLIP becomes filter and captioner, and is trained again on captions that they cleaned.

  vlp train --config=experiments/blip.py:data=WEB,bert=BERT --workdir=runs/blip
  vlp train --config=experiments/capfilt.py:stage=filter,data=HUMAN,bert=BERT,init=runs/blip \
    --workdir=runs/filter
  vlp train --config=experiments/capfilt.py:stage=captioner,data=HUMAN,bert=BERT,init=runs/blip \
    --workdir=runs/captioner
  vlp caption --model=runs/captioner --data=WEB --method=nucleus --out=synthetic.jsonl
  vlp filter --model=runs/filter --data=WEB --captions=synthetic.jsonl --out=clean
  vlp train --config=experiments/blip.py:data=clean/*.tar,HUMAN,bert=BERT --workdir=runs/again

WEB and HUMAN are pairs as in `experiments/own_data.py`: many from the web, and few with captions by
people, for which the authors take COCO. BERT is the folder of bert-base-uncased. The source of
every caption, kept or not, stands in `clean/manifest.jsonl`.

Arguments: `stage`; `data`; `bert`, `model`: as for the run in `init`; `res` (pixels); `epochs`;
`batch` (global).

Method: Li et al., 2022, https://arxiv.org/abs/2201.12086, section 3.3, whose filter learns to
contrast and to match, and whose captioner to write, each on its own. Numbers are those of the
authors' fine-tuning on COCO (https://github.com/salesforce/BLIP, `configs/retrieval_coco.yaml` and
`configs/caption_coco.yaml`): AdamW with weight decay 0.05, 1e-5 falling by a cosine to 0 (L: 5e-6
and 2e-6), 256 pairs, 384 pixels, 6 and 5 epochs. Different: captions begin with no prompt; two
captions of one picture in a batch count as different in the contrast.
Cost: 3 M pairs at 384 pixels, where the pretraining has 280 M at 224; the web's captions cost more.
Expected: the paper's table 1; not repeated here.
"""

from ml_collections import ConfigDict

from experiments import blip
from experiments.common import chosen, parse_arg

# The task of a stage, its epochs, and its rates for B and L.
STAGES = {"filter": ("align", 6.0, (1e-5, 5e-6)), "captioner": ("write", 5.0, (1e-5, 2e-6))}
# What a stage has no use for: it stays as it was.
FREEZE = {
    "filter": ("token_head/.*", "grounding/blocks/(writer|norm_writer)/.*"),
    "captioner": (
        "text/stack/blocks/(attention|norm1)/.*", "match_head/.*", "(image|text)_projection/.*",
        "log_scale",
    ),
}  # fmt: skip


def get_config(arg: str = "") -> ConfigDict:
    """The config of one fine-tuning."""
    args = parse_arg(
        arg,
        stage="",
        data="",
        bert="",
        init="",
        model="blip/ViT-B/16",
        res=384,
        epochs=0.0,
        batch=256,
    )
    _, epochs, rates = chosen("stage", args.stage, STAGES)
    if not args.init:
        raise ValueError("capfilt.py needs init=WORKDIR, the run of experiments/blip.py, got none")
    config = blip.get_config(
        f"data={args.data},bert={args.bert},model={args.model},batch={args.batch},"
        f"epochs={args.epochs or epochs}"
    )
    config.preprocess.size = args.res
    config.augment.crop = (0.5, 1.0)
    peak = rates[list(blip.SIZES).index(args.model)]
    config.optim.schedule = ConfigDict(dict(name="cosine", peak=peak))
    set_stage(config, args.stage, init=args.init)
    return config


def set_stage(config: ConfigDict, stage: str, *, init: str) -> None:
    """Makes the config of a BLIP that of its fine-tuning as `stage`, from the run `init`."""
    task, *_ = STAGES[stage]
    config.objective.update(tasks=(task,), ramp="1 epochs")
    config.optim.freeze = FREEZE[stage]
    config.init.update(path=init, only=(".*",))
