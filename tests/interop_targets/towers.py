"""Small runs with every kind of tower that graphs can hold."""

from tests.interop.tiny import LENGTH, VOCABULARY, make_run
from vlp.interop.load import Run

RESNET = dict(kind="resnet", image_size=32, layers=[1, 1, 1, 1], width=8, output_dim=20)
BERT = dict(kind="bert", vocab_size=VOCABULARY, length=LENGTH, width=16, depth=2, num_heads=2)
BOW = dict(kind="bow", vocab_size=VOCABULARY, length=LENGTH, width=16)

CHANGES = {
    "clip": {},
    "siglip": {},
    "resnet and words": dict(image=RESNET, image_projection="none", text=BOW),
    "mean pooling and bert": {"image.pool": "mean", "text": BERT},
    "bfloat16": {"image.dtype": "bfloat16", "text.dtype": "bfloat16", "text.remat": "dots"},
}


def run_of(name: str) -> Run:
    """The run of that name in `CHANGES`."""
    kind = "siglip" if name == "siglip" else "clip"
    return make_run(kind, **CHANGES[name])
