"""Distillation's experiments: the numbers of the paper, and a step without weights of a teacher."""

import math

import jax
import pytest

from experiments import distillation, emoji, emoji_distilled
from vlp.cli.config import load_config
from vlp.run.build import make_objective, plan
from vlp.run.fields import batch_shapes
from vlp.run.resolve import resolve_shared


def test_the_paper_s_numbers_arrive_and_a_step_of_two_teachers_is_traced():
    config = distillation.get_config("data=x,teachers=hf:a,open_clip:b")
    assert config.tokenizer.path == "hf:a" and config.frozen.teacher2.path == "open_clip:b"
    config.tokenizer.update(vocab_size=49408, eos_id=49407, pad_id=0, extra=0)
    for teacher in config.frozen.values():
        teacher.preset = "openai/ViT-L/14"
    resolve_shared(config)
    planned = plan(config, samples_per_epoch=None)
    objective = planned.training.recipe.objective
    assert objective.frozen == ("teacher1", "teacher2") and planned.steps == 200_000
    assert objective.weights == dict(contrastive=0.25, affinity=0.75, feature=0.0)
    shapes = batch_shapes(config, planned.training.fields)
    assert shapes["image"].shape == (65536, 224, 224, 3)
    gigaflops = planned.training.flops(shapes) / 65536 / 1e9
    assert gigaflops == pytest.approx(480, rel=0.02)  # as the docstring says


def test_without_data_or_teachers_it_says_what_it_needs():
    with pytest.raises(ValueError, match="needs data=PATTERN and either teachers=MODEL"):
        distillation.get_config("data=x")


def test_stored_vectors_take_the_place_of_teachers():
    config = distillation.get_config("data=x,vectors=a,b,weight=1")
    assert config.data.vectors.to_dict() == dict(teacher1="a", teacher2="b") and not config.frozen
    objective = make_objective(**config.objective.to_dict(), given={})
    assert objective.fields[2:4] == ("teacher1/image_embedding", "teacher1/text_embedding")
    assert config.tokenizer.path == "clip" and objective.weights["contrastive"] == 0


def test_the_student_has_a_quarter_of_its_teacher_s_parameters():
    def size(config):
        params = jax.tree.leaves(plan(config, samples_per_epoch=3708).training.abstract.params)
        return sum(math.prod(leaf.shape) for leaf in params)

    student, teacher = emoji_distilled.get_config(), emoji.get_config()
    assert student.objective.name == "clip"
    assert size(student) / size(teacher) == pytest.approx(0.25, abs=0.01)


def test_a_teacher_brings_its_tokenizer_and_the_weights_of_the_paper():
    config = emoji_distilled.get_config("teacher=runs/emoji,affinity=1,feature=2000")
    assert config.tokenizer.path == config.frozen.teacher.path == "runs/emoji"
    weights = {name: value for name, value in config.objective.items() if "weight" in name}
    assert weights == dict(contrastive_weight=0.0, affinity_weight=1.0, feature_weight=2000.0)
    with pytest.raises(ValueError, match="objective.affinity_wieght"):
        load_config("experiments/emoji_distilled.py", ["--config.objective.affinity_wieght=1"])
