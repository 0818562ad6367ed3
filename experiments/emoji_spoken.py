"""Drawings, names and spoken names of emoji in one space, where no text ever met a sound.

  vlp train --config=experiments/emoji.py --workdir=runs/emoji
  vlp train \\
      --config=experiments/emoji_spoken.py:init=runs/emoji,voice=voice_us.tar,heard=voice_gb.tar \\
      --workdir=runs/spoken

ImageBind (Girdhar et al., 2023, https://arxiv.org/abs/2305.05665) at the size of the quickstart,
whose towers for images and texts stay as they are, as the paper's do: a tower for sounds learns to
put the names of drawings, spoken by one voice, where the drawings are; images bind the two. Judged
are a voice that was never heard against names and against the drawings of another vendor.

Arguments: `voice` and `heard`, WebDataset tars of KEY.ogg (or another sound) and KEY.txt, whose
keys are code points as those of the emoji, such as 1f600 (`heard` may be left out); `init`, the run
whose towers are bound; without it all three are trained at once, of each batch one half on named
and one half on spoken drawings (at these settings not measured); `share`, how much of a batch is
spoken, if not that. Sounds need vlp[audio].

Expected: benchmarks/results/spoken_on_emoji.md.
"""

from ml_collections import ConfigDict

from experiments import emoji
from experiments.common import parse_arg


def get_config(arg: str = "") -> ConfigDict:
    """The config of one run."""
    args = parse_arg(arg, init="", voice="", heard="", epochs=15.0, size=48, share=0.0)
    if not args.voice:
        raise ValueError("emoji_spoken.py needs voice=TAR, the spoken names to train on, got none")
    config = emoji.get_config(f"epochs={args.epochs},size={args.size}")
    share = args.share or (0.9 if args.init else 0.5)
    if args.init:
        bound = ("image.*", "text.*")
        config.init.update(path=args.init, only=bound)
        config.optim.freeze = bound
    config.data.train = ""
    config.data.sets = ConfigDict(
        dict(
            named=dict(data="emoji:noto-train", fields=("image", "text"), share=1 - share),
            spoken=dict(
                data="emoji:noto-train",
                join=args.voice,
                fields=("image", "audio"),
                share=share,
            ),
        )
    )
    config.audio = ConfigDict(dict(frames=320, n_mels=64))  # 3.2 seconds
    config.augment_audio = ConfigDict(
        dict(
            shift=0.3, gain=6.0, speed=0.25, tempo=0.25, time_masks=(2, 24), mel_masks=(2, 10),
        )
    )  # fmt: skip
    config.model.update(
        kind="bound",
        pairs=("image-text", "image-audio"),
        audio=dict(
            patch_size=(4, 64), width=128, depth=4, num_heads=4, pool="mean", norm_eps=1e-5,
            activation="relu", mlp_ratio=2.0, unroll=4,
        ),
    )  # fmt: skip
    config.objective = ConfigDict(dict(name="imagebind", pairs=("image-text", "image-audio")))
    config.export = ConfigDict()
    if args.heard:
        every, task = config.evals.twemoji.every, "retrieval"
        config.evals.heard_names = ConfigDict(
            dict(task=task, data=args.heard, between="audio-text", every=every)
        )
        config.evals.heard_drawings = ConfigDict(
            dict(
                task=task,
                data=f"emoji:twemoji + {args.heard}",
                between="image-audio",
                every=every,
            )
        )
    return config
