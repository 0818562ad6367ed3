"""CoCa with the paper's numbers: contrast and captions, from pairs and from labels at once.

A ViT at 288 pixels and a text decoder of two halves, of which the first sees no image. Two poolers
behind the ViT: 256 queries, which the decoder reads, and one, which reads what those found and
gives the embedding. A class label is a caption: its names in a template of CLIP's.

Method: Yu et al., 2022, https://arxiv.org/abs/2205.01917, sections 3.2 and 4.1: batch 65,536, half
of it pairs (ALIGN), half images with labels (JFT-3B); 500,000 steps; captions weigh 2, contrast 1;
temperature 0.07 at the start; Adafactor with 0.9 and 0.999 and decoupled weight decay 0.01; the
rate rises in the first 2 % of the steps to 8e-4 and falls to 0 in a line; 64,000 pieces of
SentencePiece. `b` has 383 M parameters, `l` 787 M, `2b` 2.1 B (table 1; here 388 M, 796 M and
2.2 B with the poolers, which the table leaves out).
Not said in the paper, here: captions of 64 tokens, of which the first only begins them; gradients
clipped to norm 1, as the authors do in fine-tuning; pixels from -1 to 1, squashed to a square and
not augmented; no projections behind poolers and text. Different: prompts are CLIP's seven best and
not its eighty, of which `templates` takes a file; weight decay spares biases, norms, queries and
the temperature. The epoch at 576 pixels that follows in the paper is a run of its own: `res=576`
and `steps` with --config.init.path=runs/coca.
Cost: 258, 688 and 2,123 GFLOPs a pair and training step for b, l and 2b; 8.5e21, 2.3e22 and 7.0e22
in all; the authors took 5 days on 2,048 TPU v4 for the largest.
Planned (`vlp plan`: GB a device, a step by a roofline, the whole run; nothing was run):
  2b on v4:8x16x16: 6.2 of 34.4 GB, 674 ms, 3.9 days
  2b on h100:512: 32.4 of 84.9 GB, 816 ms, 4.7 days
Expected of it on ImageNet without training there: 86.3 % top-1, and 91.0 % after fine-tuning (the
paper's abstract); nobody has run this yet.

  vlp train --config=experiments/coca.py:data=PATTERN,labels=PATTERN --workdir=runs/coca

Arguments: `size` (b, l or 2b); `data`: pairs, as in own_data.py; `labels`: tars whose JSON has
the names of the labels in the field `field`, or "" for pairs alone; `templates` (see `vlp eval`:
a set or a file with one a line); `tokenizer` (a .model file of `vlp data tokenizer --begin
--vocab-size 64000`; else one is trained on the captions); `res` (pixels); `steps`; `batch`
(global).
"""

from ml_collections import ConfigDict

from experiments.common import PLAIN, base_config, chosen, parse_arg

SIZES = {"b": "coca/base", "l": "coca/large", "2b": "coca/2b"}


def get_config(arg: str = "") -> ConfigDict:
    """The config of the pretraining run."""
    args = parse_arg(
        arg,
        size="2b",
        data="",
        labels="",
        field="label",
        templates="clip7",
        tokenizer="",
        res=288,
        steps=500_000,
        batch=65536,
    )
    if not args.data:
        raise ValueError("coca.py needs data=PATTERN, e.g. coca.py:size=b,data=shards/*.tar")
    preset = chosen("size", args.size, SIZES)
    config = base_config()
    config.data.train = args.data
    if args.labels:
        config.data.update(
            labelled=args.labels,
            label_field=args.field,
            label_templates=args.templates,
            label_share=0.5,
        )
    config.preprocess.size = args.res
    config.augment = ConfigDict(PLAIN)
    config.tokenizer.update(path=args.tokenizer, vocab_size=64000, length=64, begin=True)
    config.model = ConfigDict(dict(preset=preset, precision="bfloat16", remat="full", begin_id=3))
    config.objective.update(name="coca", contrastive_weight=1.0, caption_weight=2.0)
    config.optim.optimizer = ConfigDict(dict(name="adafactor", b1=0.9, b2=0.999, weight_decay=0.01))
    warmup = args.steps // 50
    config.optim.schedule = ConfigDict(
        dict(
            name="constant-cooldown",  # a line, as the fall begins where the rise ends
            peak=8e-4,
            warmup=f"{warmup} steps",
            cooldown=f"{args.steps - warmup} steps",
        )
    )
    config.train.update(total=f"{args.steps} steps", global_batch_size=args.batch)
    config.checkpoint.every = "5000 steps"
    return config
