"""How fast and how large a step is: pairs a second, model FLOPs, share of the peak, memory."""

import resource
import sys
from typing import Any

import jax
import numpy as np

# Dense bfloat16 peak of one device in FLOP/s, by a part of jax's device kind; first match counts.
# Sources: vendors' data sheets (NVIDIA without sparsity; TPU from cloud.google.com/tpu/docs).
PEAK_FLOPS = (
    ("B200", 2250e12),
    ("GH200", 989e12),
    ("H200", 989e12),
    ("H100 PCIe", 756e12),
    ("H100", 989e12),
    ("A100", 312e12),
    ("L40S", 362e12),
    ("L4", 121e12),
    ("V100", 125e12),
    ("T4", 65e12),
    ("TPU7x", 1153e12),  # jax shows each of a chip's two cores as a device
    ("TPU v6", 918e12),
    ("TPU v5p", 459e12),
    ("TPU v5 lite", 197e12),
    ("TPU v5e", 197e12),
    ("TPU v5", 459e12),
    ("TPU v4", 275e12),
    ("TPU v3", 61.5e12),
)


def peak_flops(device_kind: str) -> float | None:
    """The dense bfloat16 peak of one device in FLOP/s, or None for devices unknown here (CPUs)."""
    for part, peak in PEAK_FLOPS:
        if part.lower() in device_kind.lower():
            return peak
    return None


def peak_memory_gb() -> float:
    """The most memory in use so far in GB: of the fullest local device, on CPU of this process."""
    stats = [device.memory_stats() for device in jax.local_devices()]
    peaks = [each["peak_bytes_in_use"] for each in stats if each and "peak_bytes_in_use" in each]
    if peaks:
        return max(peaks) / 1e9
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


def mfu(*, flops: float, seconds: float, devices: Any) -> float | None:
    """The share of the devices' peak that a step's model FLOPs are; None without a known peak."""
    kinds = [device.device_kind for device in np.ravel(devices)]
    peak = peak_flops(kinds[0])
    if peak is None or seconds <= 0:
        return None
    return flops / seconds / (peak * len(kinds))
