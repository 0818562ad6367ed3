"""From one stack straight into another, with tokenizers and processors, and back to the byte."""

import json

import open_clip
import pytest
import torch
import transformers
from safetensors.numpy import load_file
from safetensors.torch import save_file

from data_pipelines.tokens import hf_clip_tokenizer
from vlp.interop.export import export
from vlp.interop.hf.tokenizer_write import write_tokenizer
from vlp.interop.load import load_run

PIXELS = dict(mean=[0.48145466, 0.4578275, 0.40821073], std=[0.26862954, 0.26130258, 0.27577711])
TEXT = dict(context_length=77, vocab_size=49408, width=64, heads=1, layers=2)


def noise(model):
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model.eval()


def hf_folder(folder):
    """A small `CLIPModel` with CLIP's whole tokenizer and a processor that crops."""
    sizes = dict(hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=1)
    config = transformers.CLIPConfig(
        text_config=sizes,
        vision_config={**sizes, "image_size": 32, "patch_size": 8},
        projection_dim=24,
    )
    noise(transformers.CLIPModel(config)).save_pretrained(folder)
    write_tokenizer(hf_clip_tokenizer(), folder, length=77, config={"model_type": "clip"})
    processor = dict(
        image_processor_type="CLIPImageProcessor",
        size={"shortest_edge": 32},
        crop_size={"height": 32, "width": 32},
        image_mean=PIXELS["mean"],
        image_std=PIXELS["std"],
    )
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))


def open_clip_folder(folder, **vision):
    """A small model of open_clip as it publishes them: config and weights, no tokenizer."""
    config = dict(embed_dim=24, vision_cfg=vision, text_cfg=TEXT, quick_gelu=True)
    model = noise(open_clip.CLIP(**config))
    folder.mkdir()
    processor = dict(**PIXELS, interpolation="bicubic", resize_mode="shortest")
    sections = dict(model_cfg=config, preprocess_cfg=processor)
    (folder / "open_clip_config.json").write_text(json.dumps(sections))
    tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    save_file(tensors, folder / "open_clip_model.safetensors")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("sources")
    hf_folder(root / "hf")
    open_clip_folder(root / "vit", image_size=32, layers=2, width=64, patch_size=8)
    open_clip_folder(root / "resnet", image_size=64, layers=[1, 1, 1, 1], width=16)
    return root


@pytest.mark.parametrize("target", ["hf", "open_clip", "timm", "stablehlo"])
@pytest.mark.parametrize("source", ["hf", "vit"])
def test_a_vit_goes_from_each_stack_into_each(folders, source, target, tmp_path):
    assert export(folders / source, tmp_path / "out", to=target)["verified"]


@pytest.mark.parametrize("target", ["open_clip", "stablehlo"])
def test_a_resnet_goes_where_there_is_one(folders, target, tmp_path):
    assert export(folders / "resnet", tmp_path / "out", to=target)["verified"]


def test_a_resnet_is_refused_by_name_where_there_is_none(folders, tmp_path):
    for target in ("hf", "timm"):
        with pytest.raises(ValueError, match=r"got image.kind='resnet' \(accepted: 'vit'\)"):
            export(folders / "resnet", tmp_path / "out", to=target)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("source", "there", "weights"),
    [
        ("hf", "open_clip", "model.safetensors"),
        ("vit", "hf", "open_clip_model.safetensors"),
    ],
)
def test_there_and_back_every_tensor_is_the_same_to_the_byte(
    folders, source, there, weights, tmp_path
):
    back = "hf" if there == "open_clip" else "open_clip"
    export(folders / source, tmp_path / "there", to=there)
    export(tmp_path / "there", tmp_path / "back", to=back)
    before = load_file(folders / source / weights)
    after = load_file(tmp_path / "back" / weights)
    assert before.keys() == after.keys()
    assert all(before[name].tobytes() == after[name].tobytes() for name in before)


def test_what_a_stack_does_to_text_and_pictures_goes_with_the_weights(folders):
    ours = {name: load_run(folders / name) for name in ("hf", "vit")}
    assert ours["hf"].preprocess.rounding == "down" and ours["vit"].preprocess.rounding == "even"
    texts = ["caf\u00e9 \ufb01n", "Tom &amp; Jerry"]
    theirs = open_clip.SimpleTokenizer()(texts, context_length=77).numpy()
    assert (ours["vit"].tokenize(texts) == theirs).all()
    slow = transformers.AutoTokenizer.from_pretrained(folders / "hf")
    rows = slow(texts, padding="max_length", max_length=77)["input_ids"]
    assert (ours["hf"].tokenize(texts) == rows).all()
