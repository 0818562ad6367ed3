"""A section holds the keyword arguments of one constructor, and each of them has a flag."""

import inspect
import itertools
import json

import pytest
from ml_collections import ConfigDict

from experiments import blip, coca, emoji, own_data, vlmo
from tests.small.runs import SMALL
from vlp.cli.config import load_config, read_config
from vlp.interop.adapt import complete
from vlp.models.presets import dual_encoder_preset
from vlp.models.towers import TOWERS
from vlp.run.build import model_kwargs, plan
from vlp.run.config_changes import check_same_config, defaults
from vlp.run.sections import DECIDED, sections, settings_of
from vlp.run.values import as_json, flatten

OWN = "experiments/own_data.py:data=x"
EMOJI = "experiments/emoji.py"
SPOKEN = "experiments/emoji_spoken.py:voice=voice.tar"
# own_data's towers by kind: what a tower of another kind than the preset's needs.
NEEDS = {
    "vit": ["width=64", "depth=1", "num_heads=2", "patch_size=16"],
    "naflex": ["width=64", "depth=1", "num_heads=2", "patch_size=16", "num_patches=16"],
    "resnet": ["layers=(1,1,1,1)", "output_dim=384"],
    "patches": ["width=64", "patch_size=16"],
    "ast": ["width=64", "depth=1", "num_heads=2"],
    "frozen": [],
    "transformer": ["width=64", "depth=1", "num_heads=2"],
    "bert": ["width=64", "depth=1", "num_heads=2"],
    "bow": ["width=64"],
    "words": ["width=64"],
}
# A value of each type that no default has.
OTHERS = {str: "other", int: "77", float: "0.125", bool: None, tuple: "(9, 9)", dict: "{'a': 9}"}
KINDS = [(tower, kind) for tower, kinds in TOWERS.items() for kind in kinds]


def flags(section: str, settings: list[str]) -> list[str]:
    return [f"--config.{section}.{setting}" for setting in settings]


@pytest.mark.parametrize(("tower", "kind"), KINDS)
def test_every_keyword_of_every_tower_has_a_flag(tower, kind):
    """Read from the constructor itself, not by the code under test."""
    make = TOWERS[tower][kind]
    section, base = f"model.{tower}", SPOKEN if tower == "audio" else OWN
    needs = [f"kind={kind}", *NEEDS[kind]]
    given = {need.split("=")[0] for need in needs}
    tried = 0
    for name, parameter in inspect.signature(make.__init__).parameters.items():
        if name in ("self", "rngs", "queries", *given) or f"{section}.{name}" in DECIDED:
            continue
        value = parameter.default
        text = OTHERS.get(type(value), "5") if value is not None else "none"
        if isinstance(value, bool):
            text = str(not value)
        config = load_config(base, flags(section, [*needs, f"{name}={text}"]))
        set_to = config.model[tower][name]
        assert set_to != value or value is None
        assert model_kwargs(config)[tower][name] == set_to
        tried += 1
    assert tried >= 1
    decided = [key for key in DECIDED if key.startswith(f"{section}.")]
    for key in decided:
        with pytest.raises(ValueError, match=f"config.{key} is decided by config.{DECIDED[key]}"):
            load_config(OWN, [f"--config.{key}=5"])


@pytest.mark.parametrize(
    "setting",
    [
        "optim.optimizer.b1=0.5", "optim.optimizer.eps=1e-7", "optim.optimizer.beta=0.9",
        "optim.optimizer.clip_norm=none", "optim.schedule.end=1e-5",
        "optim.schedule.warmup=10 steps", "augment.randaugment=(2, 5)", "augment.crop=(0.5, 1.0)",
        "preprocess.fill=(0, 0, 0)", "preprocess.resize_size=60", "objective.micro_batch_size=4",
        "objective.implementation=ring", "model.init_bias=-10", "model.text_projection=linear_bias",
        "export.towers=image", "evals.twemoji.rerank=16", "evals.categories.templates=clip7",
    ],
)  # fmt: skip
def test_settings_that_the_file_does_not_mention_have_flags(setting):
    key, _, text = setting.partition("=")
    assert key not in flatten(emoji.get_config().to_dict()) or key.startswith(("optim", "evals"))
    config = load_config(EMOJI, [f"--config.{setting}"])
    value = flatten(config.to_dict())[key]
    assert str(value).lower() == text or value == float(text)


def test_a_new_evaluation_is_made_by_flags():
    given = ["task=classification", "label=kind", "data=a.tar", "every=2 epochs"]
    for order in list(itertools.permutations(given))[::5]:
        config = load_config(EMOJI, flags("evals.mine", list(order)))
        assert config.evals.mine.to_dict() == dict(
            task="classification", label="kind", data="a.tar", every="2 epochs"
        )
    with pytest.raises(ValueError, match="config.evals.mine needs every"):
        load_config(EMOJI, flags("evals.mine", given[:3]))


def test_a_further_source_of_weights_is_named_by_flags():
    given = ["path=timm:deit", "only=('image/.*',)", "which=params"]
    given = flags("init.image", given) + ["--config.preprocess.mean=(0.4, 0.4, 0.4)"]
    given += ["--config.preprocess.std=(0.2, 0.2, 0.2)", "--config.tokenizer.path=clip"]
    config = load_config(OWN, given)
    assert config.init.image.to_dict() == dict(path="timm:deit", only=("image/.*",), which="params")


def test_what_chooses_a_constructor_comes_first_wherever_it_stands():
    given = [
        "optim.schedule.name=rsqrt", "optim.schedule.timescale=500", "model.image.kind=resnet",
        "model.image.layers=(1,1,1,1)", "model.image.output_dim=384",
    ]  # fmt: skip
    found = {
        str(as_json(load_config(OWN, [f"--config.{item}" for item in order])))
        for order in list(itertools.permutations(given))[::17]
    }
    assert len(found) == 1 and "'timescale': 500" in found.pop()


@pytest.mark.parametrize(
    ("flag", "said"),
    [
        ("model.image.dtyp=bfloat16", "did you mean config.model.image.dtype?"),
        ("model.image.remta=full", "did you mean config.model.image.remat?"),
        ("optim.optimizer.beta=0.9", "config.optim.optimizer.beta does not exist"),  # Muon's
        ("objective.queue_size=64", "does not exist"),  # ALBEF's
        ("model.txt.dtype=bfloat16", "did you mean config.model.text.dtype?"),
        ("model.image=none", "config.model.image is a section"),
        ("model=none", "config.model is a section"),
        ("model.image.depth=deep", "config.model.image.depth must be a whole number"),
        ("model.image.pre_norm=1", "must be true or false"),
        ("optim.schedule.peak=nan", "must be a number"),
        ("model.preset=clip/ViT-Q/16", "a tower must be named"),
        ("init.adopt=('model',)", "config.init.path, which is empty"),
        ("preset=clip/ViT-B/16", "does not exist"),
        ("data.trian=x", "did you mean config.data.train?"),
    ],
)
def test_a_flag_that_nothing_takes_names_what_is_right(flag, said):
    with pytest.raises(ValueError, match="config") as refused:
        load_config(OWN, [f"--config.{flag}"])
    assert said in str(refused.value) and "\n" not in str(refused.value)


def test_sections_that_a_file_shares_are_changed_one_by_one(tmp_path):
    file = tmp_path / "shared.py"
    file.write_text(
        "from ml_collections import ConfigDict\nfrom experiments import own_data\n"
        "def get_config(arg=''):\n"
        "    config = own_data.get_config('data=x')\n"
        "    tower = dict(dtype='bfloat16')\n"
        "    config.model.update(ConfigDict(dict(image=tower, text=tower)))\n"
        "    return config\n"
    )
    config = load_config(str(file), ["--config.model.image.dtype=float32"])
    assert (config.model.image.dtype, config.model.text.dtype) == ("float32", "bfloat16")
    assert "causal" in config.model.text and "causal" not in config.model.image


def test_a_misspelt_setting_of_a_file_is_refused_as_one_of_a_flag(tmp_path):
    file = tmp_path / "wrong.py"
    file.write_text(
        "from experiments import own_data\n"
        "def get_config(arg=''):\n"
        "    config = own_data.get_config('data=x,dtype=bfloat16')\n"
        "    config.model.image = dict(atention='xla')\n"
        "    return config\n"
    )
    with pytest.raises(ValueError, match="config.model.image has no setting atention; .*attention"):
        load_config(str(file), [])


# --- presets -----------------------------------------------------------------------------------


def merged_by_hand(preset: str, own: dict, config: ConfigDict) -> dict:
    """What a preset means, written down a second time."""
    kwargs = dual_encoder_preset(
        preset,
        image_size=config.preprocess.size,
        text_length=config.tokenizer.length,
        vocab_size=config.tokenizer.vocab_size + config.tokenizer.extra,
        eos_id=config.tokenizer.eos_id,
        pad_id=config.tokenizer.pad_id,
    )
    for key, value in own.items():
        kwargs[key] = {**kwargs[key], **value} if isinstance(value, dict) else value
    colours = dict(image_mean=list(config.preprocess.mean), image_std=list(config.preprocess.std))
    return {**kwargs, **colours}


@pytest.mark.parametrize(
    "arg",
    ["", "model=openai/ViT-B/32,res=288", "model=siglip2/So400m/14", "model=clip/RN50",
     "model=coca/ViT-B/32,dtype=bfloat16,remat=full"],
)  # fmt: skip
def test_a_resolved_preset_is_the_model_that_its_name_means(arg):
    unresolved = own_data.get_config(f"data=x,{arg}")
    config = load_config(f"experiments/own_data.py:data=x,{arg}", [])
    own = unresolved.model.to_dict()
    preset, dtype = own.pop("preset"), own.pop("precision", None)
    if dtype:  # of all parts alike
        shared = dict(dtype=dtype, remat=own.pop("remat"))
        own |= dict.fromkeys(("image", "text", "decoder"), shared)
    assert "preset" not in config.model and config.preset == preset
    assert model_kwargs(config) == merged_by_hand(preset, own, config)
    assert model_kwargs(config) == model_kwargs(unresolved)


@pytest.mark.parametrize(
    ("file", "module", "arg"),
    [
        ("emoji", emoji, "model=coca"), ("coca", coca, "size=b,data=x"),
        ("blip", blip, "data=x,bert=y"), ("vlmo", vlmo, "data=x,tokenizer=y"),
    ],
)  # fmt: skip
def test_experiments_mean_the_same_models_as_their_files(file, module, arg):
    config = load_config(f"experiments/{file}.py:{arg}", [])
    assert complete(model_kwargs(config)) == complete(model_kwargs(module.get_config(arg)))


def test_bfloat16_and_remat_reach_both_towers_by_argument_and_by_flag():
    by_argument = load_config(f"{OWN},dtype=bfloat16,remat=dots", [])
    given = ["dtype=bfloat16", "remat=dots"]
    by_flag = load_config(OWN, flags("model.image", given) + flags("model.text", given))
    assert as_json(by_argument) == as_json(by_flag)
    model = plan(by_flag, samples_per_epoch=1000).model_kwargs
    assert {model[t]["dtype"] for t in ("image", "text")} == {"bfloat16"}


# --- whether two configs are of one run --------------------------------------------------------


@pytest.mark.parametrize("path", [EMOJI, f"{EMOJI}:model=albef", OWN, f"{OWN},model=clip/RN50"])
def test_a_default_that_is_written_out_is_no_change(path, tmp_path):
    config = load_config(path, [])
    whole = defaults(config) | {k: v for k, v in flatten(as_json(config)).items() if v != {}}
    written: dict = {}
    for key, value in whole.items():
        *parents, name = key.split(".")
        section = written
        for part in parents:
            section = section.setdefault(part, {})
        section[name] = value
    written = as_json(ConfigDict(written))
    check_same_config(as_json(config), written, tmp_path)
    check_same_config(written, as_json(config), tmp_path)


def test_runs_of_the_time_before_presets_were_resolved_go_on(tmp_path):
    old = as_json(own_data.get_config("data=x,dtype=bfloat16"))
    del old["init"]["adopt"]
    old["objective"] = dict(
        name="clip", implementation="auto", micro_batch_size=None, patch_drop=0.0, max_scale=100.0
    )
    filter_of_the_time = ["--config.augment.interpolation=bicubic"]
    new = as_json(load_config(f"{OWN},dtype=bfloat16", filter_of_the_time))
    check_same_config(old, new, tmp_path)
    old["model"]["preset"] = "clip/ViT-M/16"
    with pytest.raises(ValueError, match="config.model.image.num_heads: 8 there, 6 here"):
        check_same_config(old, new, tmp_path)


SIGLIP = "experiments/siglip.py:data=x"
FORMER = {"interpolation": "bicubic"}


@pytest.mark.parametrize(
    ("path", "left_out", "said"),
    [(OWN, (), {}), (OWN, (), FORMER), (SIGLIP, ("crop",), FORMER)],
)
def test_a_run_goes_on_with_the_filter_that_was_usual_when_it_began(path, left_out, said, tmp_path):
    old = as_json(load_config(path, []))
    assert old["augment"].pop("interpolation") == "bicubic_simd"
    for name in left_out:
        del old["augment"][name]
    old["augment"] |= said
    (tmp_path / "config.json").write_text(json.dumps(old))
    found = read_config(path, [], workdir=tmp_path)
    assert found.config.augment.interpolation == "bicubic"
    assert found.origin["augment.interpolation"] == "workdir"
    check_same_config(old, as_json(found.config), tmp_path)
    now = as_json(load_config(path, ["--config.augment.interpolation=bicubic_simd"]))
    with pytest.raises(ValueError, match="interpolation: 'bicubic' there, 'bicubic_simd' here"):
        check_same_config(old, now, tmp_path)
    assert "interpolation" not in load_config(EMOJI, [], workdir=tmp_path).augment  # drawings


def test_what_no_one_constructor_has_stays_without_settings():
    config = load_config(EMOJI, [])
    assert settings_of(config, "evals") is None
    assert set(sections(config)) >= {"model.image", "optim.schedule", "evals.twemoji"}


def test_precision_remat_and_attention_hold_for_all_parts_of_a_model_but_those_that_say_another():
    config = load_config(
        f"{SMALL / 'config.py'}:data=x,objective=coca",
        [
            "--config.model.precision=bfloat16",
            "--config.model.remat=dots",
            "--config.model.attention=xla",
            "--config.model.text.remat=none",
        ],
    )
    kwargs = model_kwargs(config)
    assert not {"precision", "remat", "attention"} & kwargs.keys()
    for part in ("image", "text", "decoder"):
        assert kwargs[part]["dtype"] == "bfloat16" and kwargs[part]["attention"] == "xla"
    assert (kwargs["image"]["remat"], kwargs["text"]["remat"]) == ("dots", "none")
    assert "dtype" not in kwargs["image"]["queries"]  # which takes the tower's
    plain = model_kwargs(load_config(f"{SMALL / 'config.py'}:data=x,objective=coca", []))
    for part in ("image", "text", "decoder"):
        assert not {"dtype", "attention", "remat"} & plain[part].keys()
