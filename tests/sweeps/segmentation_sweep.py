"""Drawings on backgrounds with masks from their opacity, and models whose answer is known."""

import dataclasses
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from PIL import Image

from data_pipelines.emoji import compact
from data_pipelines.images import ImagePreprocess
from tests.interop import tiny
from tests.odd_images import saved
from tests.sweeps.layouts.made import put, saved_array
from vlp.interop.save import save_run
from vlp.sweeps.bars import Bars
from vlp.sweeps.entry import Entry
from vlp.sweeps.log import Log
from vlp.sweeps.models import expand
from vlp.sweeps.plan import Plan
from vlp.sweeps.table import write_tables
from vlp.sweeps.work import Sweep

NAMES = ("red", "heart", "cat", "dog")
KINDS = ("clip", "siglip")
COLOURS = np.uint8([[250, 20, 30], [20, 240, 40], [30, 10, 245], [230, 220, 10]])
PICTURES, NOTHING = 11, 3  # no batch of several devices divides them; a class that is nowhere


def drawings() -> list[np.ndarray]:
    """Two drawings, uint8 RGBA `[48, 48, 4]`."""
    _, vendors = compact.read()
    _, pixels = next(vendors)
    return [pixels[place, 8:56, 8:56] for place in (0, 100)]


def pasted(drawn: list[np.ndarray], rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A picture with two drawings, and its mask: half opaque edges do not count."""
    height, width = 48 + int(rng.integers(60)), 100 + int(rng.integers(30))
    pixels = np.full((height, width, 3), rng.integers(256, size=3), np.uint8)
    mask = np.zeros((height, width), np.uint8)
    for number, drawing in enumerate(drawn, start=1):
        top, left = rng.integers(height - 47), (number - 1) * 50
        place = np.s_[top : top + 48, left : left + 48]
        alpha = drawing[..., 3:].astype(np.float32) / 255
        pixels[place] = (drawing[..., :3] * alpha + pixels[place] * (1 - alpha)).astype(np.uint8)
        opacity = drawing[..., 3]
        mask[place] = np.where(opacity == 255, number, np.where(opacity == 0, mask[place], 255))
    return pixels, mask


def made(root: Path) -> Path:
    """Two random models, one that crops, and a set of drawings."""
    for kind in KINDS:
        save_run(tiny.make_run(kind), root / kind)
    save_run(tiny.make_run("clip", resize="shortest", seed=1), root / "crops")
    rng, drawn = np.random.default_rng(0), drawings()
    for i in range(PICTURES):
        pixels, mask = pasted(drawn, rng)
        put(root / "pasted", {f"images/p{i:02d}.png": saved_array(pixels)})
        put(root / "pasted", {f"masks/p{i:02d}.png": saved_array(mask)})
    put(root / "pasted", {"classnames.txt": "\n".join(NAMES)})
    return root


def patched(root: Path, *, side: int, times: int) -> None:
    """A set of pictures whose patches have the colours of classes, as large as the model's or some
    times that, with exact masks."""
    rng = np.random.default_rng(0)
    for i in range(3):
        halves = rng.permutation(NOTHING)[:2]
        classes = np.full((3, 3), halves[0])
        classes[:, i:] = halves[1]  # so many columns are of the second
        whole = np.kron(classes, np.ones((side * times, side * times), int)).astype(np.uint8)
        put(root, {f"images/c{i}.png": saved_array(COLOURS[whole])})
        put(root, {f"masks/c{i}.png": saved(Image.fromarray(whole, "L"))})
    put(root, {"classnames.txt": "\n".join(NAMES)})


def knowing(kind: str, folder: Path) -> Path:
    """A model that gives each patch of a class's colour the vector of the class: its blocks add
    nothing, its last matrix is solved for, and it shrinks pictures without blurring edges."""
    run = tiny.make_run(kind)
    boxes = ImagePreprocess(tiny.SIZE, interpolation="box")
    card = {**run.card, "preprocess": boxes.to_dict()}
    run = dataclasses.replace(run, preprocess=boxes, card=card)
    model, tower = run.model, run.model.image
    last, silent = model.image_projection, [tower.stack.blocks.mlp.down]
    if kind == "siglip":
        last = tower.head.out
        silent += [tower.head.mlp.down, last]
    for layer in (tower.stack.blocks.attention.out, *silent):
        layer.kernel[...], layer.bias[...] = 0 * layer.kernel[...], 0 * layer.bias[...]
    tower.positions[...] = 0 * tower.positions[...]
    if kind == "siglip":
        last.kernel[...] += np.eye(tower.width, dtype=np.float32)
    squares = COLOURS[:, None, None].repeat(tiny.SIZE, axis=1).repeat(tiny.SIZE, axis=2)
    vectors = np.asarray(tower.patch_vectors(model.normalise(jnp.asarray(squares))))[:, 0]
    texts = np.asarray(model.encode_text(run.tokenize(list(NAMES))).embedding)
    solved = np.linalg.lstsq(vectors, _equally_far(texts), rcond=None)[0]
    last.kernel[...] = 0 * last.kernel[...] + solved
    return Path(str(save_run(run, folder)))


def _equally_far(texts: np.ndarray) -> np.ndarray:
    """A vector for each text, of one length, that has the same product with it, and 0 with the
    others: so that a class ends half way to the next, and no third one lies between them."""
    duals = np.linalg.pinv(texts).T
    beside = np.linalg.svd(texts)[2][-1]  # has no product with any text
    length = np.linalg.norm(duals, axis=1, keepdims=True)
    return duals + np.sqrt(2 * length.max() ** 2 - length**2) * beside


def swept(root: Path, out: Path, models: list[str], *entries: Entry, **others) -> Log:
    """Carries out a sweep."""
    out.mkdir(exist_ok=True)
    log = Log(out / "log.jsonl")
    plan = Plan(
        expand([str(root / model) for model in models]),
        entries or [Entry("pasted", tasks=("segmentation",))],
        out,
        str(root),
        **{"draws": 20, **others},
    )
    with Bars() as bars:
        Sweep(plan, log, bars=bars).carry_out()
    write_tables(out, log.rows.values())
    return log


def row_of(log: Log, model: str = "", task: str = "segmentation") -> dict:
    """The only row of a model and task."""
    (row,) = [
        row for row in log.rows.values() if row["model"].endswith(model) and row["task"] == task
    ]
    return row
