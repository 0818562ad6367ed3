"""What DataComp's own programs say of the made sets; they are no package, so this is kept.

    git clone https://github.com/mlfoundations/datacomp && cd datacomp
    git checkout 4a8df19
    PYTHONPATH=.:PATH_OF_VLP python -m tests.sweep_peers.datacomp_numbers datacomp_numbers.json

Its text tower works under autocast, which on CPUs is bfloat16, and its product of float32 pictures
with such classes is refused there; `fp32` has autocast off throughout, `autocast` has the classes
turned to float32 in front of the product, as GPUs do it.
"""

import contextlib
import io
import json
import sys
import tempfile
import warnings
from pathlib import Path
from unittest import mock

import torch
from clip_benchmark.metrics import zeroshot_classification as zsc

from tests.sweep_peers.made_sets import classification_set
from tests.sweep_peers.small_models import clip_folder, siglip_folder

SEEDS = (3, 9, 21)
MODELS = {"clip": clip_folder, "siglip": siglip_folder}


def numbers(folder):
    """Metrics by model, seed and precision."""
    from eval_utils.wds_eval import evaluate_webdataset

    make = zsc.zero_shot_classifier
    amp = {
        "fp32": lambda *args: make(*args, amp=False),
        "autocast": lambda *args: make(*args, amp=True).float(),
    }
    found = {}
    for name, made in MODELS.items():
        model = made(folder / name)
        for seed in SEEDS:
            classification_set(folder / name / f"wds_set{seed}_test", seed=seed)
            for precision, classifier in amp.items():
                with mock.patch.object(zsc, "zero_shot_classifier", classifier):
                    key = f"{name}/{seed}/{precision}"
                    found[key] = evaluate_webdataset(
                        f"set{seed}",
                        f"local-dir:{model}",
                        "none",
                        str(folder / name),
                        num_workers=0,
                    )
    return found


def main(out):
    """Writes the numbers."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with contextlib.redirect_stderr(io.StringIO()):
            found = numbers(Path(folder))
    about = {"torch": torch.__version__, "commit": "4a8df19", "metrics": found}
    Path(out).write_text(json.dumps(about, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
