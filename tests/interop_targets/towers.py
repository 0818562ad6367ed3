"""Small runs with every kind of tower that graphs can hold."""

import dataclasses

import numpy as np

from tests.interop.tiny import LENGTH, VOCABULARY, kwargs, make_run, merged
from vlp.interop.loaded import Run, model_of, param_shapes

RESNET = dict(kind="resnet", image_size=32, layers=[1, 1, 1, 1], width=8, output_dim=20)
BERT = dict(kind="bert", vocab_size=VOCABULARY, length=LENGTH, width=16, depth=2, num_heads=2)
BOW = dict(kind="bow", vocab_size=VOCABULARY, length=LENGTH, width=16)

COCA = {
    "image.pool": "queries",
    "image.queries": dict(width=20, num_queries=4, num_heads=2),
    "image.pre_norm": False,
    "text.pool": "cls_last",
    "decoder": dict(depth=1, num_heads=2),
    "begin_id": 3,
}

CHANGES = {
    "clip": {},
    "siglip": {},
    "resnet and words": dict(image=RESNET, image_projection="none", text=BOW),
    "mean pooling and bert": {"image.pool": "mean", "text": BERT},
    "coca": COCA,
    "pixels behind the last patch": {"image.patch_size": 7},
    "bfloat16": {"image.dtype": "bfloat16", "text.dtype": "bfloat16", "text.remat": "dots"},
}


def run_of(name: str) -> Run:
    """The run of that name in `CHANGES`."""
    if name == "coca":
        return _coca()
    kind = "siglip" if name == "siglip" else "clip"
    return make_run(kind, **CHANGES[name])


def _coca() -> Run:
    rng, settings = np.random.default_rng(0), merged(kwargs("clip"), COCA)
    params = {name: 0.2 * rng.normal(size=s) for name, s in param_shapes(settings).items()}
    run = make_run("clip")
    card = run.card | {"model": settings}
    return dataclasses.replace(run, model=model_of(settings, params), card=card)
