"""What machines can do: figures of chips and of the links between them, each with its source."""

import dataclasses
from collections.abc import Mapping

Number = int | float
_GIB = 2**30
# Of bf16 products on an H100 in XLA's `default_matmul_perf_table.txtpb`: 681 TFLOP/s for
# 4096 x 4096 x 1024, 764 for 4096 x 2048 x 4096, 247 for 1024 cubed: to a tenth what 0.77 of the
# peak gives with 5.7 microseconds a product.
_GPU_ATTAINED = 0.77
# Ironwood's products of 32768 in https://github.com/AI-Hypercomputer/tpu-recipes
# (microbenchmarks): 956 of 1154 TFLOP/s a device.
_TPU_ATTAINED = 0.83
_CLOUD = "https://docs.cloud.google.com/tpu/docs"
_SPECS = "https://github.com/openxla/xla/tree/main/xla/backends/gpu/target_config/specs"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Chip:
    """One accelerator, as JAX counts devices.

    Attributes:
        kind: "tpu" or "cuda".
        peak: dense FLOP/s by the dtype of a product's operands; "float32" is that of a product at
            the precision that JAX asks for by default.
        memory: bytes.
        bandwidth: of the memory, bytes/s.
        link: bytes/s that one device sends to all in its slice or host, one way.
        network: bytes/s that one device sends beyond, one way.
        hosted: devices a host, which share `link` where they are GPUs.
        clock: hertz of the cycles that the compiler estimates; 0 where it estimates none.
        attained: share of the peak that large products reach, as measured.
        product_overhead, overhead: seconds that it takes to begin and end a product, and another
            operation.
        target: of GPUs, what the compiler must know of it, as fields of its device description.
        source: where the figures are from.
    """

    kind: str
    peak: Mapping[str, float]
    memory: Number
    bandwidth: Number
    link: Number
    network: Number
    hosted: int
    clock: Number = 0
    attained: float = 1.0
    product_overhead: float = 0.0
    overhead: float = 0.0
    target: Mapping[str, object] = dataclasses.field(default_factory=dict)
    source: str = ""


def chip_of(device_kind: str) -> Chip | None:
    """The chip that JAX calls so; None where there are no figures of it."""
    name = _TPUS.get(device_kind, "")
    named = (chip for chip in CHIPS.values() if chip.target.get("name") == device_kind)
    return CHIPS.get(name) or next(named, None)


def _tpu(
    page: str, *, tflops: Number, gib: Number, gbs: Number, ici: Number, dcn: Number, hosted: int,
    mhz: Number,
) -> Chip:  # fmt: skip
    """A TPU, as its page describes it: `ici` in GB/s is both ways together, `dcn` in Gbit/s.

    The clock is the one at which its units make the peak. A product of float32 is one of bfloat16
    operands by default, and six for the highest precision.
    """
    peak = {"bf16": tflops * 1e12, "f32": tflops * 1e12, "f32 highest": tflops * 1e12 / 6}
    return Chip(
        kind="tpu", peak=peak, memory=gib * _GIB, bandwidth=gbs * 1e9, link=ici * 1e9 / 2,
        network=dcn * 1e9 / 8, hosted=hosted, clock=mhz * 1e6, attained=_TPU_ATTAINED,
        source=f"{_CLOUD}/{page}",
    )  # fmt: skip


def _gpu(
    spec: str, *, tflops: Number, tf32: Number, fp32: Number, bandwidth: Number, memory: int,
    nvlink: Number, cores: int, ghz: Number, l2: int, shared: int, capability: tuple[int, int],
    fpus: int = 128, device: str,
) -> Chip:  # fmt: skip
    """A GPU in hosts of eight: `nvlink` in GB/s one way; a network card of 400 Gbit/s for each.

    Peaks are dense and of the data sheet, figures of the device those that XLA ships for it.
    """
    return Chip(
        kind="cuda",
        peak={"bf16": tflops * 1e12, "f32": tf32 * 1e12, "f32 highest": fp32 * 1e12},
        memory=memory,
        bandwidth=bandwidth,
        link=nvlink * 1e9,
        network=50e9,
        hosted=8,
        attained=_GPU_ATTAINED,
        product_overhead=5.7e-6,
        overhead=2e-6,
        target=dict(
            core_count=cores, clock_rate_ghz=ghz, memory_bandwidth=round(bandwidth),
            device_memory_size=memory, l2_cache_size=l2, fpus_per_core=fpus,
            shared_memory_per_core=shared, shared_memory_per_block_optin=shared - 1024,
            capability=capability, name=device,
        ),
        source=f"{_SPECS}/{spec}.txtpb",
    )  # fmt: skip


# What JAX calls the devices of each kind of TPU; GPUs are called as their targets are.
_TPUS = {
    "TPU v4": "v4", "TPU v5 lite": "v5e", "TPU v5e": "v5e", "TPU v5": "v5p", "TPU v5p": "v5p",
    "TPU v6 lite": "v6e", "TPU v6e": "v6e", "TPU7x": "tpu7x",
}  # fmt: skip
CHIPS: Mapping[str, Chip] = {
    "v4": _tpu("v4", tflops=275, gib=32, gbs=1200, ici=600, dcn=50, hosted=4, mhz=1050),
    "v5e": _tpu("v5e", tflops=197, gib=16, gbs=819, ici=400, dcn=25, hosted=8, mhz=1500),
    "v5p": _tpu("v5p", tflops=459, gib=95, gbs=2765, ici=1200, dcn=50, hosted=4, mhz=1750),
    "v6e": _tpu("v6e", tflops=918, gib=32, gbs=1640, ici=800, dcn=100, hosted=8, mhz=1750),
    # A device is one of the two cores of a chip.
    "tpu7x": _tpu("tpu7x", tflops=1153.5, gib=96, gbs=3690, ici=600, dcn=50, hosted=8, mhz=2200),
    "a100": _gpu(
        "a100_sxm_80", tflops=312, tf32=156, fp32=19.5, bandwidth=2.03904e12, memory=85100068864,
        nvlink=300, cores=108, ghz=1.41, l2=41943040, shared=167936, capability=(8, 0), fpus=64,
        device="NVIDIA A100-SXM4-80GB",
    ),
    "h100": _gpu(
        "h100_sxm", tflops=989, tf32=495, fp32=67, bandwidth=3.35232e12, memory=84942979072,
        nvlink=450, cores=132, ghz=1.98, l2=52428800, shared=233472, capability=(9, 0),
        device="NVIDIA H100 80GB HBM3",
    ),
    "h200": _gpu(
        "h200", tflops=989, tf32=495, fp32=67, bandwidth=4.8e12, memory=151397597184,
        nvlink=450, cores=132, ghz=1.98, l2=52428800, shared=233472, capability=(9, 0),
        device="NVIDIA H200 141GB HBM3e",
    ),
    "b200": _gpu(
        "b200", tflops=2250, tf32=1125, fp32=75, bandwidth=7.67232e12, memory=191514411008,
        nvlink=900, cores=148, ghz=1.965, l2=132644864, shared=233472, capability=(10, 0),
        device="NVIDIA B200",
    ),
}  # fmt: skip
