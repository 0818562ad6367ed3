"""Questions of pictures and texts: SugarCrepe, ARO, Winoground, WinoGAViL, MMEB."""

import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tests.odd_images import picture
from tests.sweeps.layouts.made import opened, opens, png, put, saved_array


def parquet(path, columns):
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)


def cell(seed):
    return {"bytes": png(seed), "path": None}


def test_sugar_crepe_asks_of_one_picture_which_of_two_captions_is_right(tmp_path):
    rows = {
        "0": {"filename": "b.png", "caption": "right", "negative_caption": "wrong"},
        "7": {"filename": "a.png", "caption": "yes", "negative_caption": "no"},
    }
    files = {"add_att.json": rows, "val2017/a.png": png(0), "val2017/b.png": png(1)}
    put(tmp_path / "sugar_crepe", files)
    found = opened(tmp_path, layout="pairs", name="sugar_crepe/add_att", data="sugar_crepe")
    assert [found.pictures.key(int(p[0])) for p in found.choices.pictures] == [
        "val2017/b.png", "val2017/a.png",
    ]  # fmt: skip
    assert [[found.texts[i] for i in own] for own in found.choices.texts] == [
        ["right", "wrong"], ["yes", "no"],
    ]  # fmt: skip
    assert all(right.tolist() == [[True, False]] for right in found.choices.right)


def test_aro_shows_boxes_of_pictures_and_puts_the_right_caption_last(tmp_path):
    whole = picture(20, 30)
    row = dict(image_path="1.png", bbox_x=4, bbox_y=2, bbox_w=10, bbox_h=5)
    row |= dict(true_caption="on", false_caption="under", relation_name="on")
    rows = [row, row | dict(true_caption="a", false_caption="b"), row | dict(bbox_x=5)]
    files = {"visual_genome_relation.json": rows, "images/1.png": saved_array(whole)}
    put(tmp_path / "aro", files)
    found = opened(tmp_path, layout="pairs", name="aro/visual_genome_relation", data="aro")
    assert len(found.pictures) == 2, "a box is one picture, however often it is asked of"
    shown = np.asarray(Image.open(io.BytesIO(found.pictures.image(0))))
    np.testing.assert_array_equal(shown, whole[2:7, 4:14])
    assert found.choices.right[0].tolist() == [[False, True]] and found.texts[:2] == ["under", "on"]
    assert list(found.choices.kinds) == ["on"] * 3


@pytest.mark.parametrize("form", ["parquet", "arrow", "files"])
def test_winoground_has_two_pictures_and_two_captions_a_question(tmp_path, form):
    rows = [(0, 1, "a b", "b a", "Object"), (2, 3, "c d", "d c", "Relation")]
    names = ("image_0", "image_1", "caption_0", "caption_1", "collapsed_tag")
    if form == "files":
        lines = [dict(zip(names, (f"i{a}", f"i{b}", *rest), strict=True)) for a, b, *rest in rows]
        files = {f"images/i{i}.png": png(i) for i in range(4)}
        files["examples.jsonl"] = "".join(json.dumps(line) + "\n" for line in lines)
        put(tmp_path / "winoground", files)
    else:
        values = [[cell(r[0]) for r in rows], [cell(r[1]) for r in rows]]
        values += [[r[i] for r in rows] for i in (2, 3, 4)]
        table = pa.table(dict(zip(names, values, strict=True)))
        folder = tmp_path / "winoground/data"
        folder.mkdir(parents=True)
        if form == "parquet":
            pq.write_table(table, folder / "test-00000-of-00001.parquet")
        else:
            with pa.OSFile(str(folder / "w-test.arrow"), "wb") as file:
                with pa.ipc.new_stream(file, table.schema) as writer:
                    writer.write_table(table)
    columns = ["image=image_0", "image=image_1", "text=caption_0", "text=caption_1"]
    columns += ["kind=collapsed_tag"]
    layout = "pairs" if form == "files" else "questions"
    found = opened(tmp_path, layout=layout, name="winoground", columns=columns)
    assert found.texts == ["a b", "b a", "c d", "d c"]
    assert [found.pictures.image(int(i)) for p in found.choices.pictures for i in p] == [
        png(i) for i in range(4)
    ]
    assert all((right == np.eye(2, dtype=bool)).all() for right in found.choices.right)
    assert list(found.choices.kinds) == ["Object", "Relation"]


def test_winogavil_reads_each_candidate_once(tmp_path):
    columns = {
        "cue": ["Oak", "wing"],
        "candidates": [["tree", "bird", "car"], ["bird", "sea"]],
        "candidate_images": [[cell(0), cell(1), cell(2)], [cell(1), cell(3)]],
        "associations": [["tree"], ["bird"]],
    }
    parquet(tmp_path / "winogavil/a/winogavil-test.parquet", columns)
    parquet(tmp_path / "winogavil/a/winogavil-train.parquet", columns | {"cue": ["no", "no"]})
    found = opened(tmp_path, layout="questions", name="winogavil", tasks=["associations"])
    assert found.texts == ["An oak", "A wing"]
    assert [found.pictures.key(i) for i in range(4)] == ["tree", "bird", "car", "sea"]
    assert [p.tolist() for p in found.choices.pictures] == [[0, 1, 2], [1, 3]]
    assert [r[:, 0].tolist() for r in found.choices.right] == [[True, False, False], [True, False]]
    assert found.pictures.image(3) == png(3)


def test_several_texts_to_a_picture_have_the_right_one_first_and_splits_are_told_apart(tmp_path):
    columns = {"images": [cell(0)], "correct_caption": ["a b"], "hard_text_1": ["b a"]}
    parquet(tmp_path / "order/test-00000-of-00001.parquet", columns)
    parquet(tmp_path / "order/train-00000-of-00001.parquet", columns | {"hard_text_1": ["other"]})
    named = ["image=images", "text=correct_caption", "text=hard_text_1"]
    found = opened(tmp_path, layout="questions", name="order", columns=named)
    assert found.texts == ["a b", "b a"] and found.choices.right[0].tolist() == [[True, False]]
    with pytest.raises(ValueError, match="must have the column 'caption', it has images"):
        opens(tmp_path, name="order", columns=["image=images", "text=caption"])
    with pytest.raises(ValueError, match="columns must be image=NAME, text=NAME, kind=NAME"):
        opens(tmp_path, name="order", columns=["picture=images", "text=correct_caption"])


def mmeb(root, rows):
    names = ("qry_inst", "qry_text", "qry_img_path", "tgt_text", "tgt_img_path")
    columns = {name: [row[i] for row in rows] for i, name in enumerate(names)}
    parquet(root / "MMEB_Test_Instruct/Birds/test-00000-of-00001.parquet", columns)
    put(root, {f"images/Birds/{i}.png": png(i) for i in range(4)})
    return dict(name="mmeb/Birds", data="MMEB_Test_Instruct/Birds", tasks=["candidates"])


def test_mmeb_asks_for_the_first_candidate_among_different_ones(tmp_path):
    rows = [
        ("<|image_1|>\nIdentify.", "", "Birds/0.png", ["owl", "tit", "owl"], ["", "", ""]),
        ("<|image_1|>\nIdentify.", "", "Birds/1.png", ["tit", "owl"], ["", ""]),
    ]
    found = opened(tmp_path, layout="mmeb", **mmeb(tmp_path, rows))
    assert [[found.texts[i] for i in own] for own in found.choices.texts] == [
        ["owl", "tit"], ["tit", "owl"],
    ]  # fmt: skip
    assert all(right[0].tolist() == [True, False] for right in found.choices.right)


def test_mmeb_finds_pictures_by_texts_without_their_instruction_unless_asked_for(tmp_path):
    rows = [("Find an image.", "a tit", "", ["", ""], ["Birds/2.png", "Birds/3.png"])]
    values = mmeb(tmp_path, rows)
    found = opened(tmp_path, layout="mmeb", **values)
    assert found.texts == ["a tit"] and found.choices.right[0].tolist() == [[True], [False]]
    assert found.pictures.image(int(found.choices.pictures[0][0])) == png(2)
    assert opens(tmp_path, columns=["instructions"], **values).texts == ["Find an image. a tit"]


def test_a_missing_picture_is_named(tmp_path):
    rows = {"0": {"filename": "b.png", "caption": "right", "negative_caption": "wrong"}}
    put(tmp_path / "sugar_crepe", {"add_att.json": rows, "val2017/a.png": png(0)})
    with pytest.raises(ValueError, match="add_att.json names 'b.png', which must lie in"):
        opens(tmp_path, name="sugar_crepe/add_att", data="sugar_crepe")


def test_a_set_of_questions_without_its_file_is_not_there(tmp_path):
    rows = {"0": {"filename": "a.png", "caption": "right", "negative_caption": "wrong"}}
    put(tmp_path / "sugar_crepe", {"add_att.json": rows, "val2017/a.png": png(0)})
    wanted = dict(
        name="sugar_crepe/swap_obj", data="sugar_crepe", tasks=["pairs"], needs="fetch it"
    )
    with pytest.raises(ValueError, match="it is not there; fetch it"):
        opens(tmp_path, **wanted)


def test_mmeb_shows_texts_beside_pictures_and_pictures_among_pictures(tmp_path):
    rows = [
        ("Find.", "<|image_1|> in red", "Birds/0.png", ["", ""], ["Birds/1.png", "Birds/2.png"]),
        ("Answer.", "what is it", "Birds/3.png", ["owl", "tit"], ["", ""]),
        ("Find.", "news", "", ["a", "b"], ["Birds/1.png", "Birds/1.png"]),
    ]
    found = opened(tmp_path, layout="mmeb", **mmeb(tmp_path, rows))
    choices, texts = found.choices, found.texts
    shown = [[texts[i] if i >= 0 else "" for i in own.tolist()] for own in choices.beside]
    assert shown == [["in red", "", ""], ["what is it"], ["a", "b"]]
    asked = [[texts[i] for i in own.tolist()] for own in choices.texts]
    assert asked == [[], ["owl", "tit"], ["news"]]
    assert [right.shape for right in choices.right] == [(2, 1), (1, 2), (2, 1)]


def test_mmeb_of_texts_alone_is_refused(tmp_path):
    rows = [("Find.", "news", "", ["a", "b"], ["", ""])]
    with pytest.raises(ValueError, match="row 0 of mmeb/Birds has texts alone"):
        opens(tmp_path, **mmeb(tmp_path, rows))
