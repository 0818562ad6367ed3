"""Published sizes at full width: how far our towers are from the stacks that the weights are from.

  python benchmarks/interop_full_size.py --models open_clip:ViT-B-32 hf:clip-b32

Random weights are made in the other stack, saved as it saves them, read here, compared on the same
pixels and ids, and written back. Needs what the `peers` extra installs, and memory for one model
three times over.
"""

import argparse
import gc
import json
import os
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

os.environ.setdefault("JAX_PLATFORMS", "cpu")

BATCH = 2
OUTPUTS = ("image", "text", "logits", "image states", "text states")
# Configs of transformers, typed in: vision, text, and what both share.
CLIP_SIZES: dict[str, tuple[dict[str, Any], dict[str, Any], int]] = {
    "clip-b32": (dict(patch_size=32), dict(), 512),
    "clip-b16": (dict(patch_size=16), dict(), 512),
    "clip-l14-336": (
        dict(
            patch_size=14, image_size=336, hidden_size=1024, intermediate_size=4096,
            num_hidden_layers=24, num_attention_heads=16,
        ),
        dict(hidden_size=768, intermediate_size=3072, num_attention_heads=12),
        768,
    ),
}  # fmt: skip
_SO400M = dict(
    hidden_size=1152, intermediate_size=4304, num_hidden_layers=27, num_attention_heads=16
)
SIGLIP_SIZES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "siglip-b16": (dict(patch_size=16, image_size=224), dict()),
    "siglip-so400m14": (dict(patch_size=14, image_size=224, **_SO400M), _SO400M),
}
MODELS = (
    *(f"open_clip:{name}" for name in (
        "ViT-B-32", "ViT-B-16", "ViT-L-14-336", "ViT-B-16-SigLIP", "ViT-SO400M-14-SigLIP",
    )),
    *(f"hf:{name}" for name in (*CLIP_SIZES, *SIGLIP_SIZES)),
)  # fmt: skip


def main() -> None:
    """Prints a line for each model."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", choices=MODELS, default=MODELS)
    args = parser.parse_args()
    declare_operators()
    print(f"| model | parameters, M | {' | '.join(OUTPUTS)} | written back | s |")
    print("|---|---|" + "---|" * (len(OUTPUTS) + 2), flush=True)
    for name in args.models:
        start = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            size, differences, equal = measure(name, Path(folder))
        cells = " | ".join(f"{differences[output]:.1e}" for output in OUTPUTS)
        seconds = time.monotonic() - start
        written = "byte-equal" if equal else "DIFFERS"
        print(f"| {name} | {size / 1e6:.0f} | {cells} | {written} | {seconds:.0f} |", flush=True)
        gc.collect()


def measure(name: str, folder: Path) -> tuple[int, dict[str, float], bool]:
    """Parameters, largest differences (of states: relative to the largest value), and equality."""
    stack, _, model = name.partition(":")
    theirs = {"open_clip": open_clip_outputs, "hf": hf_outputs}[stack](model, folder / "theirs")
    gc.collect()
    from vlp.interop.export import TARGETS
    from vlp.interop.load import load_run

    run = load_run(folder / "theirs", tokenizer="none")
    inputs = np.load(folder / "theirs" / "inputs.npz")
    ours = our_outputs(run.model, inputs["images"], inputs["ids"])
    differences = {
        key: float(np.abs(ours[key] - theirs[key]).max() / max(1, np.abs(theirs[key]).max()))
        for key in OUTPUTS
    }
    out = folder / "ours"
    out.mkdir()
    TARGETS[stack].write(run, out, metrics={})
    size = sum(int(np.prod(shape)) for shape in shapes(out).values())
    del run
    return size, differences, equal_tensors(folder / "theirs", out)


def our_outputs(model: Any, images: np.ndarray, ids: np.ndarray) -> dict[str, np.ndarray]:
    """Everything that is compared, from our model."""
    image, text = model.encode_image(images), model.encode_text(ids)
    found = {
        "image": image.embedding,
        "text": text.embedding,
        "logits": model.logits(image.embedding, text.embedding),
        "image states": model.image_hidden_states(images)[1:],
        "text states": model.text_hidden_states(ids)[1:],
    }
    return {key: np.asarray(value) for key, value in found.items()}


def open_clip_outputs(name: str, folder: Path) -> dict[str, np.ndarray]:
    """Makes a model of open_clip, saves it, and runs it."""
    import open_clip
    import torch
    from safetensors.torch import save_file

    config = open_clip.get_model_config(name)
    model = perturbed(open_clip.create_model(name, pretrained_text=False))
    folder.mkdir()
    config["text_cfg"].pop("hf_tokenizer_name", None)
    sections = {"model_cfg": config, "preprocess_cfg": {}}
    (folder / "open_clip_config.json").write_text(json.dumps(sections))
    save_file(model.state_dict(), folder / "open_clip_model.safetensors")
    size, text = model.visual.image_size, config["text_cfg"]
    size = size if isinstance(size, int) else size[0]
    mean_std = open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD
    pixels, ids = make_inputs(folder, size, text["vocab_size"], text["context_length"], *mean_std)
    visual, tower = model.visual, getattr(model, "text", model)
    blocks = visual.trunk.blocks if hasattr(visual, "trunk") else visual.transformer.resblocks
    with torch.no_grad():
        zimg, image_states = with_states(blocks, lambda: model.encode_image(pixels, normalize=True))
        blocks = tower.transformer.resblocks
        ztxt, text_states = with_states(blocks, lambda: model.encode_text(ids, normalize=True))
        logits = model.logit_scale.exp() * zimg @ ztxt.T
        logits = logits if model.logit_bias is None else logits + model.logit_bias
    return {
        "image": zimg.numpy(),
        "text": ztxt.numpy(),
        "logits": logits.numpy(),
        "image states": image_states,
        "text states": text_states,
    }


def hf_outputs(name: str, folder: Path) -> dict[str, np.ndarray]:
    """Makes a model of transformers, saves it, and runs it."""
    import torch
    import transformers

    if name in CLIP_SIZES:
        vision, text, width = CLIP_SIZES[name]
        config = transformers.CLIPConfig(
            vision_config=vision, text_config={**text, "eos_token_id": 49407}, projection_dim=width
        )
        model = perturbed(transformers.CLIPModel(config))
        mean, std = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
    else:
        vision, text = SIGLIP_SIZES[name]
        config = transformers.SiglipConfig(vision_config=vision, text_config=text)
        model = perturbed(transformers.SiglipModel(config))
        mean = std = (0.5, 0.5, 0.5)
    model.save_pretrained(folder)
    words = config.text_config
    size, length = config.vision_config.image_size, words.max_position_embeddings
    pixels, ids = make_inputs(folder, size, words.vocab_size, length, mean, std)
    with torch.no_grad():
        out = model(input_ids=ids, pixel_values=pixels)
        image = model.vision_model(pixels, output_hidden_states=True).hidden_states
        captions = model.text_model(ids, output_hidden_states=True).hidden_states
    return {
        "image": out.image_embeds.numpy(),
        "text": out.text_embeds.numpy(),
        "logits": out.logits_per_image.numpy(),
        "image states": np.stack([state.numpy() for state in image[1:]]),
        "text states": np.stack([state.numpy() for state in captions[1:]]),
    }


def perturbed(model: Any) -> Any:
    """The model with noise on norms and biases, which begin as ones and zeros."""
    import torch

    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim <= 1 and parameter.numel() > 1:
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.05)
    return model.eval()


def make_inputs(
    folder: Path, size: int, vocabulary: int, length: int, mean: Any, std: Any
) -> tuple[Any, Any]:
    """Random pixels and ids, saved for us and as tensors for the other stack."""
    import torch

    random = np.random.default_rng(0)
    images = random.integers(0, 256, (BATCH, size, size, 3), np.uint8)
    ids = random.integers(3, vocabulary - 1, (BATCH, length)).astype(np.int32)
    ids[:, length // 2] = vocabulary - 1  # CLIP's end of text
    np.savez(folder / "inputs.npz", images=images, ids=ids)
    mean, std = np.float32(mean), np.float32(std)
    pixels = ((images.astype(np.float32) / 255 - mean) / std).transpose(0, 3, 1, 2)
    return torch.from_numpy(pixels.copy()), torch.from_numpy(ids).long()


def with_states(blocks: Any, call: Callable[[], Any]) -> tuple[Any, np.ndarray]:
    """What a call returns, and what the blocks returned meanwhile."""
    seen: list[np.ndarray] = []
    hooks = [block.register_forward_hook(lambda *x: seen.append(x[-1].numpy())) for block in blocks]
    result = call()
    for hook in hooks:
        hook.remove()
    return result, np.stack(seen)


def shapes(folder: Path) -> Mapping[str, tuple[int, ...]]:
    """Of all tensors in a folder."""
    from vlp.interop.weights import open_tensors

    return open_tensors(next(folder.glob("*.safetensors"))).shapes


def equal_tensors(one: Path, other: Path) -> bool:
    """Whether two folders hold the same tensors, bit for bit."""
    from vlp.interop.weights import open_tensors

    a, b = (open_tensors(next(folder.glob("*.safetensors"))) for folder in (one, other))
    return a.shapes == b.shapes and all(a[n].tobytes() == b[n].tobytes() for n in a)


def declare_operators() -> None:
    """Lets open_clip be imported beside a torch without the operators of torchvision."""
    import torch

    library = torch.library.Library("torchvision", "FRAGMENT")
    for schema in (
        "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
        "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    ):
        if not hasattr(torch.ops.torchvision, schema.partition("(")[0]):
            library.define(schema)
    declare_operators.library = library  # it forgets what it declared when it is collected


if __name__ == "__main__":
    main()
