"""Loading and encoding on this machine, ours and open_clip's in turn, on the same random weights.

  python benchmarks/encoders_against_open_clip.py --model ViT-L-14 --batch-size 64

Needs `vlp[peers]`. Loading is measured in a process of its own each time, after the imports:
seconds until the model, its preprocessing and its tokenizer are there, and the largest memory the
process ever had. Encoding: pictures and captions that are ready for the tower, in float32; captions
at natural length are `CAPTIONS`, whose padding ours leaves out where that changes no result. The
embeddings of both are compared first. Prints medians, the range, and open_clip's time over ours.
"""

import argparse
import json
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

SIDES = ("vlp", "open_clip")
# As long as the captions of web data are: 4 to 24 words, about 12 on average.
CAPTIONS = (
    "a dog on the beach",
    "a bowl of fresh fruit on a wooden kitchen table next to a window",
    "two people riding bicycles through a park in autumn",
    "close-up portrait of an old man with a grey beard looking into the camera at dusk",
    "red sports car",
    "stock photo of a modern office building with a blue glass facade under a cloudy sky",
    "the band playing live at the summer festival, 14 July 2018",
    "how to make sourdough bread at home without a machine",
)


def main() -> None:
    """Runs all lines and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="ViT-L-14", help="a model config of open_clip")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--loads", type=int, default=3)
    parser.add_argument("--load-worker", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.load_worker:
        print(json.dumps(load_once(args.load_worker, args.folder)))
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = args.folder or make_folder(args.model, Path(scratch) / "model")
        print(f"{args.model}, batch {args.batch_size}, float32, {platform.machine()}")
        print(f"{versions()}\n")
        print("| what | vlp | open_clip | open_clip / vlp |\n|---|---|---|---|")
        loading(str(folder), args.loads)
        encoding(str(folder), args.batch_size, args.repeats)


def make_folder(model: str, folder: Path) -> Path:
    """Random weights of an open_clip config, as open_clip itself saves them."""
    open_clip = import_open_clip()
    from safetensors.torch import save_file

    made = open_clip.create_model(model, pretrained=None)
    folder.mkdir(parents=True)
    config = {
        "model_cfg": open_clip.get_model_config(model),
        "preprocess_cfg": open_clip.get_model_preprocess_cfg(made),
    }
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    tensors = {name: tensor.contiguous() for name, tensor in made.state_dict().items()}
    save_file(tensors, folder / "open_clip_model.safetensors")
    return folder


def loading(folder: str, loads: int) -> None:
    """Time and peak memory of loading, each in a fresh process, alternating."""
    found: dict[str, list[dict[str, float]]] = {side: [] for side in SIDES}
    for _ in range(loads):
        for side in SIDES:
            command = [sys.executable, __file__, "--load-worker", side, "--folder", folder]
            printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            found[side].append(json.loads(printed.strip().splitlines()[-1]))
    for key, unit in (("seconds", "s"), ("peak_gb", "GB")):
        columns = [[load[key] for load in found[side]] for side in SIDES]
        row(f"load, {key.replace('_gb', ' memory')}", unit, *columns)


def load_once(side: str, folder: str) -> dict[str, float]:
    """Seconds to load, and the largest resident memory of this process in GB."""
    if side == "vlp":
        import vlp.interop.load  # the imports are not what is measured

        start = time.perf_counter()
        model, _, tokenize = vlp.load(f"open_clip:{folder}")
        import jax
        from flax import nnx

        jax.block_until_ready(jax.tree.leaves(nnx.state(model)))
        tokenize(["ready"])
    else:
        open_clip = import_open_clip()
        start = time.perf_counter()
        open_clip.create_model_and_transforms(f"local-dir:{folder}")
        open_clip.get_tokenizer(f"local-dir:{folder}")(["ready"])
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    return {"seconds": seconds, "peak_gb": peak}


def encoding(folder: str, batch_size: int, repeats: int) -> None:
    """Images and texts a second, both sides in turn."""
    import torch

    import vlp
    from vlp.evals.embed import Encoder

    open_clip = import_open_clip()
    peer, _, _ = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    peer.eval()
    model, _, tokenize = vlp.load(f"open_clip:{folder}")
    encoder = Encoder.from_model(model, text=model.kwargs["text"])
    size = model.image.image_size
    images = np.random.default_rng(0).integers(0, 256, (batch_size, size, size, 3), dtype=np.uint8)
    pixels = np.array(model.normalise(jnp_array(images))).transpose(0, 3, 1, 2).copy()
    texts = [CAPTIONS[i % len(CAPTIONS)] for i in range(batch_size)]
    ids = tokenize(texts)
    full = np.where(ids == 0, 320, ids)  # rows without padding: as long as a caption can be
    full[:, -1] = ids.max()
    full[:, 1:-1] = np.where(full[:, 1:-1] == ids.max(), 320, full[:, 1:-1])

    def theirs(run: Callable[[Any], Any], given: np.ndarray) -> Callable[[], np.ndarray]:
        tensor = torch.tensor(given)

        def call() -> np.ndarray:
            with torch.inference_mode():
                return torch.nn.functional.normalize(run(tensor)).numpy()

        return call

    pairs = {
        "image tower, images": (
            lambda: encoder.embed_images([{"image": images}]).vectors,
            theirs(peer.encode_image, pixels),
        ),
        "text tower at natural length, texts": (
            lambda: encoder.embed_texts(texts, lambda _: ids, batch_size=batch_size),
            theirs(peer.encode_text, ids.astype(np.int64)),
        ),
        "text tower at full length, texts": (
            lambda: encoder.embed_texts(texts, lambda _: full, batch_size=batch_size),
            theirs(peer.encode_text, full.astype(np.int64)),
        ),
    }
    for name, (ours, other) in pairs.items():
        difference = np.abs(ours() - other()).max()  # also compiles and warms up
        assert difference < 1e-4, (name, difference)
        times: tuple[list[float], list[float]] = ([], [])
        for _ in range(repeats):
            for call, seconds in zip((ours, other), times, strict=True):
                start = time.perf_counter()
                call()
                seconds.append(time.perf_counter() - start)
        rates = [[batch_size / s for s in side] for side in times]
        row(name, "/s", *rates, higher_is_better=True)


def row(
    name: str,
    unit: str,
    ours: list[float],
    theirs: list[float],
    *,
    higher_is_better: bool = False,
) -> None:
    """One line: medians, ranges, and how many times better ours is."""
    ratio = statistics.median(theirs) / statistics.median(ours)
    cells = [
        f"{statistics.median(x):.2f} {unit} ({min(x):.2f} to {max(x):.2f})" for x in (ours, theirs)
    ]
    better = 1 / ratio if higher_is_better else ratio
    print(f"| {name} | {cells[0]} | {cells[1]} | {better:.2f} |", flush=True)


def jnp_array(images: np.ndarray) -> Any:
    """The images on JAX's device."""
    import jax.numpy as jnp

    return jnp.asarray(images)


def import_open_clip() -> Any:
    """open_clip; a torchvision for another torch has two operators that are not declared."""
    import torch

    try:
        import torchvision  # noqa: F401
    except RuntimeError:
        library = torch.library.Library("torchvision", "FRAGMENT")
        for schema in (
            "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
            "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
        ):
            if not hasattr(torch.ops.torchvision, schema.partition("(")[0]):
                library.define(schema)
        sys.modules.setdefault("_torchvision_operators", library)  # lives as long as the program
    import open_clip

    return open_clip


def versions() -> str:
    """Of what takes part."""
    import jax
    import torch

    import vlp

    return f"vlp {vlp.__version__}, jax {jax.__version__}, torch {torch.__version__}"


if __name__ == "__main__":
    main()
