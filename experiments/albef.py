"""ALBEF with the paper's numbers: contrast, matching and masked words, with a slow teacher.

ViT-B/16 at 256 pixels; six layers of BERT read the text, six more read text and image. The 14 M
pairs of the paper are CC3M, CC12M, SBU, COCO and Visual Genome.

Method: Li et al., 2021, https://arxiv.org/abs/2107.07651, section 3 and
https://github.com/salesforce/ALBEF (`configs/Pretrain.yaml`): AdamW with weight decay 0.02, 1e-4
after 1,000 steps of warm-up, cosine to 1e-5; batch 512; 30 epochs; teacher 0.995, queue 65,536,
distillation 0.4 after an epoch; crops, flips and RandAugment. Different: negatives come from all
512 pairs, not from the 64 of a device.
Cost: 300 GFLOPs a pair and training step, the teacher's passes included, 1.3e20 in all; the authors
had 8 A100s.
Planned (`vlp plan`: GB a device, a step by a roofline, the whole run; nothing was run):
  ALBEF on a100:8: 38.6 of 85.1 GB, 355 ms, 3.4 days
  ALBEF on h100:8: 39.1 of 84.9 GB, 175 ms, 1.7 days
Expected of 14 M pairs after fine-tuning (the paper's table on Flickr30K and COCO, recall at 1 of
texts and images): 95.9 and 85.6 on Flickr30K, 77.6 and 60.7 on COCO; nobody has run this yet.

  vlp train --config=experiments/albef.py:data=PATTERN,bert=FOLDER,vit=timm:DEIT --workdir=W

Arguments: `data` (as in own_data.py); `bert`: a folder of bert-base-uncased as transformers saves
it (config.json, model.safetensors, vocab.txt, tokenizer_config.json), whose tokenizer is used and
whose twelve layers become the text tower and the fusion encoder; `vit`: what the image tower begins
with, a folder of timm or transformers, which is DeiT-B/16 for the authors; at random without;
`epochs`; `batch` (global).
"""

from ml_collections import ConfigDict

from experiments.common import CLIP_PIXELS, base_config, parse_arg


def get_config(arg: str = "") -> ConfigDict:
    """The config of the pretraining run."""
    args = parse_arg(arg, data="", bert="", vit="", epochs=30.0, batch=512)
    if not args.data or not args.bert:
        raise ValueError(
            "albef.py needs data=PATTERN and bert=FOLDER, "
            "e.g. albef.py:data=shards/*.tar,bert=bert-base-uncased"
        )
    config = base_config()
    config.data.train = args.data
    config.preprocess.update(
        size=256,
        **CLIP_PIXELS,
    )
    config.augment = ConfigDict(dict(crop=(0.2, 1.0), flip_p=0.5, randaugment=(2, 7)))
    config.tokenizer.update(path=args.bert, vocab_size=30522, length=30, eos_id=102, pad_id=0)
    config.model = ConfigDict(dict(preset="albef/ViT-B/16"))
    config.init.update(
        path=f"hf:{args.bert}",
        only=("text/.*", "fusion/.*"),
    )
    if args.vit:
        config.init.image = ConfigDict(dict(path=args.vit, only=("image/(?!pooler/).*",)))
    config.objective = ConfigDict(
        dict(
            name="albef",
            mask_id=103,
            queue_size=65536,
            momentum_decay=0.995,
            distillation=0.4,
            ramp="1 epochs",
            mask_probability=0.15,
            negatives="sampled",
        )
    )
    config.optim.optimizer = ConfigDict(dict(name="adamw", weight_decay=0.02))
    config.optim.schedule = ConfigDict(
        dict(name="cosine", peak=1e-4, end=1e-5, warmup="1000 steps")
    )
    config.train.update(
        total=f"{args.epochs:g} epochs",
        global_batch_size=args.batch,
    )
    return config
