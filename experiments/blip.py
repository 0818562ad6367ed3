"""BLIP with the paper's numbers: contrast, matching and captions, with a slow teacher.

A ViT at 224 pixels, and BERT base, whose twelve blocks encode text, read the image and write. The
14 M pairs of the paper are CC3M, CC12M, SBU, COCO and Visual Genome; 129 M with LAION's.

Method: Li et al., 2022, https://arxiv.org/abs/2201.12086, sections 3 and 4.1 and
https://github.com/salesforce/BLIP (`pretrain.py`, `configs/pretrain.yaml`): AdamW with weight decay
0.05; the rate rises over 3,000 steps to 3e-4 (L: 2e-4) and falls by a tenth an epoch; batch 2,880
(L: 2,400); 20 epochs; texts of 30 tokens; teacher 0.995, queue 57,600, distillation 0.4 after two
epochs; crops, flips and RandAugment. Different: negatives come from all pairs of the batch, not
from one device's share; weight decay spares biases, norms and the temperature, which the authors
decay.
Cost: 306 and 680 GFLOPs a pair and training step for B and L, the teacher's passes included;
8.6e19 for B on 14 M pairs; the authors took two nodes of 16 GPUs.
Planned (`vlp plan`: GB a device, a step by a roofline, the whole run; nothing was run):
  B/16 on a100:32: 8.6 of 85.1 GB, 494 ms, 0.56 days
  B/16 on h100:32: 9.1 of 84.9 GB, 226 ms, 0.25 days
Expected of B on 14 M pairs (the paper's table 5, recall at 1 of texts and images after
fine-tuning): 80.6 and 63.1 on COCO; nobody has run this yet.

  vlp train --config=experiments/blip.py:data=PATTERN,bert=FOLDER --workdir=runs/blip

Arguments: `data` (as in own_data.py); `bert`: a folder of bert-base-uncased as transformers saves
it, whose tokenizer is used and whose blocks the text begins with; `vit`: what the image tower
begins with, a folder of timm or transformers, a ViT trained on ImageNet for the authors; at random
without; `model` ("blip/ViT-B/16" or "blip/ViT-L/16"); `epochs`; `batch` (global).
"""

from ml_collections import ConfigDict

from experiments.common import CLIP_PIXELS, base_config, chosen, parse_arg

# Global batch size and learning rate.
SIZES = {"blip/ViT-B/16": (2880, 3e-4), "blip/ViT-L/16": (2400, 2e-4)}


def get_config(arg: str = "") -> ConfigDict:
    """The config of the pretraining run."""
    args = parse_arg(arg, data="", bert="", vit="", model="blip/ViT-B/16", epochs=20.0, batch=0)
    if not args.data or not args.bert:
        raise ValueError(
            "blip.py needs data=PATTERN and bert=FOLDER, "
            "e.g. blip.py:data=shards/*.tar,bert=bert-base-uncased"
        )
    batch, rate = chosen("model", args.model, SIZES)
    config = base_config()
    config.data.train = args.data
    config.preprocess.update(
        size=224,
        **CLIP_PIXELS,
    )
    config.augment = ConfigDict(dict(crop=(0.2, 1.0), flip_p=0.5, randaugment=(2, 5)))
    config.tokenizer.update(
        path=args.bert, vocab_size=30522, length=30, eos_id=102, pad_id=0, extra=2
    )
    config.model = ConfigDict(dict(preset=args.model, remat="full"))
    config.init.update(path=f"hf:{args.bert}", only=("text/.*", "grounding/.*"))
    if args.vit:
        config.init.image = ConfigDict(dict(path=args.vit, only=("image/(?!pooler/).*",)))
    config.objective = ConfigDict(
        dict(
            name="blip",
            queue_size=57600,
            momentum_decay=0.995,
            distillation=0.4,
            ramp="2 epochs",
            label_smoothing=0.1,
            negatives="sampled",
            floor=1e-4,
        )
    )
    config.optim.optimizer = ConfigDict(dict(name="adamw", weight_decay=0.05))
    config.optim.schedule = ConfigDict(
        dict(name="stairs", peak=rate, factor=0.9, interval="1 epochs", warmup="3000 steps")
    )
    config.train.update(
        total=f"{args.epochs:g} epochs",
        global_batch_size=args.batch or batch,
    )
    return config
