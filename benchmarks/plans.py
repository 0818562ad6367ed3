"""Published models planned for the machines that they are for: a table by the compiler.

  python benchmarks/plans.py [--only NAME ...]

Needs `vlp[tpu]` and JAX's CUDA plugin; runs `vlp plan` once a line and nothing else. Memory is that
of one device, times are estimates of what never ran: "roofline" over the compiled instructions,
"cycles" as the TPU's compiler estimates them. "Planned in" is the whole command.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SAMPLES = 400_000_000
# A name; preset and further arguments of own_data.py; the machine; flags.
LINES = {
    "L/14, data parallel": ("clip/ViT-L/14,batch=32768,length=77", "v5e:16x16", []),
    "L/14, fsdp 16": ("clip/ViT-L/14,batch=32768,length=77", "v5e:16x16", ["mesh.fsdp=16"]),
    "L/14, fsdp 8": ("clip/ViT-L/14,batch=1024,length=77", "h100:8", ["mesh.fsdp=8"]),
    "B/16": ("clip/ViT-B/16,batch=4096,length=77", "h100:8", []),
    "SigLIP B/16": ("siglip/ViT-B/16,batch=32768,length=64", "v4:4x4x4", ["mesh.fsdp=16"]),
}


def main() -> None:
    """Plans every line and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=LINES, default=list(LINES))
    args = parser.parse_args()
    print(
        "| model | pairs | machine | mesh | GB a device | of | fits | step by roofline, ms | "
        "by cycles, ms | MFU | pairs/s | planned in, s |\n" + "|---" * 12 + "|"
    )
    for name in args.only:
        print(row(name, *LINES[name]), flush=True)


def row(name: str, model: str, topology: str, flags: list[str]) -> str:
    """One line of the table."""
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "plan.json"
        config = f"experiments/own_data.py:data=none.tar,model={model},dtype=bfloat16,remat=full"
        begun = time.perf_counter()
        subprocess.run(
            [
                *(sys.executable, "-m", "vlp.cli.main", "plan", f"--config={config}"),
                *(f"--topology={topology}", f"--samples={SAMPLES}", f"--json={file}"),
                "--config.tokenizer.vocab_size=49408",
                *(f"--config.{flag}" for flag in flags),
            ],
            stdout=subprocess.DEVNULL,
            check=True,
        )
        taken = time.perf_counter() - begun
        plan = json.loads(file.read_text())
    memory, spent = plan["memory"], plan.get("estimate")
    times = "- | - | - | -"
    if spent:  # none is made of a program that the compiler refuses for its size
        cycles = f"{1e3 * spent['compiler_seconds']:,.0f}" if spent["compiler_seconds"] else "-"
        times = (
            f"{1e3 * spent['seconds']:,.0f} | {cycles} | {spent['mfu']:.0%} | "
            f"{spent['pairs_per_second']:,.0f}"
        )
    mesh = " x ".join(f"{axis} {size}" for axis, size in plan["mesh"].items())
    return (
        f"| {name} | {plan['global_batch']:,} | {topology} | {mesh} | "
        f"{memory['total'] / 1e9:.2f} | {memory['capacity'] / 1e9:.2f} | "
        f"{'yes' if memory['fits'] else 'no'} | {times} | {taken:.0f} |"
    )


if __name__ == "__main__":
    main()
