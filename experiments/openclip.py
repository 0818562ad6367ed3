"""OpenCLIP's largest models on LAION-2B: H/14, and bigG/14 with half of the patches left out.

Method: Cherti et al., 2022, https://arxiv.org/abs/2212.07143 and the card of
laion/CLIP-ViT-H-14-laion2B-s32B-b79K: 32 billion samples in batches of 79,104, 824 A100 with 96
each; Wortsman, 2023, https://laion.ai/blog/giant-openclip: 160,000 a batch, peak 2e-3, half of the
patches for 32 billion samples (FLIP, https://arxiv.org/abs/2212.00794), then 2 billion with all of
them and the rate of a cosine that is as much longer. Both: AdamW, cosine; 77 of CLIP's byte pairs;
crops of 90 to 100 % (open_clip's usual ones); bfloat16, activations computed again.
Not said there, here: weight decay 0.2; b2 0.98 (bigG 0.95); warm-up of 10,000 steps (bigG 13,000);
peak 5e-4 for H. Different: bigG's batch is 163,840, which 512 devices share; its last part has the
rate that the cosine gives, not twice that, and no mean of three such parts is taken.
Cost: 1,145 GFLOPs a pair and training step for H, 1,736 for bigG (3,196 with all patches); 3.7e22
and 6.2e22 in all; the authors took 824 A100 (40 GB), and 512 to 760 A100 (80 GB).
Planned (`vlp plan`: GB a device, a step by a roofline, the whole run; nothing was run):
  ViT-H/14 on a100:824: 7.0 of 85.1 GB, 853 ms, 4 days
  ViT-H/14 on v4:4x8x8: 27.7 of 34.4 GB, 3,358 ms, 16 days
  ViT-bigG/14 on a100:512: 17.5 of 85.1 GB, 3,627 ms, 8.7 days
  ViT-bigG/14 on h100:256: 29.8 of 84.9 GB, 2,712 ms, 6.5 days
Expected on ImageNet without training there: 78.0 and 80.1 % top-1 (the card, the blog); nobody has
run this yet.

  vlp train --config=experiments/openclip.py:model=ViT-H/14,data=PATTERN --workdir=runs/h14
  vlp train --config=experiments/openclip.py:model=ViT-bigG/14,data=PATTERN --workdir=runs/bigg14

Arguments: `model` (a key of `MODELS`); `data` (as in own_data.py); `batch` (global).
"""

from ml_collections import ConfigDict

from experiments.common import (
    CLIP_PIXELS,
    CLIP_TOKENS,
    base_config,
    check_given,
    chosen,
    parse_arg,
)

# Global batch size, highest learning rate, warm-up, b2, samples, share of the patches left out,
# samples without that.
MODELS = {
    "ViT-H/14": (79_104, 5e-4, 10_000, 0.98, 32e9, 0.0, 0.0),
    "ViT-bigG/14": (163_840, 2e-3, 13_000, 0.95, 34e9, 0.5, 2e9),
}


def get_config(arg: str = "") -> ConfigDict:
    """The config of one model's run."""
    args = parse_arg(arg, model="ViT-H/14", data="", batch=0)
    batch, peak, warmup, b2, samples, drop, unmasked = chosen("model", args.model, MODELS)
    check_given(args, "data", example=f"openclip.py:model={args.model},data=shards/*.tar")
    config = base_config()
    config.data.train = args.data
    config.preprocess.update(size=224, resize="shortest", **CLIP_PIXELS)
    config.augment = ConfigDict(dict(crop=(0.9, 1.0)))
    config.tokenizer.update(CLIP_TOKENS)
    config.model = ConfigDict(dict(preset=f"clip/{args.model}", precision="bfloat16", remat="full"))
    config.objective.patch_drop = drop
    config.optim.optimizer = ConfigDict(dict(name="adamw", b2=b2, weight_decay=0.2))
    config.optim.schedule = ConfigDict(dict(name="cosine", peak=peak, warmup=f"{warmup} steps"))
    config.train.update(
        total=f"{samples:g} samples",
        unmasked_tuning=f"{unmasked:g} samples",
        global_batch_size=args.batch or batch,
    )
    config.mesh.fsdp = 8
    config.checkpoint.every = "2000 steps"
    return config
