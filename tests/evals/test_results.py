"""Result files and the table for people."""

import io
import json

from rich.console import Console

from vlp.evals.results import columns_of, finite, make_result, print_results, table_rows
from vlp.files import write_json

FACTS = dict(fingerprint="f00d", step=1200, dtype="bfloat16", versions={"jax": "0.10"})
RETRIEVAL = {
    "metrics": {
        "text_to_image/R@1": 0.0931,
        "text_to_image/R@10": 0.369,
        "image_to_text/R@1": 0.088,
        "image_to_text/R@10": 0.3333,
        "compositional/text_to_image/R@1": 0.5,
        "compositional/text_to_image/R@10": 0.75,
    },
    "chance": {
        "text_to_image/R@1": 0.00026,
        "text_to_image/R@10": 0.0026,
        "image_to_text/R@1": 0.00027,
        "image_to_text/R@10": 0.0027,
        "compositional/text_to_image/R@1": 0.00028,
        "compositional/text_to_image/R@10": 0.0028,
    },
    "counts": {
        "images": 3786,
        "texts": 3787,
        "text_to_image/queries": 3787,
        "image_to_text/queries": 3786,
        "compositional/text_to_image/queries": 41,
    },
}
CLASSES = {
    "metrics": {"top1": 0.61, "top5": 0.92, "mean_per_class_recall": 0.47},
    "chance": {"top1": 0.1, "top5": 0.5, "mean_per_class_recall": 0.1, "majority_share": 0.43},
    "counts": {"images": 3786, "classes": 10},
}


def retrieval_result(**changes):
    facts = FACTS | dict(data="twemoji", samples=3786, rejected=2) | changes
    return make_result("retrieval", RETRIEVAL, **facts)


def class_result():
    return make_result("classification", CLASSES, data="groups", samples=3786, rejected=0, **FACTS)


def printed(*results):
    out = io.StringIO()
    print_results(results, console=Console(file=out, width=120))
    return out.getvalue()


def test_a_result_survives_its_file(tmp_path):
    path = tmp_path / "new" / "eval.json"
    write_json(path, [retrieval_result(), class_result()])
    back = json.loads(path.read_text(encoding="utf-8"))
    assert back == [retrieval_result(), class_result()]
    assert {"task", "data", "fingerprint", "samples", "rejected", "step", "dtype", "versions",
            "metrics", "chance"} <= set(back[0])  # fmt: skip


def test_the_table_shows_every_score_beside_its_chance():
    text = printed(retrieval_result(), class_result())
    for share in ("9.3 %", "36.9 %", "8.8 %", "33.3 %", "50.0 %", "75.0 %", "0.26 %", "0.28 %",
                  "61.0 %", "92.0 %", "47.0 %", "10.0 %", "43.0 %"):  # fmt: skip
        assert share in text
    assert "2 samples unreadable" in text and "step 1,200" in text


def test_a_group_has_lines_of_its_own_after_the_whole():
    lines = [line.split("  ")[0].strip() for line in printed(retrieval_result()).splitlines()]
    found = [line for line in lines if "→" in line or line == "compositional"]
    assert found == ["text → image", "image → text", "compositional", "text → image"]


def test_rows_say_group_direction_and_queries():
    rows = table_rows(retrieval_result())
    assert [(row.group, row.label, row.queries) for row in rows] == [
        ("", "text → image", 3787),
        ("", "image → text", 3786),
        ("compositional", "text → image", 41),
    ]
    assert [(c.column, c.value, c.chance) for c in rows[2].cells] == [
        ("R@1", 0.5, 0.00028),
        ("R@10", 0.75, 0.0028),
    ]


def test_names_of_data_cannot_steer_the_terminal_or_the_markup():
    text = printed(retrieval_result(data="\x1b[2J[bold]x"))
    assert "\x1b[2J" not in text and "[bold]x" in text


def test_reranked_scores_have_lines_of_their_own_behind_the_others():
    scores = {
        "metrics": {"text_to_image/R@1": 0.1, "rare/text_to_image/R@1": 0.2,
                    "reranked/text_to_image/R@1": 0.3, "reranked/rare/text_to_image/R@1": 0.4},
        "chance": {}, "counts": {"reranked/text_to_image/queries": 9},
    }  # fmt: skip
    facts = FACTS | dict(data="x", samples=9, rejected=0, settings={"rerank": 16})
    result = make_result("retrieval", scores, **facts)
    assert "retrieval, reranked on x" in printed(result)
    rows = table_rows(result)
    assert [row.group for row in rows] == [
        "", "rare", "best 16 reranked", "rare, best 16 reranked"
    ]  # fmt: skip
    assert rows[2].queries == 9 and rows[3].cells[0].value == 0.4


def test_scores_that_are_no_shares_are_numbers():
    scores = {
        "metrics": {"own_image/top1": 0.5, "own_image/nats": 1.234},
        "chance": {"own_image/top1": 0.001, "own_image/nats": 6.931},
        "counts": {"own_image/queries": 70},
    }
    facts = FACTS | dict(data="x", samples=70, rejected=0)
    text = printed(make_result("masked_words", scores, **facts))
    for part in ("masked words on x", "50.0 %", "0.10 %", "1.23", "6.93", "nats"):
        assert part in text
    assert "123" not in text


SEGMENTATION = {
    "metrics": {"mIoU": 0.51, "pixel_accuracy": 0.62, "IoU/red heart": 0.73, "IoU/door/all": 0.84},
    "chance": {"mIoU": 0.05, "IoU/red heart": 0.06},
    "counts": {},
}


def segmentation_result():
    facts = FACTS | dict(data="x", samples=9, rejected=0)
    return make_result("segmentation", SEGMENTATION, **facts)


def test_each_class_of_a_segmentation_has_a_line_and_its_score_a_column_of_its_own():
    rows = table_rows(segmentation_result())
    assert columns_of(rows) == ["mIoU", "pixel_accuracy", "IoU"]
    assert [(row.group, row.label) for row in rows] == [
        ("", "segmentation"), ("classes", "red heart"), ("classes", "door/all"),
    ]  # fmt: skip
    assert [cell and cell.value for cell in rows[1].at(columns_of(rows))] == [None, None, 0.73]


def test_scores_stand_below_their_names_where_lines_have_different_ones():
    scores = {"text_to_image/R@1": 0.11, "text_to_image/R@5": 0.22,
              "text_to_image/R@5/as_clip_benchmark": 0.33, "0/acc_race": 0.44}  # fmt: skip
    facts = FACTS | dict(data="x", samples=9, rejected=0)
    text = printed(make_result("retrieval", {"metrics": scores}, **facts))
    head, *lines = text.splitlines()[1:]
    for name, value in (("R@1", "11.0 %"), ("R@5", "22.0 %"), ("as_clip_benchmark", "33.0 %"),
                        ("acc_race", "44.0 %")):  # fmt: skip
        (line,) = [line for line in lines if value in line]
        assert head.index(name) + len(name) == line.index(value) + len(value)


def test_what_is_not_finite_is_none_however_deep_it_lies():
    value = {"a": float("nan"), "b": [1, (float("-inf"), 0.5)], "c": {"d": float("inf"), "e": "x"}}
    assert finite(value) == {"a": None, "b": [1, [None, 0.5]], "c": {"d": None, "e": "x"}}
