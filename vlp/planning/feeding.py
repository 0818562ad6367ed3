"""What a run reads and decodes to keep up with its devices."""

import dataclasses

from vlp.planning.plan import Plan

# JPEG photographs of 512 x 384 to 224 pixels by this loader, measured on one core of an x86 CPU
# (benchmarks/results/pipeline_against_open_clip.md).
DECODED_A_SECOND = 410.0
BYTES_A_PICTURE = 50_000.0  # about a photograph of 512 x 384, assumed where nothing is said


@dataclasses.dataclass(frozen=True)
class Feed:
    """What goes in, at a plan's pace, for all devices together.

    Attributes:
        pictures: read and decoded a second; one a pair where batches have pictures.
        stored: bytes/s from storage, of pictures and of vectors; captions are next to nothing.
        moved: bytes/s onto the devices.
        cores: that decode the pictures.
        hosts: that share in all this.
    """

    pictures: float
    stored: float
    moved: float
    cores: float
    hosts: int


def feed(plan: Plan, *, bytes_a_picture: float = BYTES_A_PICTURE) -> Feed:
    """What a plan's pace asks of storage and hosts; all 0 where it has no time.

    Args:
        plan: of a step.
        bytes_a_picture: as stored, on average.
    """
    pace, fields = plan.pairs_per_second, plan.fields
    pictures = pace if any(name.split("/")[0] == "image" for name in fields) else 0.0
    vectors = sum(size for name, size in fields.items() if name.endswith("_embedding"))
    return Feed(
        pictures=pictures,
        stored=pictures * bytes_a_picture + pace * vectors,
        moved=pace * sum(fields.values()),
        cores=pictures / DECODED_A_SECOND,
        hosts=plan.hosts,
    )
