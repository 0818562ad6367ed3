"""A plan as it could come of a step, without a compiler."""

from vlp.planning.collectives import Collective
from vlp.planning.estimate import Estimate, Piece
from vlp.planning.findings import Finding
from vlp.planning.plan import Memory, Plan

MARKUP = '<script>alert("x")</script>'
LINEAR, NORM = "/any/where/vlp/nn/linear.py:39", "/any/where/vlp/nn/norm.py:25"


def gather(times):
    size = 10**6
    return Collective(
        "all-gather", ("fsdp",), "fast", 8, size, "bf16", (8, 8), size, times, 1, 1e-3, "", "a"
    )


ESTIMATE = Estimate(
    compute=0.09,
    compiler=0.15,
    measured=0.1,
    exposed=0.01,
    hidden={"a": 0.004},
    flops={"bf16": 1e13},
    measured_flops=5e12,
    bytes=1e11,
    pieces=[
        Piece(LINEAR, 0.05, 9e12, 1e10, "compute"),
        Piece(NORM, 0.03, 0.0, 5e10, "memory"),
        Piece(NORM, 0.01, 1e12, 4e10, "compute"),
    ],
)


def plan(temporary=10**9, estimate=ESTIMATE, **others):
    settings = dict(
        topology="h100:8",
        devices=8,
        mesh={"data": 1, "fsdp": 8},
        hosts=2,
        global_batch=1000,
        fields={"image": 150_528, "text": 308, "weight": 4, "id": 8},
        peak=1e15,
        memory=Memory(10**9, 2 * 10**9, 0, 0, 0, 10**6, temporary, capacity=8 * 10**9),
        model_flops=5e13,
        estimate=estimate,
        collectives=[gather(4)],
        findings=[Finding(f"something {MARKUP}", "/any/where/vlp/nn/x.py:1", 5)],
    )
    return Plan(**(settings | others))
