"""A loader of ten samples, and what its batches are compared by."""

import itertools

import numpy as np
from data_makers import Noisy, pairs, write_tar

from data_pipelines.fields import Pictures, Texts
from data_pipelines.loader import make_loader
from data_pipelines.sources import TarSource
from data_pipelines.text import train_sentencepiece

COUNT = 10
TOKENIZER = train_sentencepiece(
    [line for _, data in pairs(COUNT)[1::3] for line in data.splitlines()], vocab_size=320
)
FIELDS = dict(image_transform=Noisy(), caption_first_probability=0.5)


def loader(source, **values):
    made = fields(**{name: values.pop(name) for name in FIELDS.keys() & values.keys()})
    defaults = dict(fields=made, global_batch_size=4, seed=1, num_threads=0)
    return make_loader(source, **(defaults | values))


def fields(**values):
    transform, first = (FIELDS | values).values()
    return {
        "text": Texts(TOKENIZER, length=8, pad_id=TOKENIZER.pad_id, first_probability=first),
        "image": Pictures(transform, size=4),
    }


def take(iterator, count):
    return list(itertools.islice(iterator, count))


def assert_equal(batches, others):
    assert len(batches) == len(others)
    for batch, other in zip(batches, others, strict=True):
        assert batch.keys() == other.keys()
        for name in batch:
            np.testing.assert_array_equal(batch[name], other[name], err_msg=name)


def joined(shares):
    """Global batches from the shares of all processes."""
    return [
        {name: np.concatenate([share[name] for share in batch]) for name in batch[0]}
        for batch in zip(*shares, strict=True)
    ]


def tar_with(tmp_path, image, text):
    """Ten samples of which number 3 has this image and caption."""
    members = pairs(COUNT)
    members[9:12] = [("0003.png", image), ("0003.txt", text)]
    return TarSource(write_tar(tmp_path / "bad.tar", members))
