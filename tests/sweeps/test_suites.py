"""Suites: those of the field say what they must, one's own may use and change their sets."""

import dataclasses

import pytest

from vlp.evals.known_names import known_classes
from vlp.evals.prompts import templates
from vlp.sweeps.suites import known_sets, known_suites, read_suite, read_suites
from vlp.sweeps.tasks.table import MAIN, TASKS, check_task

COUNTS = {
    "vtab": 19, "vtab+": 36, "datacomp38": 40, "imagenet-robustness": 8, "retrieval": 5,
    "retrieval-multilingual": 47, "compositional": 12, "mmeb": 36, "segmentation": 3,
}  # fmt: skip


@pytest.mark.parametrize("suite", known_suites())
def test_every_suite_asks_for_what_there_is(suite):
    entries = read_suite(suite)
    assert len(entries) == COUNTS.get(suite, len(entries))
    for entry in entries:
        assert entry.tasks and entry.group, entry
        for task in {*entry.tasks, *entry.settings}:
            check_task(task, entry.settings.get(task, {}))
        task, _, metric = entry.metric.partition("/")
        assert not entry.metric or (task in entry.tasks and metric), entry
        if entry.default_classes:
            assert entry.default_classes in known_classes()
        if entry.default_templates:
            assert templates(entry.default_templates)


@pytest.mark.parametrize("suite", COUNTS)
def test_suites_of_the_field_say_where_their_sets_come_from(suite):
    for entry in read_suite(suite):
        assert entry.published and entry.source and entry.licence and entry.needs, entry.name
        assert entry.samples, entry.name


def test_vtab_plus_has_voc2007_twice_by_one_label_and_by_several():
    tasks = {entry.name: entry.tasks for entry in read_suite("vtab+")}
    assert tasks["voc2007"] == ("classification",)
    assert tasks["voc2007_multilabel"] == ("multilabel",)
    assert {entry.name for entry in read_suite("vtab")} < {*tasks} | {"sun397"}


def test_datacomp_has_38_main_metrics_and_those_of_its_own_list():
    entries = {entry.published: entry for entry in read_suite("datacomp38")}
    with_main = [e for e in entries.values() if e.metric or MAIN.get(e.tasks[0])]
    assert len(with_main) == 38
    others = {e.published: e.metric for e in with_main if e.metric != "classification/top1"}
    mean = "classification/mean_per_class_recall"
    assert others == {
        "vtab/caltech101": mean, "fgvc_aircraft": mean, "vtab/flowers": mean, "vtab/pets": mean,
        "retrieval/flickr_1k_test_image_text_retrieval": "retrieval/mean/R@1",
        "retrieval/mscoco_2014_5k_test_image_text_retrieval": "retrieval/mean/R@1",
        "misc/winogavil": "associations/10-12/jaccard",
        "wilds/iwildcam": "classification/macro_f1",
        "wilds/fmow": "classification/worst_region/top1",
        "fairness/dollar_street": "classification/worst_income_ds/top5",
        "fairness/geode": "classification/worst_region/top1",
    }  # fmt: skip
    assert sum(entry.samples for entry in entries.values()) == 732_026
    groups = [entry.group for entry in entries.values()]
    assert groups.count("ImageNet shifts") == 6 and groups.count("VTAB") == 13
    assert groups.count("retrieval") == 3


def test_suites_can_be_swept_together_where_their_sets_are_the_same():
    both = read_suites(["vtab", "vtab+", "retrieval", "datacomp38"])
    assert len(both) == 36 + 5 + 40 and len({entry.name for entry in both}) == len(both)


def own(tmp_path, text):
    path = tmp_path / "own.toml"
    path.write_text(text)
    return read_suite(str(path))


def test_ones_own_suite_uses_known_sets_and_changes_them(tmp_path):
    used, changed, new = own(
        tmp_path,
        'title = "mine"\nuse = ["mnist"]\n'
        '[[set]]\nlike = "mnist"\nname = "mnist, names alone"\ntemplates = "simple"\n'
        '[[set]]\nname = "birds"\ndata = "data/birds"\n',
    )
    assert used.name == "mnist" and used.default_templates == "mnist"
    assert changed == dataclasses.replace(used, name="mnist, names alone", templates="simple")
    assert new.data == "data/birds"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('use = ["imagenet2k"]', "must be one of .*imagenet1k.*, got 'imagenet2k'"),
        ('[[set]]\nlike = "nothing"\nname = "x"', "must be one of"),
        ('use = ["mnist"]\n[[set]]\nname = "mnist"', "'mnist' is there twice"),
        ('use = "mnist"', "must have a table"),
        ("sets = 1", r"got 'sets'"),
        ('[[set]]\nname = "x"\ntask = ["a"]', "got 'task'; leave that out"),
        ('[[set]]\nname = "x"\nlayout = "zip"', "layout must be one of auto, clip_benchmark"),
        ('[[set]]\nname = "x"\ncaptions = "0"', "captions must be all, first, or how many"),
        ("[[set]]\nname = 3", "must have a name, got 3"),
        ("= 3", "must be TOML"),
    ],
)
def test_a_suite_that_is_none_is_refused(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        own(tmp_path, text)


def test_every_known_set_is_in_a_suite():
    named = {entry.published for suite in known_suites() for entry in read_suite(suite)}
    unused = {name for name, each in known_sets().items() if each.get("published") not in named}
    assert unused <= {"food101", "imagenet_real"}
    assert set(MAIN) <= set(TASKS)
