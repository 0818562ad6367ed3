"""big_vision's SigLIP trainer: its step for the two towers that all sides compile."""

import types
from typing import Any

import numpy as np
from foreign_steps.captured import FarJax, abstract_batch, bring_back, placed, reached, stand_in
from ml_collections import ConfigDict


def traced(
    devices: Any, *, pairs: int, remat: str, size: int = 224, length: int = 64, vocab: int = 32000
) -> Any:
    """The step traced on a mesh of these devices, with its own `main`.

    Its text tower has no setting of a dtype: it computes in float32.
    """
    bring_back()
    stand_in("tensorflow", "tensorflow.io", "tensorflow.io.gfile", "clu", "clu.parameter_overview")
    stand_in("big_vision.input_pipeline", "big_vision.evaluators", "big_vision.evaluators.common")
    import jax
    from big_vision.trainers.proj.image_text import siglip as trainer

    jax.config.update("jax_transfer_guard", "allow")
    config = ConfigDict(
        dict(
            input=dict(batch_size=pairs),
            total_steps=1000,
            pp_modules=[],
            log_training_steps=50,
            model_name="proj.image_text.two_towers",
            model=dict(
                image=dict(variant="B/16", pool_type="map", dtype_mm="bfloat16"),
                text=dict(variant="B", vocab_size=vocab),
                out_dim=(None, 768),
                temperature_init=10.0,
                bias_init=-10.0,
            ),
            optax_name="scale_by_adam",
            optax=dict(b1=0.9, b2=0.98),
            grad_clip_norm=1.0,
            lr=1e-3,
            wd=0.1,
            schedule=dict(decay_type="cosine", warmup_steps=100),
        )
    )
    for tower in (config.model.image, config.model.text):
        tower.scan = remat == "full"
        tower.remat_policy = "nothing_saveable"
    fields = dict(image=((pairs, size, size, 3), "float32"), labels=((pairs, length), "int32"))
    spec = {
        name: types.SimpleNamespace(shape=shape, dtype=types.SimpleNamespace(as_numpy_dtype=dtype))
        for name, (shape, dtype) in fields.items()
    }
    trainer.jax = FarJax(devices, step="update_fn")
    trainer.flags = types.SimpleNamespace(
        FLAGS=types.SimpleNamespace(config=config, workdir=None, cleanup=False)
    )
    trainer.mesh_utils = types.SimpleNamespace(
        create_device_mesh=lambda shape: _laid_out(shape, devices)
    )
    trainer.u.reshard = placed
    trainer.u.BigVisionMetricWriter = lambda *_: types.SimpleNamespace(
        measure=lambda *_: None, step_start=lambda *_: None
    )
    trainer.input_pipeline.training = lambda _: (types.SimpleNamespace(element_spec=spec), 10**9)
    trainer.input_pipeline.start_global = lambda _, flat, __: iter(
        [abstract_batch(fields, _over(flat))]
    )
    trainer.eval_common.from_config = lambda *_: []
    return reached(lambda: trainer.main(None))


def _laid_out(shape: Any, devices: Any) -> Any:
    from jax.experimental import mesh_utils

    return mesh_utils.create_device_mesh(shape, devices=devices)


def _over(flat: Any) -> Any:
    """The sharding of a batch, as big_vision's input pipeline makes it."""
    from jax.sharding import Mesh, NamedSharding, PartitionSpec

    return NamedSharding(Mesh(np.asarray(flat), ("data",)), PartitionSpec("data"))
