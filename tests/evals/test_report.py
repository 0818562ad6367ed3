"""The report: whole, self-contained, valid, and safe whatever the captions say."""

import base64
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from vlp.evals import page
from vlp.evals.curves import panels
from vlp.evals.report import write_report
from vlp.evals.results import make_result
from vlp.evals.writing import percent

VOID = {"meta", "link", "img", "br"}
HOSTILE = "<script>alert('x')</script> \"onerror=\" & </style> \x1b[2J \ud83d"
SCORES = {
    "metrics": {"text_to_image/R@1": 0.0931, "text_to_image/R@5": 0.25773,
                "image_to_text/R@1": 0.0882, "image_to_text/R@5": 0.2333,
                "rare/text_to_image/R@1": 0.0711, "rare/text_to_image/R@5": 0.1922},
    "chance": {"text_to_image/R@1": 0.00026, "text_to_image/R@5": 0.0013,
               "image_to_text/R@1": 0.00027, "image_to_text/R@5": 0.0014,
               "rare/text_to_image/R@1": 0.0031, "rare/text_to_image/R@5": 0.0155},
    "counts": {"text_to_image/queries": 3786, "image_to_text/queries": 3787,
               "rare/text_to_image/queries": 411},
}  # fmt: skip
CLASSES = {
    "metrics": {"top1": 0.6123, "mean_per_class_recall": 0.474},
    "chance": {"top1": 0.2, "mean_per_class_recall": 0.2, "majority_share": 0.4321},
    "counts": {"images": 3786, "classes": 5},
}
FACTS = dict(fingerprint="f00d", samples=3786, step=1200, dtype="bfloat16", versions={})


class Reader(HTMLParser):
    """Collects text, attributes, and whether every element is closed in order."""

    def __init__(self):
        super().__init__()
        self.open, self.text, self.attributes, self.tags = [], [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data):
        self.text.append(data)


def tile(value):
    return np.full((8, 8, 3), value, np.uint8)


def example(**changes):
    found = [
        {"image": tile(i), "caption": f"seen {i}", "score": 0.9 - i / 10, "right": i == 1}
        for i in range(3)
    ]
    text = {"query": "a red heart", "rank": 1, "candidates": 3786, "found": found,
            "answer": {"image": tile(1), "caption": "a red heart"}}  # fmt: skip
    missed = text | {"query": HOSTILE, "rank": 1233, "found": [found[0], found[2]]}
    image = {"image": tile(5), "caption": "a blue door", "rank": 1, "candidates": 3786,
             "found": [{key: item[key] for key in ("caption", "score", "right")}
                       for item in found]}  # fmt: skip
    lost = image | {"caption": HOSTILE, "rank": 76, "found": image["found"][:1]}
    rows = [{"step": s, "train/loss": 5 / s, "eval/x/text_to_image/R@1": s / 100, "note": "text",
             "perf/mfu": None} for s in range(1, 40)]  # fmt: skip
    rows += [{"step": 40, "train/loss": float("nan")}]
    results = [
        make_result("retrieval", SCORES, data="twemoji", rejected=7, **FACTS),
        make_result("classification", CLASSES, data=HOSTILE, rejected=0, **FACTS),
    ]
    return dict(
        title=f"Emoji {HOSTILE}",
        lead="What it learned.",
        metrics_rows=rows,
        results=results,
        text_queries=[text, missed],
        image_queries=[image, lost],
        facts={"device": HOSTILE, "Model": {"width": 192, "parameters": 4123456, "bias": True}},
        attribution=["Noto Emoji: Apache-2.0", f"Twemoji: CC BY 4.0, https://x.org/ {HOSTILE}"],
    ) | changes  # fmt: skip


def written(tmp_path, **changes):
    path = tmp_path / "report.html"
    write_report(path, **example(**changes))
    text = path.read_text(encoding="utf-8")
    reader = Reader()
    reader.feed(text)
    reader.close()
    assert not reader.open, f"left open: {reader.open}"
    return text, reader


def test_the_page_shows_every_score_and_chance_it_was_given(tmp_path):
    _, reader = written(tmp_path)
    words = " ".join(reader.text)
    shares = [*SCORES["metrics"].values(), *SCORES["chance"].values(), *CLASSES["metrics"].values()]
    for share in (*shares, 0.2, 0.4321):
        assert percent(share) in words
    for number in ("3,786", "3,787", "411", "1,234", "77", "4,123,456", "192", "7 samples"):
        assert number in words


def test_a_score_stands_below_its_name_where_lines_have_different_ones(tmp_path):
    scores = {"metrics": {"mIoU": 0.11, "mIoU_either": 0.22, "IoU/heart": 0.33}, "chance": {}}
    result = make_result("segmentation", scores, data="x", rejected=0, **FACTS)
    text, _ = written(tmp_path, results=[result])
    head, body = text.split("<table>")[1].split("</thead>")
    names = re.findall(r'<th scope="col">(.*?)</th>', head)
    assert names == ["queries", "mIoU", "mIoU_either", "IoU"]
    lines = [re.findall(r"<td>(.*?)</td>", line) for line in body.split("</tr>")]
    cells = [[re.sub("<.*", "", cell) for cell in line] for line in lines if line]
    assert cells == [["", "11.0 %", "22.0 %", ""], ["", "", "", "33.0 %"]]


def test_the_page_asks_nobody_for_anything(tmp_path):
    text, reader = written(tmp_path)
    for tag, name, value in reader.attributes:
        if name in ("src", "href", "srcset", "action", "data", "poster"):
            assert value.startswith("data:"), (tag, name, value[:60])
        assert not name.startswith("on")
    assert not {"script", "iframe", "object", "embed", "form", "base"} & set(reader.tags)
    style = text.split("<style>")[1].split("</style>")[0]
    assert "url(" not in style and "@import" not in style
    assert "default-src 'none'" in text


def test_sounds_can_be_played_and_say_what_they_found(tmp_path):
    asked = example()
    pictures = [query | {"sound": b"OggS one"} for query in asked["text_queries"]]
    words = [query | {"sound": b"fLaC two"} for query in asked["image_queries"]]
    words[1]["sound"] = b"RIFF" + bytes(page.MAX_SOUND)
    text, reader = written(tmp_path, sound_queries=[("aloud", pictures), (HOSTILE, words)])
    played = [value for tag, name, value in reader.attributes if (tag, name) == ("audio", "src")]
    assert [value.split(",")[0] for value in played] == [
        *["data:audio/ogg;base64"] * 2, "data:audio/flac;base64",
    ]  # fmt: skip
    assert base64.b64decode(played[2].split(",")[1]) == b"fLaC two"
    said = " ".join(reader.text)
    assert "found in pictures" in said and "answered in words" in said
    assert "a sound of 1.0 MiB, left out of this page" in said
    assert "media-src data:" in text and "<script" not in text
    assert "<audio" not in written(tmp_path)[0]


def test_hostile_words_are_shown_as_words(tmp_path):
    text, reader = written(tmp_path)
    assert "<script" not in text and "\x1b" not in text
    shown = "<script>alert('x')</script> \"onerror=\" & </style> [2J"
    words = "".join(reader.text)
    assert words.count(shown) >= 5
    assert any(name == "alt" and shown in value for _, name, value in reader.attributes)


def test_right_answers_and_wanted_ones_are_marked(tmp_path):
    text, reader = written(tmp_path)
    classes = [value for _, name, value in reader.attributes if name == "class"]
    assert classes.count("right") == 1 and classes.count("wanted") == 1
    assert classes.count("yes") == 1 and classes.count("no") == 1
    assert "place 2 of 3,786" in text and "place 1,234 of 3,786" in text and "at 77" in text


def test_written_captions_stand_above_the_truth_with_their_pictures(tmp_path):
    said = [
        {"image": tile(7), "written": HOSTILE, "truth": "a blue door"},
        {"image": tile(8), "written": "", "truth": "a tree"},
    ]
    text, reader = written(tmp_path, written=said)
    assert "<script" not in text and "Described by the model" in text
    words = [word.strip() for word in reader.text]
    assert words.index("(nothing)") < words.index("a tree")
    alts = [value for tag, name, value in reader.attributes if (tag, name) == ("img", "alt")]
    assert {"a blue door", "a tree"} <= set(alts)
    assert "Described by the model" not in written(tmp_path)[0]


def test_scores_that_are_no_shares_have_no_bar_and_no_percent(tmp_path):
    scores = {
        "metrics": {"captions/CIDEr": 1.234, "captions/BLEU-4": 0.25},
        "chance": {"captions/CIDEr": 0.0456, "captions/BLEU-4": 0.01},
    }
    result = make_result("captioning", scores, data="x", rejected=0, **FACTS)
    text, reader = written(tmp_path, results=[result])
    assert "1.23" in reader.text and percent(0.25) in reader.text
    assert text.count('<div class="bar"') == 1 and "123.4 %" not in text


def test_every_picture_says_what_it_is_and_can_be_read(tmp_path):
    text, reader = written(tmp_path)
    alts = [value for tag, name, value in reader.attributes if (tag, name) == ("img", "alt")]
    assert len(alts) == 3 + 2 + 1 + 2 and all(alts)
    for data in re.findall(r'src="data:image/png;base64,([^"]+)"', text):
        assert Image.open(io.BytesIO(base64.b64decode(data))).size == (8, 8)


def test_attribution_is_shown(tmp_path):
    words = "".join(written(tmp_path)[1].text)
    assert "Noto Emoji: Apache-2.0" in words and "Twemoji: CC BY 4.0" in words


def test_curves_are_drawn_from_finite_numbers_only(tmp_path):
    text, _ = written(tmp_path)
    assert text.count("<svg") == 2
    (loss_name, loss), (score_name, score) = panels(example()["metrics_rows"])
    assert (loss_name, score_name) == ("training loss", "x · text → image")
    assert loss in text and score in text
    for svg in (loss, score):
        assert "nan" not in svg and svg.count("<polyline") == 1 + ("faint" in svg)


def test_the_later_row_of_a_repeated_step_counts(tmp_path):
    once = [{"step": s, "train/loss": float(s)} for s in range(5)]
    twice = [{"step": 3, "train/loss": 99.0}, *once]
    assert written(tmp_path, metrics_rows=twice)[0] == written(tmp_path, metrics_rows=once)[0]


@pytest.mark.parametrize(
    "missing", ["metrics_rows", "results", "text_queries", "image_queries", "attribution"]
)
def test_a_page_without_one_of_its_parts_is_still_a_page(tmp_path, missing):
    assert "<h1>" in written(tmp_path, **{missing: []})[0]


def test_a_page_with_nothing_but_a_title_is_still_a_page(tmp_path):
    nothing = dict(metrics_rows=[], results=[], text_queries=[], image_queries=[], facts={})
    assert "<section>" not in written(tmp_path, **nothing)[0]


def test_the_same_input_gives_the_same_bytes(tmp_path):
    assert written(tmp_path)[0] == written(tmp_path)[0]


@pytest.mark.parametrize(
    ("shape", "kind", "size"),
    [((64, 64, 4), "png", (64, 64)), ((96, 40, 3), "png", (40, 96)),
     ((400, 300, 3), "jpeg", (144, 192)), ((400, 400, 4), "png", (192, 192))],
)  # fmt: skip
def test_drawings_stay_exact_and_photographs_become_thumbnails(shape, kind, size):
    image = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    head, data = page.data_uri(image).split(",")
    assert head == f"data:image/{kind};base64"
    opened = Image.open(io.BytesIO(base64.b64decode(data)))
    assert opened.size == size
    if opened.size == shape[1::-1]:
        np.testing.assert_array_equal(np.asarray(opened), image)


def test_an_opaque_photograph_with_an_alpha_channel_is_a_photograph():
    image = np.full((400, 400, 4), 255, np.uint8)
    assert page.data_uri(image) == page.data_uri(image[..., :3])
    assert page.data_uri(image).startswith("data:image/jpeg")


def test_accuracy_of_matching_is_drawn_in_one_chart_a_kind_of_pair():
    rows = [
        {"step": step, "eval/m/all/accuracy": 0.6, "eval/m/all/auc": 0.7,
         "eval/m/true_pairs/accuracy": 0.5, "eval/w/own_image/nats": 3.0}
        for step in (1, 2)
    ]  # fmt: skip
    assert [name for name, _ in panels(rows)] == ["m · all pairs", "m · true pairs"]


def test_groups_say_what_they_are_groups_of(tmp_path):
    by = make_result(
        "retrieval", SCORES, data="x", rejected=0, settings={"group": f"split{HOSTILE}"}, **FACTS
    )
    _, reader = written(tmp_path, results=[by])
    assert any(text.startswith("split<script>") and text.endswith(": rare") for text in reader.text)


def test_what_was_left_out_and_what_failed_is_said(tmp_path):
    notes = ["3 samples have no 'label'", HOSTILE]
    result = make_result("classification", CLASSES, data="x", rejected=0, notes=notes, **FACTS)
    _, reader = written(tmp_path, results=[result], failed=[f"kinds at step 4: {HOSTILE}"])
    words = " ".join(reader.text)
    assert "3 samples have no 'label'." in words and "left out: kinds at step 4: <script>" in words
    _, reader = written(tmp_path, results=[], failed=["kinds at step 4: no picture"])
    assert "left out: kinds at step 4: no picture" in reader.text
