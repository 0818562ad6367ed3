"""One of two processes of two devices that embed a data set together.

Arguments: this process's number, the coordinator's port, the data, and where the result goes.
"""

import sys

import numpy as np
from flax import nnx

from data_pipelines.images import ImagePreprocess
from data_pipelines.opening import open_source
from tests.filled import filled
from vlp.evals.embed import Encoder
from vlp.evals.pairs import read_pairs
from vlp.jobs.evaluator import Evaluator
from vlp.models.dual_encoder import DualEncoder
from vlp.parallel.mesh import make_mesh
from vlp.parallel.startup import start

TOWER = dict(image_size=16, patch_size=8, width=16, depth=1, num_heads=2, pool="cls")
BROKEN = 5  # a sample whose file cannot be read on this machine


class Counted:
    """A source that counts what is loaded of it, and cannot load one sample."""

    def __init__(self, source, broken=None):
        self.source, self.broken, self.loaded = source, broken, []

    def __getattr__(self, name):
        return getattr(self.source, name)

    def __len__(self):
        return len(self.source)

    def image(self, index):
        self.loaded.append(index)
        if index == self.broken:
            raise OSError(f"sample {index}: Input/output error")
        return self.source.image(index)


def embedding_of(model, image):
    """What is read of an image: its embedding."""
    return image.embedding


def evaluator(source, mesh=None):
    """Of a model that is the same in each process."""
    graphdef, state = nnx.split(
        filled(lambda: DualEncoder(image=TOWER, text=None, embed_dim=12, rngs=nnx.Rngs(0)))
    )
    encoder = Encoder(graphdef, state) if mesh is None else Encoder(graphdef, state, mesh=mesh)
    return Evaluator(encoder, ImagePreprocess(16), len, len, 7, "float32", sources={"data": source})


def main(process: int, port: int, data: str, out: str) -> None:
    """Embeds, and then finds that a sample cannot be loaded."""
    start(coordinator=f"localhost:{port}", num_processes=2, process_id=process, timeout_s=60)
    mesh = make_mesh(data=4)
    source = Counted(open_source(data))
    judge = evaluator(source, mesh)
    images = judge.images("data")
    loaded = sorted(source.loaded)
    source.loaded.clear()
    rows = np.arange(len(images.ids))[::-1]
    batches = images.batches(judge.encoder)
    again = read_pairs(judge.encoder, batches, function=embedding_of, images=rows)
    found = dict(zimg=images.zimg, ids=images.ids, loaded=loaded)
    np.savez(out, **found, again=again[::-1], loaded_again=sorted(source.loaded))
    print("rejects", dict(images.rejects))
    try:
        evaluator(Counted(open_source(data), BROKEN), mesh).images("data")
    except (OSError, ValueError) as error:
        print("said", error)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:])
