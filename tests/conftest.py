"""Strict JAX for every test: eight CPU devices, no silent promotion, warnings are errors."""

import importlib.util
import os

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ["HF_HUB_OFFLINE"] = "1"  # a name that is no path here is not looked up anywhere
# Most of the time goes into compiling programs that run once; the older emitters do it in half.
os.environ.setdefault(
    "XLA_FLAGS", "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false"
)

import jax

jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")

PEERS = ("torch", "transformers", "open_clip")
JUDGES = ("clip_benchmark", "mteb", "open_clip", "sklearn")
collect_ignore = [
    folder
    for folder, names in (("peers", PEERS), ("sweep_peers", JUDGES))
    if not all(importlib.util.find_spec(name) for name in names)
]
