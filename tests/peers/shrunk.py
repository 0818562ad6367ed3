"""Configs of open_clip made small without a change of their options, and models of them."""

import contextlib
import copy
import json

import open_clip
import timm
import torch
from safetensors.torch import save_file

from tests.peers.copied import randomised
from vlp.interop.timm import architectures

WIDTH, HEADS, DEPTH, LENGTH, VOCABULARY = 32, 2, 2, 9, 50
_NAMED = architectures.find


def small(config):
    """The config with little depth, width, vocabulary and image; everything else stays."""
    config = copy.deepcopy(config)
    vision, text = config["vision_cfg"], config["text_cfg"]
    config["embed_dim"] = 24
    if isinstance(vision.get("layers"), list):
        vision |= dict(layers=[1, 2, 1, 1], width=16, head_width=64, image_size=64)
    elif "timm_model_name" in vision:
        config["embed_dim"] = WIDTH if vision.get("timm_proj") == "none" else 24
    else:
        vision |= dict(layers=DEPTH, width=WIDTH, head_width=16, image_size=16, patch_size=8)
    if vision.get("attentional_pool"):
        config["embed_dim"] = WIDTH  # the decoder's
        vision |= dict(attn_pooler_queries=5, width=48)
    text |= dict(
        context_length=LENGTH, vocab_size=VOCABULARY, width=WIDTH, heads=HEADS, layers=DEPTH
    )
    if text.get("proj_type") == "none":
        text["width"] = config["embed_dim"]
    if "eos_id" in text:
        text["eos_id"] = 7
    if "multimodal_cfg" in config:
        config["multimodal_cfg"] |= dict(
            context_length=LENGTH, width=WIDTH, heads=HEADS, layers=DEPTH, vocab_size=VOCABULARY
        )
    return config


def essence(config):
    """What of a small config decides about the model."""
    vision, text = dict(config["vision_cfg"]), dict(config["text_cfg"])
    for setting in ("hf_tokenizer_name", "tokenizer_kwargs"):
        text.pop(setting, None)
    if "timm_model_name" in vision:
        trunk = _small_settings(vision["timm_model_name"])
        vision = {key: vision[key] for key in ("timm_pool", "timm_proj")} | trunk
    return {**config, "vision_cfg": vision, "text_cfg": text}


@contextlib.contextmanager
def small_trunks(monkeypatch):
    """Within it timm's vision transformers are small, in timm and in our table of them."""
    create = timm.create_model

    def small_model(name, **settings):
        known = _small_settings(name)
        sizes = dict(img_size=known["image_size"], embed_dim=WIDTH, depth=DEPTH, num_heads=HEADS)
        return create(name, **settings, **sizes)

    with monkeypatch.context() as patch:
        patch.setattr(timm, "create_model", small_model)
        patch.setattr(architectures, "find", _small_settings)
        yield


def _small_settings(name):
    known = _NAMED(name)
    ratio = architectures.SIZES[name.split("_")[1]][3]
    sizes = dict(width=WIDTH, depth=DEPTH, num_heads=HEADS, mlp_dim=int(WIDTH * ratio))
    return {**known, **sizes, "image_size": 2 * known["patch_size"]}


def make(config, *, seed=0):
    """open_clip's model of a config, every parameter and statistic random."""
    config = copy.deepcopy(config)
    custom = config.pop("custom_text", False)
    kind = open_clip.CustomTextCLIP if custom else open_clip.CLIP
    model = (open_clip.CoCa if "multimodal_cfg" in config else kind)(**config)
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(std=0.3, generator=generator)
            module.running_var.uniform_(0.5, 2, generator=generator)
    return randomised(model, seed=seed)


def save(model, config, folder, *, preprocess=None):
    """The folder that open_clip would write."""
    folder.mkdir(parents=True, exist_ok=True)
    sections = {"model_cfg": config, "preprocess_cfg": preprocess or {}}
    (folder / "open_clip_config.json").write_text(json.dumps(sections))
    tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    save_file(tensors, folder / "open_clip_model.safetensors")
    return tensors
