"""BLIP-2's first stage with the paper's numbers: a Q-Former learns to read a frozen image tower.

BERT base with 32 queries, of whose twelve blocks every other one reads CLIP's ViT-L/14 without its
last block (or a ViT-g/14), which does not train. The 129 M pairs of the paper are CC3M, CC12M,
SBU, COCO, Visual Genome and 115 M of LAION's.

Method: Li et al., 2023, https://arxiv.org/abs/2301.12597, section 3.4 and
https://github.com/salesforce/LAVIS (`lavis/projects/blip2/train/pretrain_stage1.yaml`): 250,000
steps of 2,320 pairs (g: 1,680) at 224 pixels; AdamW with betas 0.9 and 0.98 and weight decay 0.05;
a rate that rises over 2,000 steps to 1e-4 (over 5,000 in the authors' file, for another batch) and
falls along a cosine, in that file to 1e-5; crops and flips; texts of 32 tokens. Different: weight
decay spares positions, norms, biases and the temperature; BERT's head for hidden words is not begun
with; the authors' ViT-g is EVA-CLIP's, which is not read here: any of its width will do.
Cost: the authors took less than six days of 16 A100 (40 GB) for the g.
Expected: the paper's table 5, retrieval of COCO and Flickr30K after fine-tuning; not repeated here.

  vlp train --config=experiments/blip2.py:data=PATTERN,bert=FOLDER,image=open_clip:FOLDER \
    --workdir=runs/blip2

Arguments: `data` (as in own_data.py); `bert`: a folder of bert-base-uncased as transformers saves
it, whose tokenizer is used and whose blocks the Q-Former begins with; `image`: the weights whose
image tower is read; `model` ("blip2/ViT-L/14" or "blip2/ViT-g/14"); `steps`; `batch` (global).
"""

from ml_collections import ConfigDict

from experiments.common import CLIP_PIXELS, base_config, chosen, parse_arg

# Global batch size, and what the frozen tower is in plans without weights.
SIZES = {"blip2/ViT-L/14": (2320, "openai/ViT-L/14"), "blip2/ViT-g/14": (1680, "clip/ViT-g/14")}


def get_config(arg: str = "") -> ConfigDict:
    """The config of the first stage."""
    args = parse_arg(
        arg, data="", bert="", image="", model="blip2/ViT-L/14", steps=250_000, batch=0
    )
    if not args.data or not args.bert or not args.image:
        raise ValueError(
            "blip2.py needs data=PATTERN, bert=FOLDER and image=WEIGHTS, "
            "e.g. blip2.py:data=shards/*.tar,bert=bert-base-uncased,image=open_clip:vit-l-14"
        )
    batch, tower = chosen("model", args.model, SIZES)
    config = base_config()
    config.data.train = args.data
    config.preprocess.update(size=224, **CLIP_PIXELS)
    config.augment = ConfigDict(dict(crop=(0.5, 1.0), flip_p=0.5))
    config.tokenizer.update(
        path=args.bert, vocab_size=30522, length=32, eos_id=102, pad_id=0, extra=1
    )
    config.model = ConfigDict(dict(preset=args.model, text=dict(remat="full")))
    config.frozen.image = ConfigDict(
        dict(path=args.image, towers="image", drop_blocks=1, preset=tower)
    )
    config.init.update(path=f"hf:{args.bert}", only=("text/.*", "querying/.*"))
    config.objective = ConfigDict(dict(name="blip2", label_smoothing=0.1, negatives="sampled"))
    config.optim.optimizer = ConfigDict(dict(name="adamw", b1=0.9, b2=0.98, weight_decay=0.05))
    config.optim.schedule = ConfigDict(
        dict(name="cosine", peak=1e-4, end=1e-5, warmup="2000 steps")
    )
    config.train.update(total=f"{args.steps} steps", global_batch_size=args.batch or batch)
    config.checkpoint.every = "5000 steps"
    return config
