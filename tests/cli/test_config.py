"""Configs: every experiment builds, own data train with one line, the step lowers from a config."""

import csv
import dataclasses

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

from data_pipelines.photo_augment import PhotoAugment
from experiments import albef, emoji, own_data
from experiments.common import PHOTO, parse_arg
from tests.small.runs import COLOURS, SHAPES, losses, picture
from vlp.cli.config import installed, load_config
from vlp.cli.main import main
from vlp.parallel.mesh import make_mesh
from vlp.run.build import lower, model_kwargs, plan
from vlp.run.resolve import resolve_preset
from vlp.training.optim.schedules import make_schedule, parse_duration

SMALL = dict(width=64, depth=1, num_heads=2, mlp_dim=64)
RESNET = dict(layers=(1, 1, 1, 1), width=8, output_dim=16)
KINDS = [
    ("clip/ViT-Ti/16", dict(image=SMALL, text=dict(kind="bow", width=64))),
    ("clip/ViT-Ti/16", dict(image=SMALL, text=dict(kind="bert", **SMALL))),
    ("clip/RN50", dict(image=RESNET, text=SMALL, embed_dim=16)),
]


def test_arguments_are_typed_and_keep_commas_in_values():
    args = parse_arg("data=a.tar,b.tar,epochs=2,flag=true", data="", epochs=1.0, flag=False)
    assert (args.data, args.epochs, args.flag) == ("a.tar,b.tar", 2.0, True)


def test_what_a_config_file_refuses_is_said_in_its_words_alone():
    with pytest.raises(ValueError, match=r"^albef.py needs data=PATTERN and bert=FOLDER, e.g. .*$"):
        load_config("experiments/albef.py:data=x", [])


def test_a_mistake_in_a_config_file_is_shown_with_its_line(tmp_path):
    file = tmp_path / "broken.py"
    file.write_text("def get_config(arg=''):\n    return 1 + arg\n")
    with pytest.raises(ValueError, match=r"line 2, in get_config(.|\n)*TypeError"):
        load_config(str(file), [])


# Arguments with which each experiment fills as many sections as it can.
ARGUMENTS = {
    "albef.py": "data=x,bert=y,vit=z",
    "blip.py": "data=x,bert=y,vit=z",
    "blip2.py": "data=x,bert=y,image=z",
    "capfilt.py": "stage=filter,data=x,bert=y,init=z",
    "catlip.py": "data=x,labels=9",
    "clip.py": "data=x,model=ViT-L/14-336,init=y",
    "clipa.py": "stage=tuned,data=x,bert=y,init=z",
    "coca.py": "data=x,tokenizer=y",
    "dfn.py": "stage=tuned,data=x,init=y",
    "distillation.py": "data=x,teachers=y",
    "emoji.py": "model=coca",
    "emoji_blip2.py": "",
    "emoji_distilled.py": "teacher=x",
    "emoji_spoken.py": "voice=x",
    "emoji_vlmo.py": "init=x",
    "flip.py": "stage=tuned,data=x,bert=y,init=z",
    "lit.py": "data=x,image=y,bert=z",
    "openclip.py": "data=x",
    "openvision2.py": "stage=tuned,data=x,bert=y,init=z",
    "own_data.py": "data=x,labelled=y,eval=z,init=w",
    "siglip.py": "data=x,tokenizer=y",
    "vlmo.py": "data=x,tokenizer=y,eval=z",
}


@pytest.fixture
def without_weights(monkeypatch):
    """Configs load although the weights and tokenizers that they name are not there."""
    monkeypatch.setattr("vlp.cli.config.resolve", lambda config, **_: resolve_preset(config))


def test_all_keys_of_the_experiments_are_known(without_weights):
    assert list(ARGUMENTS) == installed()
    for name, argument in ARGUMENTS.items():
        load_config(f"experiments/{name}:{argument}", [])
    for model in ("siglip", "albef", "blip"):
        load_config(f"experiments/emoji.py:model={model}", [])


MISSPELT = {
    "config.train.ema_dacay = 0.9": "config.train has no setting ema_dacay; did you mean ema_decay",
    "config.checkpoint.update(evry='1 epochs')": "config.checkpoint .* did you mean every",
    "config.report.dat = 'x'": "config.report has no setting dat; did you mean data",
    "config.optim.freze = ('image/.*',)": "config.optim has no setting freze; did you mean freeze",
    "config.optim.shedule = dict(peak=1.0)": "config.optim .* did you mean schedule",
    "config.data.limts = dict(pixels=9)": "config.data has no setting limts; did you mean limits",
    "config.data.limits.pixls = 9": "config.data.limits has no setting pixls; did you mean pixels",
    "config.init.witch = 'ema'": "config.init has no setting witch; did you mean which",
    "config.init.image = dict(path='x', onli=())": "config.init.image .* did you mean only",
    "config.tokenizer.more = dict(path='x')": "config.tokenizer has no setting more; known: begin",
    "config.trian = 3": "config has no setting trian; did you mean train",
    "config.trian = dict(total='3 steps')": "config has no setting trian; did you mean train",
}


@pytest.mark.parametrize("line", MISSPELT)
def test_a_misspelt_key_of_a_config_file_names_the_right_one(tmp_path, without_weights, line):
    file = tmp_path / "mine.py"
    file.write_text(
        "from experiments import emoji\n\n\ndef get_config(arg=''):\n"
        f"    config = emoji.get_config()\n    {line}\n    return config\n"
    )
    with pytest.raises(ValueError, match=MISSPELT[line]):
        load_config(str(file), [])


@pytest.mark.parametrize(
    ("arg", "said"),
    [
        ("dat=x", "did you mean data?"), ("epochs=many", "type float"), ("flag=1", "true or false"),
        ("epochs=nan", "at least 0"), ("epochs=-1", "at least 0"), ("epochs=inf", "at least 0"),
        ("data=a,data=b", "given twice, a and b"), ("shards/*.tar", "known: data, epochs"),
        ("sizes=1,x", "type int"), ("lr=0", "above 0, got '0'; or leave it out"),
    ],
)  # fmt: skip
def test_a_wrong_argument_names_the_right_one(arg, said):
    with pytest.raises(ValueError, match=said):
        parse_arg(arg, data="", epochs=1.0, flag=False, sizes=(1,), lr=0.0)


def test_a_list_is_separated_by_commas():
    args = parse_arg("sizes=3,4,names=a.tar,b", sizes=(1,), names=())
    assert args.sizes == (3, 4) and args.names == ("a.tar", "b")


@pytest.mark.parametrize("epochs", [0.25, 0.5, 1, 2, 4, 8, 30, 300])
@pytest.mark.parametrize("module", [emoji, own_data])
def test_no_run_of_any_length_is_eaten_by_its_warm_up(module, epochs):
    config = module.get_config(f"epochs={epochs}" + (",data=x" if module is own_data else ""))
    batch = config.train.global_batch_size
    steps, warmup = (
        parse_duration(value, global_batch_size=batch, samples_per_epoch=64 * batch)
        for value in (config.train.total, config.optim.schedule.warmup)
    )
    assert warmup <= steps / 4 and warmup <= 128
    peak = config.optim.schedule.peak
    schedule = make_schedule("cosine", peak=peak, warmup=warmup, steps=steps)
    rates = np.asarray(schedule(np.arange(steps)))
    assert rates.max() == pytest.approx(peak) and rates[-1] < peak / 2


@pytest.mark.parametrize(
    "config",
    [
        emoji.get_config(),
        own_data.get_config("data=x"),
        own_data.get_config("data=x,model=siglip2/ViT-B/16,batch=64"),
        albef.get_config("data=x,bert=y"),
    ],
    ids=["emoji", "own_data", "own_data_siglip", "albef"],
)
def test_every_experiment_lowers_from_its_config_alone(config):
    text = lower(config, samples_per_epoch=100_000).as_text()
    assert f"{config.train.global_batch_size}x" in text and "sharding" in text


@pytest.mark.slow
def test_the_step_compiles_for_a_mesh_and_tells_its_memory():
    config = emoji.get_config("size=16")
    config.model.image.update(patch_size=8, depth=2)
    config.model.text.depth = 2
    compiled = lower(config, samples_per_epoch=1000, mesh=make_mesh(data=2, fsdp=4)).compile()
    assert compiled.memory_analysis().temp_size_in_bytes > 0


def test_a_preset_takes_the_sizes_that_other_sections_decide():
    config = own_data.get_config("data=x,model=clip/ViT-B/32,res=288,vocab=5000")
    kwargs = model_kwargs(config)
    assert kwargs["image"]["width"] == 768 and kwargs["image"]["image_size"] == 288
    assert kwargs["text"]["vocab_size"] == 5000 and kwargs["text"]["eos_id"] == 1


@pytest.mark.parametrize(("model", "towers"), KINDS, ids=["bow", "bert", "resnet"])
def test_other_kinds_of_towers_lower_from_a_preset_s_place(model, towers):
    config = own_data.get_config(f"data=x,model={model},res=32,vocab=100,batch=8")
    config.model.update(ConfigDict(towers))
    text = lower(config, samples_per_epoch=1000).as_text()
    assert "8x32x32x3" in text
    assert model_kwargs(config)["text"]["width"] == 64


def test_patch_dropping_ends_where_unmasked_tuning_begins():
    config = emoji.get_config("epochs=4")
    config.objective.patch_drop = 0.5
    config.train.unmasked_tuning = "10 steps"
    planned = plan(config, samples_per_epoch=2560)
    assert planned.training_at(planned.steps - 11) is planned.training
    assert planned.training_at(planned.steps - 10) is planned.tuning


def test_every_setting_of_the_objective_is_a_key_of_the_config():
    flags = [
        "--config.objective.micro_batch_size=8",
        "--config.objective.implementation=ring",
        "--config.objective.patch_drop=0.25",
    ]
    config = load_config("experiments/emoji.py", flags)
    planned = plan(config, samples_per_epoch=1000)
    encoding = planned.training.recipe.objective.encoding
    assert (encoding["micro"].size, encoding["patch_drop"]) == (8, 0.25)


def test_an_installed_experiment_is_found_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert load_config("experiments/emoji.py:epochs=3", []).train.total == "3 epochs"


@pytest.mark.slow
def test_own_data_in_a_folder_train_with_one_line(tmp_path, capsys):
    folder = tmp_path / "mine"
    folder.mkdir()
    with (folder / "captions.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["image", "caption"])
        for colour in COLOURS:
            for shape in SHAPES:
                (folder / f"{colour}-{shape}.png").write_bytes(picture(colour, shape))
                rows.writerow([f"{colour}-{shape}.png", f"a {colour} {shape}"])
    workdir = tmp_path / "run"
    code = main(
        ["train", f"--config=experiments/own_data.py:data={folder},eval={folder},res=32,batch=8",
         f"--workdir={workdir}", "--config.train.total=2 steps",
         "--config.tokenizer.vocab_size=300",
         "--config.optim.schedule.warmup=0 steps", "--config.model.preset=clip/ViT-Ti/16"]
    )  # fmt: skip
    assert code == 0, capsys.readouterr().err
    assert len(losses(workdir)) == 2
    assert "held_out" in str(list((workdir / "results").iterdir()))
    assert jax.device_count() == 8


def test_photographs_get_crop_and_colour_alone():
    settings = dataclasses.asdict(PhotoAugment(16, **PHOTO))
    plain = dataclasses.asdict(PhotoAugment(16))
    on = {name for name, value in settings.items() if value != plain[name]}
    assert on == {"crop", "brightness", "contrast", "saturation", "hue", "blur_p", "cutout_p"}
