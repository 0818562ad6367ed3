"""The page of a sweep: all that is in the log is on it, and nothing that a browser would run."""

import dataclasses
from html.parser import HTMLParser

import pytest
from made_sweep import CLASSES, made_sweep

from vlp.sweeps.compare import compare
from vlp.sweeps.page.board import Board
from vlp.sweeps.page.write import write_comparison, write_page
from vlp.sweeps.protocol import protocol_of
from vlp.sweeps.samples import SampleStore
from vlp.sweeps.subsets import drawn

VOID = {"meta", "link", "img", "br", "path", "circle", "polyline"}


class Read(HTMLParser):
    """What a page says, and whether its elements are closed."""

    def __init__(self, text):
        super().__init__()
        self.open, self.said, self.titles, self.pictures, self.kinds = [], [], [], 0, []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.kinds.append(tag)
        self.pictures += tag == "img"
        self.titles.append(found.get("title") or "")
        assert not any(name.startswith("on") for name in found)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.said.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.said).split())


@pytest.fixture
def made(tmp_path):
    """Draws a page of a made sweep with these settings; returns it, read."""

    def draw(*, more=(), with_sets=True, **settings):
        rows, sets = made_sweep(SampleStore(tmp_path / "samples"), **settings)
        write_page(tmp_path, [*rows, *more], sets=sets if with_sets else None, draws=20)
        page = Read((tmp_path / "index.html").read_text(encoding="utf-8"))
        assert not page.open and "script" not in page.kinds
        return page, rows

    return draw


def test_every_score_is_there_with_its_interval_and_chance(made):
    page, rows = made(models=2, sets=2)
    board = Board(rows)
    for model in board.models:
        for place in board.places:
            score = board.score(model, place)
            assert score.written(score.value).removesuffix(" %") in page.text
            assert score.said in page.titles
    assert "by chance 20.0 %" in board.score("runs/model-0", ("objects-0", "classification")).said


def test_an_interval_over_templates_stands_beside_that_over_samples(made):
    _, rows = made(models=1, sets=1)
    first = next(iter(rows[0]["metrics"].values()))
    other = rows[0] | {"key": "x", "set": "other"}
    other["metrics"] = {"top1": first | {"template_low": 0.125, "template_high": 0.375}}
    page, _ = made(models=1, sets=1, more=[other])
    said = [title for title in page.titles if "with other templates" in title]
    assert len(said) == 1 and "95 % between" in said[0]
    assert "; with other templates between 12.5 % and 37.5 %;" in said[0]


def test_classes_confusions_and_differing_samples_are_shown_with_pictures(made):
    page, _ = made(models=2, sets=1)
    assert "recognises worst" in page.text and "taken for" in page.text
    assert "Better by model-1@10" in page.text
    assert any(name in page.text for name in CLASSES) and "<b>bird</b>" in page.text
    assert page.pictures > 10


def test_without_the_sets_numbers_stand_for_classes_and_there_are_no_pictures(made):
    page, _ = made(models=2, sets=1, with_sets=False)
    assert "class 2" in page.text and not page.pictures


@pytest.mark.parametrize("models", [1, 2])
@pytest.mark.parametrize(
    "changed",
    [
        lambda found: drawn(found, 5),  # as --limit 5 after all of them
        lambda found: dataclasses.replace(found, class_names=CLASSES[::-1]),
    ],
)
def test_rows_of_other_pictures_or_classes_than_those_that_are_open_show_none(
    tmp_path, models, changed
):
    store = SampleStore(tmp_path / "samples")
    rows, sets = made_sweep(store, models=models, sets=1, steps=2)
    for row in rows:
        row["protocol"] = protocol_of(sets[row["set"]])
    sets = {name: changed(found) for name, found in sets.items()}
    write_page(tmp_path, rows, sets=sets, draws=20)
    page = Read((tmp_path / "index.html").read_text(encoding="utf-8"))
    assert "class 2" in page.text and "recognises worst" in page.text
    assert not page.pictures and "Better by" not in page.text


def test_a_failure_is_a_cell_and_a_sentence(made):
    _, rows = made(models=1, sets=1)
    failed = {k: v for k, v in rows[0].items() if k != "metrics"}
    failed |= {"failed": "labels must be <those>", "set": "other", "key": "x"}
    page, _ = made(models=1, sets=1, more=[failed])
    assert "other, classification: labels must be <those> (model-0@10)" in page.text
    assert "failed: labels must be <those>" in page.titles
    assert "1 of them failed" in page.text


def test_models_that_were_judged_by_other_prompts_are_not_to_be_compared(made):
    own: dict = dict(models=1, sets=1, protocol={"prompts": "a", "seed": 0})
    _, rows = made(**own)
    other = rows[0] | {"model": "runs/other", "key": "x"}
    page, _ = made(more=[other], **own)
    assert "not to be compared" not in page.text
    page, _ = made(more=[other | {"protocol": {"prompts": "b", "seed": 0}}], **own)
    said = "classification is not to be compared, models differ in prompts."
    assert f"objects-0 : {said}" in page.text


def test_of_models_that_were_judged_by_other_prompts_none_is_the_best(made):
    _, rows = made(models=2, sets=1)
    place = ("objects-0", "classification")
    assert Board(rows).best(place)
    for row in rows:
        row["protocol"] = {"prompts": row["model"]}
    assert Board(rows).best(place) is None


def test_of_several_settings_those_that_were_asked_for_last_are_drawn(made):
    _, rows = made(models=1, sets=1)
    again = rows[0]
    other = again | {"settings": {"limit": 9}, "key": "x", "time": "2027-01-01T00:00:00Z"}
    assert Board([other, again]).rows == [again]
    assert Board([again, other]).rows == [other]


def test_curves_and_laws_appear_with_the_steps(made):
    page, _ = made(models=1, sets=1, steps=4)
    assert "How they learned" in page.text and "error ≈" not in page.text
    page, _ = made(models=1, sets=1, steps=5)
    assert "model-0: error ≈" in page.text
    assert "Better by model-0@50" in page.text  # than at its first step
    page, _ = made(models=1, sets=1, steps=5, samples_seen=None)
    assert "How they learned" in page.text and "error ≈" not in page.text


def test_one_model_at_one_step_has_no_comparisons(made):
    page, _ = made(models=1, sets=1)
    for said in ("How they learned", "against the others", "Side by side", "Better by"):
        assert said not in page.text


def test_nothing_at_all_is_a_page(tmp_path):
    write_page(tmp_path, [])
    assert "0 models, 0 sets: 0 rows." in (tmp_path / "index.html").read_text()


def test_five_models_on_ten_sets_take_less_than_three_megabytes(made, tmp_path):
    made(models=5, sets=10, steps=2, draws=5)
    assert (tmp_path / "index.html").stat().st_size < 3_000_000


def test_means_are_of_models_that_have_all_sets(made):
    _, rows = made(models=2, sets=3, group="g")
    places = [("objects-0", "classification"), ("objects-2", "classification")]
    mean = sum(Board(rows).score("runs/model-1", place).value for place in places) / 2
    assert Board(rows).mean("runs/model-1", places) == pytest.approx(mean)
    without = [row for row in rows if row["key"] != "objects-2-0-10"]
    assert Board(without).mean("runs/model-0", places) is None


def test_the_way_from_chance_is_1_for_the_best_and_0_where_chance_is_likely(made):
    _, rows = made(models=2, sets=1)
    top = [row["metrics"]["top1"] for row in rows]
    top[0].update(value=0.4, low=0.3, chance=0.2)
    top[1].update(value=0.6, low=0.5, chance=0.2)
    place = ("objects-0", "classification")
    assert Board(rows).way("runs/model-1", place) == 1.0
    assert Board(rows).way("runs/model-0", place) == pytest.approx(0.5)
    assert Board(rows[:1]).way("runs/model-0", place) == pytest.approx(0.25)
    top[0].update(low=0.15)
    assert Board(rows).way("runs/model-0", place) == 0.0


def test_the_last_step_stands_for_a_model(made):
    _, rows = made(models=1, sets=1, steps=3)
    board = Board(rows)
    place = ("objects-0", "classification")
    assert board.row("runs/model-0", place)["step"] == 30
    assert board.row("runs/model-0", place, step=10)["step"] == 10


def test_a_comparison_is_a_page_of_its_own(tmp_path):
    store = SampleStore(tmp_path / "samples")
    rows, _ = made_sweep(store, models=2, sets=2)
    first, other = ("runs/model-1", 10), ("runs/model-0", 10)
    found = compare(rows, store, first=first, others=[other], draws=20)
    write_comparison(tmp_path, found)
    page = Read((tmp_path / "compare.html").read_text())
    assert "model-1@10 and model-0@10" in page.text
    assert page.text.count("captions-1") == 4 and page.text.count("objects-0") == 1
