"""The field's reference runs: each is built from its config alone, as large as it was published."""

import ast
import functools
import importlib
import math
import re
import shlex
from pathlib import Path

import jax
import pytest
from flax import nnx, traverse_util

import experiments
from data_pipelines.augmentation import augmentation
from data_pipelines.images import ImagePreprocess
from vlp.cli.main import _command_parsers
from vlp.run.build import plan
from vlp.run.fields import batch_shapes

FILES = sorted(Path(experiments.__file__).parent.glob("*.py"))

# Run: parameters in millions, GFLOPs of a pair's forward pass. Those of CLIP, OpenCLIP, SigLIP and
# CLIPA are open_clip's (docs/model_profile.csv, without the tables of positions that CLIPA's sines
# take the place of); of LiT the model card's parameters; None where nothing is published.
PUBLISHED: dict[str, tuple[float | None, float | None]] = {
    "clip:model=ViT-B/32": (151.28, 14.78),
    "clip:model=ViT-B/16": (149.62, 41.09),
    "clip:model=ViT-L/14": (427.62, 175.33),
    "clip:model=ViT-L/14-336,init=RUN": (427.94, 395.22),
    "clip:model=RN50x4": (178.30, 51.82),
    "openclip:model=ViT-H/14": (986.11, 381.68),
    "openclip:model=ViT-bigG/14": (2539.57, 1065.36),
    "siglip:model=ViT-B/16": (203.16, 46.44),
    "siglip:model=ViT-L/16": (652.15, 201.62),
    "siglip:model=So400m/14": (877.36, 233.54),
    "lit:image=VIT,bert=BERT": (638, None),
    "flip:stage=masked,bert=BERT": (None, None),
    "flip:stage=tuned,bert=BERT,init=RUN": (None, None),
    "clipa:stage=small,bert=BERT": (None, None),
    "clipa:stage=tuned,bert=BERT,init=RUN": (968.24 - 257 * 1280e-6, 354.02),
    "clipa:stage=large,bert=BERT,init=RUN": (968.64 - 577 * 1280e-6, 800.88),
    "openvision2:stage=small,bert=BERT": (None, None),
    "openvision2:stage=tuned,bert=BERT,init=RUN": (None, None),
    "dfn:stage=filter": (151.28, 14.78),
    "dfn:stage=tuned,init=RUN": (151.28, None),
    "dfn:stage=induced,model=ViT-L/14": (427.62, 175.33),
    "catlip:labels=24320": (None, None),
}


def config(run, *, data="none.tar"):
    name, _, arg = run.partition(":")
    module = importlib.import_module(f"experiments.{name}")
    return module.get_config(f"{arg},data={data}")


@functools.cache
def planned(run, *, masked=True):
    """The config and the plan of a run over the devices of the tests; without masks on demand."""
    made = config(run)
    if not masked:
        made.objective.patch_drop = 0.0
    return made, plan(made, samples_per_epoch=400_000_000)


def test_every_model_and_stage_of_the_new_files_is_among_them():
    for run in PUBLISHED:
        module = importlib.import_module(f"experiments.{run.partition(':')[0]}")
        choices = getattr(module, "MODELS", getattr(module, "STAGES", {}))
        said = [each for each in PUBLISHED if each.startswith(run.partition(":")[0] + ":")]
        assert len(said) == max(len(choices), 1)


@pytest.mark.parametrize("run", [run for run, (count, _) in PUBLISHED.items() if count])
def test_a_run_has_the_published_number_of_parameters(run):
    training = planned(run)[1].training
    learned = nnx.state(training.model(training.abstract.params), nnx.Param)
    count = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(learned))
    assert count / 1e6 == pytest.approx(PUBLISHED[run][0], rel=2e-4)


@pytest.mark.parametrize("run", [run for run, (_, flops) in PUBLISHED.items() if flops])
def test_a_step_takes_three_times_the_published_flops_of_a_forward_pass(run):
    """Less what no gradient goes to, the pixels; more the contrast. A ResNet's stem is large."""
    made, plan = planned(run, masked=False)
    rows = made.train.global_batch_size
    flops = plan.training.flops(batch_shapes(made, plan.training.fields)) / rows
    assert flops / 3e9 == pytest.approx(PUBLISHED[run][1], rel=0.03 if "RN" in run else 5e-3)


@pytest.mark.parametrize("run", PUBLISHED)
def test_pixels_and_augmentation_are_settings_that_there_are(run):
    made = config(run)
    ImagePreprocess(**made.preprocess.to_dict())
    augmentation(made.preprocess.size, **made.augment.to_dict())


@pytest.mark.parametrize(
    "run", ["clip:model=ViT-B/32", "lit:image=VIT,bert=BERT", "openvision2:stage=small,bert=BERT"]
)
def test_a_step_lowers_for_a_pod_that_is_not_here(run):
    made, plan = planned(run)
    text = plan.training.lower(batch_shapes(made, plan.training.fields)).as_text()
    assert f"{made.train.global_batch_size}x{made.preprocess.size}" in text and "sharding" in text


@pytest.mark.slow
@pytest.mark.parametrize("run", PUBLISHED)
def test_the_step_of_every_run_lowers(run):
    test_a_step_lowers_for_a_pod_that_is_not_here(run)


def test_the_locked_tower_has_no_state_of_the_optimiser():
    _, plan = planned("lit:image=VIT,bert=BERT")
    held = traverse_util.flatten_dict(plan.training.abstract.params, sep="/")
    text = sum(math.prod(leaf.shape) for name, leaf in held.items() if name[:5] != "image")
    state = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(plan.training.abstract.opt_state))
    assert text < state < 1.01 * text  # momentum, and factors of the second moments


def test_stages_count_samples_as_the_authors_do():
    steps = {
        run: planned(run)[1].steps for run in PUBLISHED if run.startswith(("flip", "clipa", "open"))
    }
    assert list(steps.values()) == [
        404_531, 207_520, 195_491, 1_955, 195_491, 16_000, 8_000, 390_981, 62_557,
    ]  # fmt: skip


def test_bigg_looks_at_all_patches_in_the_end():
    made, plan = planned("openclip:model=ViT-bigG/14")
    tuned = (plan.steps - plan.tuning_from) * made.train.global_batch_size
    assert tuned == pytest.approx(2e9, rel=1e-3)
    assert plan.training_at(0).recipe.objective.encoding["patch_drop"] == 0.5
    assert plan.training_at(plan.steps - 1).recipe.objective.encoding["patch_drop"] == 0.0


@pytest.mark.parametrize(
    ("run", "said"),
    [
        ("clip:model=ViT-L/14-336", "clip.py needs data=... and init=..., e.g. clip.py:model="),
        ("clip:model=RN50", "model must be one of ViT-B/32, .*, RN50x4, got 'RN50'"),
        ("lit:image=VIT", "lit.py needs data=... and image=... and bert=..., e.g. lit.py:data="),
        ("flip:stage=tuned,bert=BERT", "flip.py needs data=... and bert=... and init=..., e.g."),
        ("clipa:stage=tiny,bert=BERT", "stage must be one of small, tuned, large, got 'tiny'"),
    ],
)
def test_what_a_run_needs_is_said_with_an_example(run, said):
    with pytest.raises(ValueError, match=re.escape(said).replace(r"\.\*", ".*")):
        config(run)


def test_an_example_in_a_refusal_is_one_that_is_taken():
    for name in {run.partition(":")[0] for run in PUBLISHED}:
        module = importlib.import_module(f"experiments.{name}")
        with pytest.raises(ValueError, match="e.g. ") as refusal:
            module.get_config("")
        module.get_config(str(refusal.value).partition("e.g. ")[2].partition(":")[2])


def commands(file):
    """The `vlp` commands of an experiment's docstring, one line each."""
    said = (ast.get_docstring(ast.parse(file.read_text())) or "").replace("\\\n", "")
    return re.findall(r"^  (vlp .*)$", said, re.MULTILINE)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_commands_of_a_docstring_are_taken(file):
    parser, _ = _command_parsers()
    if hasattr(importlib.import_module(f"experiments.{file.stem}"), "get_config"):
        assert commands(file)
    for command in commands(file):
        flags = [word for word in shlex.split(command)[1:] if not word.startswith("--config.")]
        args = parser.parse_args(flags)
        if args.command == "train":
            path, _, arg = args.config.partition(":")
            importlib.import_module(path.removesuffix(".py").replace("/", ".")).get_config(arg)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_an_experiment_imports_ml_collections_and_experiments_alone(file):
    allowed = {"__future__", "ml_collections", "experiments", "collections", "typing"}
    allowed |= {"difflib", "math", "re"}
    for node in ast.walk(ast.parse(file.read_text())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module] if isinstance(node, ast.ImportFrom) else []
        assert {name.partition(".")[0] for name in names} <= allowed
