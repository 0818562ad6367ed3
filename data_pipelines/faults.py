"""Why a sample can be unusable, as a closed list: a bad sample is counted, never a crash.

A bad *sample* raises `Reject`; the loader turns it into a row of weight 0 that carries the reason.
So does a sample of a bad *container*: a tar that is cut, gone, another one now, or cannot be read.
Data of which nothing can be used are an ordinary ValueError at opening.
"""

from collections.abc import Mapping

# The position is the code in a batch's "reject" field (code = 1 + position, 0 is a good sample),
# and codes are stored in checkpoints: append, never reorder.
REASONS: tuple[str, ...] = (
    "image missing",
    "image empty",
    "image not recognised",
    "image truncated",
    "image damaged",
    "image too large",
    "image mode unsupported",
    "caption missing",
    "caption empty",
    "caption not utf-8",
    "caption too long",
    "metadata invalid",
    "label missing",
    "caption with NUL (utf-16?)",
    "audio missing",
    "audio empty",
    "audio not recognised",
    "audio damaged",
    "audio too large",
    "audio too long",
    "vector missing",
    "shard gone",
    "shard changed",
    "shard damaged",
    "read failed",
    "member twice",
    "labels invalid",
)
# Of the file that a sample lies in: to read the sample's key from it would fail as well, or wait.
OF_FILES = frozenset(("shard gone", "shard changed", "shard damaged", "read failed"))
# What may be otherwise another time: nothing that stays must be worked out from its absence.
PASSING = OF_FILES - {"shard damaged"}


class Reject(ValueError):
    """A sample that cannot be used.

    Args:
      reason: one of `REASONS`; what the sample is counted under.
      detail: the value that broke the rule, for a person who looks at this one sample.

    Raises:
      ValueError: the reason is not one of `REASONS`.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        if reason not in REASONS:
            raise ValueError(f"reason must be one of {', '.join(REASONS)}; got {reason!r}")
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail

    def __reduce__(self) -> tuple:
        # An exception pickles by its message; worker processes must hand over the reason too.
        return (Reject, (self.reason, self.detail))

    @property
    def code(self) -> int:
        """The number that stands for the reason in a batch."""
        return 1 + REASONS.index(self.reason)

    @property
    def is_missing(self) -> bool:
        """Whether the sample lacks something, where it could also have something damaged."""
        return self.reason.endswith(" missing")


def summary(counts: Mapping[str, int]) -> str:
    """Counts by reason as one line, the most frequent first."""
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{reason} {count}" for reason, count in ordered if count) or "none"


def shown(name: str) -> str:
    """A name out of the data as one can print it: what is no letter, sign or space is escaped.

    A member of a tar may be called anything, what moves a terminal's cursor included.
    """
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in name[:200])
