"""Learning rates as functions of the step, and durations said in steps, epochs or samples."""

import difflib
import math
import re
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

Schedule = Callable[[Any], jax.Array]

_UNITS = {
    "step": "steps",
    "steps": "steps",
    "epoch": "epochs",
    "epochs": "epochs",
    "ep": "epochs",
    "sample": "samples",
    "samples": "samples",
    "pairs": "samples",
}


def parse_duration(
    duration: int | float | str, *, global_batch_size: int, samples_per_epoch: int | None = None
) -> int:
    """The number of steps that a duration lasts, rounded to the nearest.

    Args:
        duration: a number of steps, or a number and a unit: `"500 steps"`, `"1.5 epochs"`,
            `"1e6 samples"`.
        global_batch_size: samples a step.
        samples_per_epoch: samples an epoch; needed for durations in epochs.

    Raises:
        ValueError: when the duration cannot be read, or is negative.
    """
    return round(_samples(duration, global_batch_size, samples_per_epoch) / global_batch_size)


def parse_samples(
    duration: int | float | str, *, global_batch_size: int, samples_per_epoch: int | None = None
) -> int:
    """The number of samples that a duration lasts; as `parse_duration`."""
    return round(_samples(duration, global_batch_size, samples_per_epoch))


def _samples(
    duration: int | float | str, global_batch_size: int, samples_per_epoch: int | None
) -> float:
    amount, unit = _read(duration)
    if unit == "epochs" and samples_per_epoch is None:
        raise ValueError(f"this data has no epochs, got {duration!r}; say it in steps or samples")
    samples = {"steps": global_batch_size, "epochs": samples_per_epoch or 0, "samples": 1}[unit]
    return amount * samples


def unit_of(duration: int | float | str) -> str:
    """What a duration is said in: `steps`, `epochs` or `samples`; "" for one of 0."""
    amount, unit = _read(duration)
    return unit if amount else ""


def _read(duration: int | float | str) -> tuple[float, str]:
    text = f"{duration}".strip()
    match = re.fullmatch(r"([-+]?[0-9_.]+(?:[eE][-+]?[0-9]+)?)\s*([A-Za-z]*)", text)
    if match is None:
        raise ValueError(_unreadable(text))
    try:
        amount = float(match[1])
    except ValueError:
        raise ValueError(_unreadable(text)) from None
    name = match[2].lower() or "steps"
    if name not in _UNITS:
        nearest = difflib.get_close_matches(name, _UNITS, n=1, cutoff=0.0)[0]
        raise ValueError(
            f"a duration is in steps, epochs or samples, got {text!r}; did you mean "
            f'"{match[1]} {nearest}"?'
        )
    if amount < 0 or not math.isfinite(amount):
        raise ValueError(f"a duration must be at least 0, got {text!r}; try 0")
    return amount, _UNITS[name]


def _unreadable(text: str) -> str:
    return (
        "a duration must be a number of steps or a number and a unit, "
        f'got {text!r}; try 500, "500 steps", "1.5 epochs" or "1e6 samples"'
    )


def cosine(*, peak: float, steps: int, warmup: int = 0, end: float = 0.0) -> Schedule:
    """Linear warm-up to `peak`, then half a cosine down to `end` at the last step.

    Args:
        peak: highest learning rate.
        steps: length of the run.
        warmup: steps until the peak.
        end: learning rate at the end of the run.

    References: Loshchilov & Hutter, 2017, https://arxiv.org/abs/1608.03983, eq. 5.
    """
    _check_lengths(steps, warmup=warmup)
    if not 0 <= end < math.inf:
        raise ValueError(f"end must be a learning rate of at least 0, got {end}; try 0")

    def decay(step: jax.Array) -> jax.Array:
        progress = jnp.clip((step - warmup) / max(steps - warmup, 1), 0.0, 1.0)
        return end + (peak - end) * 0.5 * (1.0 + jnp.cos(jnp.pi * progress))

    return _scheduled(decay, peak=peak, warmup=warmup)


def rsqrt(
    *, peak: float, steps: int, warmup: int = 0, cooldown: int = 0, timescale: int = 10_000
) -> Schedule:
    """Linear warm-up to `peak`, inverse square root of the step, linear cooldown to 0.

    Args:
        peak, steps, warmup: as in `cosine`.
        cooldown: last steps, in which the rate falls to 0.
        timescale: steps after the warm-up until the rate has fallen to `peak / sqrt(2)`.

    References: Zhai et al., 2022, https://arxiv.org/abs/2106.04560, section 3.5.
    """
    _check_lengths(steps, warmup=warmup, cooldown=cooldown)

    def decay(step: jax.Array) -> jax.Array:
        slowed = peak * jax.lax.rsqrt(1.0 + jnp.maximum(step - warmup, 0.0) / timescale)
        return slowed * _cooldown(step, steps=steps, cooldown=cooldown)

    return _scheduled(decay, peak=peak, warmup=warmup)


def constant_cooldown(*, peak: float, steps: int, warmup: int = 0, cooldown: int = 0) -> Schedule:
    """Linear warm-up to `peak`, constant, then linear cooldown to 0.

    Args:
        peak, steps, warmup: as in `cosine`.
        cooldown: last steps, in which the rate falls to 0.

    References: Hägele et al., 2024, https://arxiv.org/abs/2405.18392.
    """
    _check_lengths(steps, warmup=warmup, cooldown=cooldown)

    def decay(step: jax.Array) -> jax.Array:
        return peak * _cooldown(step, steps=steps, cooldown=cooldown)

    return _scheduled(decay, peak=peak, warmup=warmup)


def stairs(
    *, peak: float, steps: int, warmup: int = 0, factor: float = 0.9, interval: int
) -> Schedule:
    """Linear warm-up to `peak`, which falls to `factor` of itself after each whole interval.

    Args:
        peak, steps: as in `cosine`.
        warmup: steps until the peak, in the first interval for the fall to begin at the peak.
        factor: above 0, at most 1.
        interval: steps from fall to fall, counted from the beginning of the run.

    Raises:
        ValueError: when the factor or the interval is out of its range.

    References: the schedule of BLIP, https://github.com/salesforce/BLIP (`pretrain.py`).
    """
    _check_lengths(steps, warmup=warmup)
    if not 0 < factor <= 1 or interval < 1:
        raise ValueError(
            "a schedule of stairs must have a factor in (0, 1] and an interval of a step at least, "
            f"got {factor} and {interval}; try 0.9 and an epoch"
        )

    def decay(step: jax.Array) -> jax.Array:
        return peak * factor ** jnp.floor(step / interval)

    return _scheduled(decay, peak=peak, warmup=warmup)


SCHEDULES: dict[str, Callable[..., Schedule]] = {
    "cosine": cosine,
    "rsqrt": rsqrt,
    "constant-cooldown": constant_cooldown,
    "stairs": stairs,
}


def make_schedule(name: str = "cosine", **settings: Any) -> Schedule:
    """The schedule of that name; `settings` are the keyword arguments of its function.

    Raises:
        ValueError: when there is no such schedule.
        TypeError: when it has no such setting.
    """
    if name not in SCHEDULES:
        raise ValueError(f"schedule must be one of {', '.join(SCHEDULES)}, got {name}")
    return SCHEDULES[name](**settings)


def _scheduled(decay: Schedule, *, peak: float, warmup: int) -> Schedule:
    """`decay` behind a warm-up that ends, at step `warmup`, exactly at the peak."""
    if not 0 <= peak < math.inf:
        raise ValueError(f"peak must be a learning rate of at least 0, got {peak}; try 1e-3")

    def schedule(step: Any) -> jax.Array:
        now = jnp.asarray(step, jnp.float32)
        rising = jnp.asarray(peak, jnp.float32) * (now + 1.0) / (warmup + 1.0)
        return jnp.where(now < warmup, rising, decay(now)).astype(jnp.float32)

    return schedule


def _cooldown(step: jax.Array, *, steps: int, cooldown: int) -> jax.Array:
    return jnp.clip((steps - step) / max(cooldown, 1), 0.0, 1.0)


def _check_lengths(steps: int, *, warmup: int, cooldown: int = 0) -> None:
    if steps < 1:
        raise ValueError(f"steps must be at least 1, got {steps}; say how long to train")
    if min(warmup, cooldown) < 0 or warmup + cooldown > steps:
        raise ValueError(
            f"warmup and cooldown must fit into the {steps} steps of the run, got {warmup} + "
            f"{cooldown}; shorten them or train longer"
        )
