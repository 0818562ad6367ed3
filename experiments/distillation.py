"""MobileCLIP's training with the paper's numbers: a ViT-B/16 that two ViT-L/14 teach.

The student learns from the pairs with weight 1 - lambda, and with weight lambda from how alike each
teacher finds each image and each text of a batch. All see the same crops, through RandAugment.

Method: Vasu et al., 2024, https://arxiv.org/abs/2311.17049, section 3.2, and
https://github.com/apple/ml-mobileclip (`training/configs/run_datacompdr1b.sh`, and beside it the
run on 12 M pairs: batch=8192,steps=30000,weight=1): batch 65,536; 200,000 steps; lambda 0.75 for
the B model, 1 for the small ones; the teachers' cosines times 100; AdamW with b2 0.95 and weight
decay 0.2; 1e-3 after 1,000 steps of warm-up, cosine to 0; gradients clipped to norm 1; the teachers
are OpenAI's ViT-L/14 and DataComp's, in the mean of whose probabilities lies the target.
The authors stored what the teachers say of ten crops an image and of the captions, five of them
CoCa's; `vectors` reads such, which `vlp embed --captions=all --views=10 --config=...` makes once a
teacher. `teachers` are in memory instead, and see every crop.
Different: of the captions of a sample one is drawn for a batch, where the authors compare a true
one and one of CoCa's. The student is any preset, of which the paper's own towers are none.
Cost: 123 GFLOPs a pair and training step, and 357 more with the teachers in memory; the authors had
16 machines of 8 GPUs.
Expected on ImageNet without training there: 76.8 % top-1 for MobileCLIP-B, and 61.7 % for a
ViT-B/16 after the run on 12 M pairs (the paper's tables); not repeated here.

  vlp train --config=experiments/distillation.py:data=PATTERN,teachers=hf:A,open_clip:B --workdir=W
  vlp train --config=experiments/distillation.py:data=PATTERN,vectors=DIR_A,DIR_B --workdir=W

Arguments: `data` (as in own_data.py); `teachers`: whatever `vlp.load` reads, with one tokenizer,
which becomes the student's; or `vectors`: folders of `vlp embed`; `student` (a preset); `weight`
(lambda); `feature`: weight of the squared difference from the teachers' embeddings (2000 in
CLIP-KD, Yang et al., 2024, https://arxiv.org/abs/2307.12732), for a student of their width;
`steps`; `batch` (global).
"""

from ml_collections import ConfigDict

from experiments.common import CLIP_PIXELS, base_config, parse_arg


def get_config(arg: str = "") -> ConfigDict:
    """The config of the student."""
    args = parse_arg(
        arg,
        data="",
        teachers=(),
        vectors=(),
        student="clip/ViT-B/16",
        weight=0.75,
        feature=0.0,
        steps=200_000,
        batch=65536,
    )
    if not args.data or bool(args.teachers) == bool(args.vectors):
        raise ValueError(
            "distillation.py needs data=PATTERN and either teachers=MODEL,... or vectors=DIR,..., "
            "e.g. distillation.py:data=shards/*.tar,teachers=hf:clip-vit-large-patch14"
        )
    config = base_config()
    config.data.train = args.data
    config.preprocess.update(size=224, **CLIP_PIXELS)
    config.augment = ConfigDict(dict(crop=(0.08, 1.0), randaugment=(2, 9)))
    config.tokenizer = ConfigDict(dict(path=(*args.teachers, "clip")[0], length=77))
    config.model = ConfigDict(dict(preset=args.student, precision="bfloat16", remat="full"))
    names = {f"teacher{n}": path for n, path in enumerate(args.teachers or args.vectors, 1)}
    if args.vectors:
        config.data.vectors = ConfigDict(names)
    for name, path in names.items() if args.teachers else ():
        config.frozen[name] = ConfigDict(dict(path=path, precision="bfloat16"))
    config.objective = ConfigDict(
        dict(
            name="distillation",
            teachers=tuple(names),
            stored=bool(args.vectors),
            teacher_scales=(100.0,) * len(names),
            contrastive_weight=1.0 - args.weight,
            affinity_weight=args.weight,
            feature_weight=args.feature,
        )
    )
    config.optim.optimizer = ConfigDict(
        dict(name="adamw", b2=0.95, weight_decay=0.2, clip_norm=1.0)
    )
    config.optim.schedule = ConfigDict(dict(name="cosine", peak=1e-3, warmup="1000 steps"))
    config.train.update(total=f"{args.steps} steps", global_batch_size=args.batch)
    config.checkpoint.every = "5000 steps"
    return config
