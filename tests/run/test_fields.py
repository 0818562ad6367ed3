"""One declaration of a batch: what an objective names is made, traced and asked of the data."""

import tarfile

import pytest
from ml_collections import ConfigDict

from experiments import emoji
from tests.small.runs import SMALL, losses
from vlp.cli.main import main
from vlp.run.build import objective_fields
from vlp.run.fields import batch_shapes, host_fields
from vlp.run.inputs import open_inputs
from vlp.run.workdir import Workdir

SIDES = {"vision": ".png", "language": ".txt"}


def small(pairs):
    config = emoji.get_config("size=16")
    config.data.train = str(pairs)
    config.tokenizer.update(vocab_size=300, length=8)
    config.train.global_batch_size = 8
    return config


@pytest.fixture
def halves(pairs, tmp_path):
    """The pairs with one side each, by the stage that needs no other."""
    found = {}
    with tarfile.open(pairs) as whole:
        for stage, ending in SIDES.items():
            found[stage] = tmp_path / f"{stage}.tar"
            with tarfile.open(found[stage], "w") as half:
                for member in whole:
                    if member.name.endswith(ending):
                        half.addfile(member, whole.extractfile(member))
    return found


@pytest.mark.parametrize(
    "names", [("text",), ("image", "id"), ("image", "text", "present/text", "id")]
)
def test_the_loader_makes_what_the_step_is_lowered_for(names, pairs, monkeypatch, tmp_path):
    monkeypatch.setattr("vlp.run.inputs.objective_fields", lambda config: names)
    config = small(pairs)
    batch = next(open_inputs(config, Workdir(tmp_path / "run")).loader)
    for name, like in batch_shapes(config, ("weight", *names)).items():
        made = batch[name] if name != "id" else batch[name].view("int32").reshape(-1, 2)
        assert (made.shape, made.dtype) == (like.shape, like.dtype), name
    assert batch.keys() == {"weight", "id", "reject", *names}


def test_a_field_that_nobody_makes_is_refused_with_the_known_ones(pairs):
    for names in (("image", "smell"), ("image", "present/text")):
        with pytest.raises(
            ValueError, match=rf"reads the field '{names[1]}', .* text, audio, image, .*id"
        ):
            host_fields(small(pairs), names)


def test_the_fields_of_an_objective_do_not_wait_for_its_durations():
    objective = dict(name="albef", mask_id=3, ramp="1 epochs")
    config = ConfigDict(dict(objective=objective))
    assert objective_fields(config) == ("image", "text", "id")


@pytest.mark.parametrize("stage", SIDES)
def test_data_without_what_the_objective_does_not_read_are_good_data(
    stage, halves, pairs, tmp_path
):
    name = {"vision": "masked_images", "language": "masked_words"}[stage]
    config = small(halves[stage])
    config.objective = ConfigDict(dict(name=name))
    if stage == "vision":  # no captions, so a tokenizer must come from elsewhere, or nothing reads
        with pytest.raises(ValueError, match="at least one usable caption, got none; name"):
            open_inputs(config, Workdir(tmp_path / "run"))
        config.model.text = None
    else:
        config.objective.mask_id = 300
    inputs = open_inputs(config, Workdir(tmp_path / "run"))
    inputs.loader.check()
    batch = next(inputs.loader)
    assert (batch["weight"] == 1).all() and {"image", "text"} & batch.keys() == {
        "image" if stage == "vision" else "text"
    }
    assert (inputs.tokenizer is None) == (stage == "vision")
    config.objective = ConfigDict(dict(name="clip"))
    with pytest.raises(ValueError, match="none can|has none"):
        open_inputs(config, Workdir(tmp_path / "other")).loader.check()


@pytest.mark.slow
def test_the_stages_of_one_modality_train_without_the_other(halves, pairs, tmp_path):
    words = tmp_path / "words.model"
    open_inputs(small(pairs), Workdir(tmp_path / "none")).tokenizer.save(words)
    for stage in SIDES:
        workdir, init = tmp_path / stage, "" if stage == "vision" else tmp_path / "vision"
        config = f"{SMALL / 'vlmo.py'}:data={halves[stage]},stage={stage},init={init}"
        flags = [f"--config.tokenizer.path={words}", "--config.tokenizer.begin=False"]
        assert main(["train", f"--config={config}", f"--workdir={workdir}", *flags]) == 0
        assert len(losses(workdir)) == 2
