"""OpenVision's trainers: their steps as published, and the first one's as plain CLIP."""

import types
from typing import Any

from foreign_steps.captured import (
    FarJax,
    Step,
    abstract_batch,
    bring_back,
    placed,
    reached,
    shard_map_as_it_was,
    stand_in,
)

WRITTEN = {1: 128, 2: 127}  # tokens that the decoder of a version writes


def traced(
    devices: Any, *, pairs: int, remat: str, size: int = 224, length: int = 64, vocab: int = 32000
) -> Step:
    """The first version's step, of the two towers that all sides compile, without its decoder.

    Its plain contrastive loss is called with arguments that it does not take: it is handed the
    same captions twice, as the step with two captions hands it two, and the other one is empty.
    """
    trainer, configs = _first()
    config = configs.get_config(
        f"res={size},token_len={length},vocab_size={vocab},img=B/16,txt_name=B/16,remat={remat},"
        f"data_parallelism={len(devices)},fsdp_parallelism=1"
    )
    config.model.text_decoder = "none"
    config.model.image.dtype = config.model.text.dtype = "bfloat16"
    config.model.text.update(dict(width=768, mlp_dim=3072, num_heads=12))
    config.model.image.pool_type = "map"
    config.model.out_dim = (768, 768)
    config.loss_type = "clip"
    config.optax = dict(b1=0.9, b2=0.98)
    config.grad_clip_norm = 1.0
    from src.losses import common

    def plain(zimg: Any, ztxt: Any, t: Any, **settings: Any) -> Any:
        return common.bidirectional_contrastive_loss(zimg, ztxt, ztxt, t, **settings)

    trainer.losses = types.SimpleNamespace(bidirectional_contrastive_loss=plain)
    fields = dict(
        image=((pairs, size, size, 3), "uint8"),
        labels1=((pairs, length), "int32"),
        labels2=((0, length), "int32"),
    )
    return _step(trainer, config, devices, fields)


def published(devices: Any, *, version: int, pairs: int, size: int, remat: str = "full") -> Step:
    """The step of L/14, as the authors' scripts set it: bfloat16 in the first, see `_second`."""
    if version == 1:
        trainer, configs = _first()
        length, written = 80, WRITTEN[version]
        config = configs.get_config(
            f"res={size},token_len={length},output_token_len={written},img=L/14,txt_name=L/14,"
            f"remat={remat},data_parallelism={len(devices)},fsdp_parallelism=1"
        )
        towers = (config.model.image, config.model.text, config.model.text_decoder_config)
        captions = dict(labels1=((pairs, length), "int32"), labels2=((pairs, length), "int32"))
    else:
        trainer, configs = _second()
        written = WRITTEN[version]
        config = configs.get_config(
            f"res={size},img=L/14,remat={remat},data_parallelism={len(devices)},fsdp_parallelism=1"
        )
        towers = (config.model.image, config.model.text_decoder_config)
        decoder = config.model.text_decoder_config
        decoder.vocab_size = decoder.num_classes
        del decoder.num_classes
        captions = dict(labels=((pairs, written + 1), "int32"))
    for tower in towers:
        tower.dtype = "bfloat16"
    fields = dict(
        image=((pairs, size, size, 3), "uint8"),
        autoreg_labels=((pairs, written), "int32"),
        cap_loss_mask=((pairs, written), "int32"),
    )
    return _step(trainer, config, devices, fields | captions)


def _prepare() -> None:
    bring_back()
    shard_map_as_it_was()
    stand_in("tensorflow", "tensorflow.io", "tensorflow.io.gfile", "clu", "clu.parameter_overview")
    stand_in("wandb")


def _first() -> tuple[Any, Any]:
    _prepare()
    stand_in("src.datasets", "src.evaluators")
    from src import main_clip as trainer
    from src.configs import openvision

    return trainer, openvision


def _second() -> tuple[Any, Any]:
    _prepare()
    stand_in("transforms", "transforms.mixup", "datasets", "datasets.input_pipeline")
    stand_in("evaluators", "evaluators.common")
    from configs import openvision2
    from models import text_decoder_v2
    from src import main_openvision2 as trainer
    from src.models.text_transformer import Encoder

    text_decoder_v2.Encoder = _complete(Encoder)
    return trainer, openvision2


def _complete(encoder: Any) -> Any:
    """The decoder's encoder with what its second version leaves out: depth, and where text begins.

    All as the first version hands it on.
    """

    def made(**settings: Any) -> Any:
        def call(x: Any, deterministic: bool) -> Any:
            image = x.shape[1] - WRITTEN[2]
            sizes = dict(depth=12, fusion_style="concat", li=image, lt=WRITTEN[2])
            return encoder(**sizes, **settings)(x, deterministic=deterministic)

        return call

    return made


def _step(trainer: Any, config: Any, devices: Any, fields: Any) -> Step:
    """The step that a trainer's `main` comes to."""
    from jax.experimental import mesh_utils
    from src.losses import common as contrastive

    config.wandb.log_wandb = False
    config.pp_modules = []
    config.input.batch_size = fields["image"][0][0]
    flags = types.SimpleNamespace(config=config, workdir=None, cleanup=False, disable_gpu=False)
    trainer.flags = types.SimpleNamespace(FLAGS=flags)
    trainer.FLAGS = flags
    trainer.jax = contrastive.jax = FarJax(devices, step="update_fn")
    trainer.mesh_utils = types.SimpleNamespace(
        create_device_mesh=lambda shape: mesh_utils.create_device_mesh(shape, devices=devices)
    )
    trainer.create_mesh = lambda _: mesh_utils.create_device_mesh(
        [config.sharding.meshshape[f"{axis}_parallelism"] for axis in ("data", "fsdp", "tensor")],
        devices=devices,
    )
    trainer.reshard = placed
    trainer.BigVisionMetricWriter = lambda *_: types.SimpleNamespace(
        measure=lambda *_: None, step_start=lambda *_: None
    )
    trainer.input_pipeline.training = lambda _: (None, 10**9)
    trainer.input_pipeline.start_input_pipeline = lambda *_, data_sharding, **__: iter(
        [abstract_batch(fields, data_sharding)]
    )
    trainer.eval_common.from_config = lambda *_, **__: []
    return reached(lambda: trainer.main(None))
