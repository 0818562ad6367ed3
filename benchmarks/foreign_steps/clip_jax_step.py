"""clip-jax's trainer: its step for the two towers that all sides compile."""

import types
from typing import Any

from foreign_steps.captured import (
    FarJax,
    Step,
    abstract_batch,
    bring_back,
    reached,
    shard_map_as_it_was,
    stand_in,
)


def traced(
    devices: Any, *, pairs: int, remat: str, size: int = 224, length: int = 64, vocab: int = 32000
) -> Step:
    """The step traced on a mesh of these devices, with its own `main`.

    The loss is the one in chunks, which the trainer has and its arguments refuse; clipping is off,
    with which the step of Adam does not find its count.
    """
    trainer = _trainer()
    meshes: list[Any] = []
    far = FarJax(devices, step="train_step", mesh=lambda: meshes[0])
    trainer.jax = far
    trainer.Mesh = lambda *args: meshes.append(_mesh(*args)) or meshes[0]
    trainer.create_device_mesh = lambda shape: _laid_out(shape, devices)
    trainer.load_config = lambda _: _config(size, length, vocab)
    arguments = (
        trainer.ModelArguments(config_name="here", tokenizer_name="none", dtype="bfloat16"),
        trainer.DataTrainingArguments(),
        trainer.TrainingArguments(
            output_dir="none", no_cache=True, do_train=True, optim="adam", beta2=0.98,
            weight_decay=0.1, lr_decay="cosine", lr_transition_steps=1000, remat_policy=remat,
            batch_size_per_node=str(pairs // far.process_count()),
        ),
    )  # fmt: skip
    arguments[2].loss_type = "chunked_sigmoid"
    trainer.HfArgumentParser = lambda _: types.SimpleNamespace(
        parse_args_into_dataclasses=lambda: arguments, parse_json_file=lambda json_file: arguments
    )
    trainer.DatasetWrapper = lambda **_: types.SimpleNamespace(
        training_config=None, key_class=None, datasets=[None], train=[({}, 0, "pairs")]
    )
    trainer.preprocess_batch = lambda *_, **__: {}
    fields = dict(
        pixel_values=((pairs, size, size, 3), "float32"),
        input_ids=((pairs, length), "int32"),
        attention_mask=((pairs, length), "int32"),
    )
    spec = trainer.PartitionSpec

    def pjit(function: Any = None, **settings: Any) -> Any:
        """`jit` with specs of the mesh; the batch is made where it would be put on devices."""
        if function is None:
            return lambda function: pjit(function, **settings)
        if function.__name__ == "<lambda>":
            return lambda _: abstract_batch(fields, settings["out_shardings"])
        return far.jit(function, **{key: over(value) for key, value in settings.items()})

    def over(settings: Any) -> Any:
        return trainer.jax.tree.map(
            lambda each: trainer.NamedSharding(meshes[0], each) if isinstance(each, spec) else each,
            settings,
            is_leaf=lambda each: isinstance(each, spec),
        )

    trainer.pjit = pjit
    return reached(trainer.main)


def _trainer() -> Any:
    bring_back()
    shard_map_as_it_was()
    stand_in("tensorflow", "tensorflow_io", "wandb", "transformers", "kron", "muon")
    stand_in("precondition_local", "precondition_local.distributed_shampoo")
    stand_in("clip_jax.data", "clip_jax.tokenizer", "clip_jax.maxtext")
    stand_in("clip_jax.maxtext.inference_utils", "clip_jax.maxtext.layers.models")
    import transformers

    transformers.FlaxGenerationMixin = type("FlaxGenerationMixin", (), {})
    import train

    return train


def _config(size: int, length: int, vocab: int) -> dict[str, Any]:
    shared = dict(
        hidden_size=768, num_layers=12, num_heads=12, mlp_dim=3072, activations=["gelu"],
        use_bias=True, force_scale=True, use_rmsnorm=False, ln_type="preln", use_causal_mask=False,
        position_embedding_type="learnt", pool_type="map",
    )  # fmt: skip
    text = dict(vocab_size=vocab, max_length=length, is_decoder=False, eos_token_id=1)
    vision = dict(image_size=size, patch_size=16, position_embedding_shape=(size // 16, size // 16))
    return dict(
        text_config=shared | text | dict(pool_type="bos"),
        vision_config=shared | vision,
        projection_dim=768,
        logit_bias_init_value=-10.0,
    )


def _mesh(devices: Any, axes: Any) -> Any:
    from jax.sharding import Mesh

    return Mesh(devices, axes)


def _laid_out(shape: Any, devices: Any) -> Any:
    from jax.experimental import mesh_utils

    return mesh_utils.create_device_mesh(shape, devices=devices)
