"""The embedded emoji: what they hold, how they are split, and how they are unpacked."""

import collections
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from data_makers import write_tar

from data_pipelines.decode import decode
from data_pipelines.emoji import compact, materialize, tars
from data_pipelines.emoji.annotations import annotated, read_annotations
from data_pipelines.emoji.build import build
from data_pipelines.emoji.captions import names_of, training_captions, with_article
from data_pipelines.emoji.splits import splits
from data_pipelines.opening import open_source
from data_pipelines.sources import Sample, TarSource

NAMES = ("noto", "noto-train", "noto-compositional", "twemoji")
FOLDER = Path(compact.__file__).parent


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VLP_CACHE", str(tmp_path_factory.mktemp("cache") / "new"))
        yield materialize()


@pytest.fixture(scope="module")
def samples(folder: Path) -> dict[str, list[Sample]]:
    sources = {name: TarSource(folder / f"{name}.tar") for name in NAMES}
    return {name: [source[i] for i in range(len(source))] for name, source in sources.items()}


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch, samples: dict[str, list[Sample]]) -> list[dict]:
    """Unpacks, instead of all, one held-out emoji with its relatives: tests need not wait."""
    base = samples["noto-compositional"][0].meta["base"]
    rows = [i for i, sample in enumerate(samples["noto"]) if sample.meta["base"] == base]
    entries = [{k: samples["noto"][i].meta[k] for k in compact.FIELDS} for i in rows]
    pixels = {
        vendor: np.stack([decode(samples[vendor][i].image) for i in rows])
        for vendor in compact.LEVELS
    }
    monkeypatch.setattr(compact, "read", lambda: (entries, iter(pixels.items())))
    return entries


def keys(samples: list[Sample]) -> list[str]:
    return [sample.key for sample in samples]


def test_both_vendors_draw_the_same_emoji_in_the_same_order(samples):
    assert len(samples["noto"]) == len(samples["twemoji"]) == 3786
    assert keys(samples["noto"]) == keys(samples["twemoji"])
    assert keys(samples["noto"])[:3] == ["1f600", "1f603", "1f604"]
    for noto, twemoji in zip(samples["noto"], samples["twemoji"], strict=True):
        assert {**noto.meta, "vendor": ""} == {**twemoji.meta, "vendor": ""}
        assert (noto.meta["vendor"], twemoji.meta["vendor"]) == ("noto", "twemoji")


def test_metadata_is_complete(samples):
    wanted = {*compact.FIELDS, "vendor", "split"}
    for sample in samples["twemoji"]:
        assert set(sample.meta) == wanted
        assert sample.meta["unified"].lower() == sample.key
        assert sample.meta["category"] and sample.meta["name"] and sample.meta["short_names"]


def test_splits_part_noto_in_order(samples):
    train, held = (set(keys(samples[name])) for name in NAMES[1:3])
    assert not train & held
    for name in ("train", "compositional"):
        of_split = [s.key for s in samples["noto"] if s.meta["split"] == name]
        assert of_split == keys(samples[f"noto-{name}"])
    assert len(train) + len(held) == 3786


def test_held_out_pairs_are_five_percent_of_the_single_tone_emoji(samples):
    single = [s for s in samples["noto"] if len(s.meta["skin_tones"]) == 1]
    held = samples["noto-compositional"]
    assert set(keys(held)) < set(keys(single))
    assert 0.045 < len(held) / len(single) < 0.055


def test_parts_of_a_held_out_pair_occur_in_training_but_not_together(samples):
    held = [(s.meta["base"], *s.meta["skin_tones"]) for s in samples["noto-compositional"]]
    tones_of, bases_of = collections.defaultdict(set), collections.defaultdict(set)
    for sample in samples["noto-train"]:
        for tone in sample.meta["skin_tones"]:
            tones_of[sample.meta["base"]].add(tone)
            bases_of[tone].add(sample.meta["base"])
    plain = {s.meta["base"] for s in samples["noto-train"] if not s.meta["skin_tones"]}
    for base, tone in held:
        assert base in plain and len(tones_of[base]) == 4 and len(bases_of[tone]) > 100
        assert tone not in tones_of[base]


def test_at_most_one_tone_of_a_base_is_held_out_and_each_tone_somewhere(samples):
    held = [s.meta for s in samples["noto-compositional"]]
    assert len({meta["base"] for meta in held}) == len(held)
    assert len({meta["skin_tones"][0] for meta in held}) == 5


def test_a_split_does_not_depend_on_order_or_on_other_emoji(samples):
    entries = [s.meta for s in samples["noto"]]
    expected = [entry["split"] for entry in entries]
    assert splits(entries[::-1]) == expected[::-1]
    base = samples["noto-compositional"][0].meta["base"]
    rows = [i for i, entry in enumerate(entries) if entry["base"] == base]
    assert splits([entries[i] for i in rows]) == [expected[i] for i in rows]


def test_first_caption_is_the_name_with_skin_tones_after_a_colon(samples):
    for sample in samples["noto"] + samples["twemoji"]:
        meta = sample.meta
        tones = ": " + ", ".join(meta["skin_tones"]) if meta["skin_tones"] else ""
        assert sample.captions[0].decode() == meta["name"].lower() + tones == meta["caption"]


def test_only_training_drawings_have_further_captions(samples):
    assert {len(s.captions) for s in samples["twemoji"]} == {1}
    assert all(5 <= len(s.captions) <= 8 for s in samples["noto"])


def test_captions_are_lower_case_and_distinct_and_name_the_group(samples):
    for sample in samples["noto"]:
        lines = [line.decode() for line in sample.captions]
        assert len(set(lines)) == len(lines)
        assert all(line == " ".join(line.lower().split()) for line in lines)
        assert f"an emoji of {sample.meta['category'].lower()}" in lines


def test_captions_keep_the_skin_tones(samples):
    for sample in samples["noto"]:
        group = f"an emoji of {sample.meta['category'].lower()}"
        for line in sample.captions:
            if line.decode() != group:
                assert all(tone in line.decode() for tone in sample.meta["skin_tones"])


def test_the_name_is_there_with_an_article_and_so_is_another_one(samples):
    for sample in samples["noto"]:
        lines = {line.decode() for line in sample.captions}
        name = sample.meta["caption"]
        others = [other for other in names_of(sample.meta) if other != name]
        assert {with_article(name), *map(with_article, others[:1])} <= lines


def test_keywords_stand_side_by_side_and_behind_a_name(samples):
    hot = next(s for s in samples["noto"] if s.key == "2615")
    lines = [line.decode().split(", ") for line in hot.captions]
    keywords = set(hot.meta["keywords"])
    assert any(len(parts) == 4 and set(parts) <= keywords for parts in lines)
    assert any(
        len(parts) == 4 and parts[0].startswith("a ") and set(parts[1:]) <= keywords
        for parts in lines
    )


def test_the_article_is_the_one_that_people_write():
    assert with_article("orange book") == "an orange book"
    assert with_article("red heart") == "a red heart"
    assert with_article("unicorn") == "a unicorn" and with_article("hourglass") == "an hourglass"


def test_common_names_stand_beside_official_ones(samples):
    heart = next(s for s in samples["noto"] if s.key == "2764-fe0f")
    assert {b"heavy black heart", b"a red heart"} <= set(heart.captions)


def test_captions_follow_from_the_key():
    entry = {
        "name": "WAVING HAND SIGN",
        "common_name": "waving hand",
        "short_names": ["wave", "+1"],
        "keywords": ["bye", "hello", "wave"],
        "category": "People & Body",
        "subcategory": "hand-fingers-open",
        "skin_tones": ["dark skin tone"],
    }
    first = training_captions("1f44b", entry)
    assert first == training_captions("1f44b", entry)
    assert first[0] == "waving hand sign: dark skin tone"
    several = [training_captions(f"key {i}", entry) for i in range(40)]
    assert len({tuple(lines[1:]) for lines in several}) > 20
    used = {line for lines in several for line in lines}
    assert {"dark skin tone waving hand", "a waving hand sign with dark skin tone"} <= used
    assert "an emoji of dark skin tone waving hand" in used
    assert "dark skin tone waving hand, hand fingers open" in used
    assert any(line.endswith("hello, wave, dark skin tone") for line in used)
    assert not any("+1" in line for line in used)


def test_images_decode_to_64_pixels_with_transparent_surroundings(samples):
    for vendor in compact.LEVELS:
        for sample in samples[vendor][::50]:
            pixels = decode(sample.image)
            assert pixels.shape == (64, 64, 4) and pixels.dtype == np.uint8
            assert (pixels[..., 3] > 0).mean() > 0.05
            assert not pixels[pixels[..., 3] == 0].any()


def test_a_stored_png_decodes_to_its_pixels():
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 4), np.uint8)
    np.testing.assert_array_equal(decode(tars.png(pixels)), pixels)


def test_vendors_draw_differently(samples):
    pairs = zip(samples["noto"][::50], samples["twemoji"][::50], strict=True)
    assert all((decode(a.image) != decode(b.image)).any() for a, b in pairs)


def test_all_tars_open_by_name_with_an_index(folder, samples):
    for name in NAMES:
        source = open_source(f"emoji:{name}")
        assert len(source) == len(samples[name]) and source.name == f"emoji:{name}"
        assert (folder / "tars.index").exists()
        assert TarSource(folder / f"{name}.tar").survey()[0].strays == ()
    with pytest.raises(ValueError, match="noto-train"):
        open_source("emoji:other")


def test_a_second_call_writes_nothing(folder):
    before = {path: path.stat().st_mtime_ns for path in folder.parent.rglob("*")}
    assert materialize() == folder
    assert {path: path.stat().st_mtime_ns for path in folder.parent.rglob("*")} == before
    assert folder.stat().st_mode & 0o777 == 0o755


def test_what_a_killed_process_left_is_ignored(few, tmp_path, monkeypatch):
    monkeypatch.setenv("VLP_CACHE", str(tmp_path))
    left = tmp_path / ".emoji-killed"
    left.mkdir()
    (left / "noto.tar").write_bytes(b"half")
    made = materialize()
    assert sorted(path.stem for path in made.glob("*.tar")) == sorted(NAMES)
    assert len(TarSource(made / "noto.tar")) == len(few) == 6
    assert len(TarSource(made / "noto-train.tar")) == 5


def test_a_failure_leaves_nothing_behind(few, tmp_path, monkeypatch):
    monkeypatch.setenv("VLP_CACHE", str(tmp_path))
    monkeypatch.setattr(tars, "build_indexes", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        materialize()
    assert not list(tmp_path.iterdir())


def test_several_at_once_share_the_winners_folder(few, tmp_path, monkeypatch):
    monkeypatch.setenv("VLP_CACHE", str(tmp_path))
    with ThreadPoolExecutor(6) as pool:
        found = set(pool.map(lambda _: materialize(), range(6)))
    assert list(tmp_path.iterdir()) == list(found)
    assert len(TarSource(found.pop() / "twemoji.tar")) == 6


def test_an_incomplete_folder_is_refused(few, tmp_path, monkeypatch):
    monkeypatch.setenv("VLP_CACHE", str(tmp_path))
    (materialize() / "tars.index").unlink()
    with pytest.raises(ValueError, match=r"lacks tars\.index; remove the folder"):
        materialize()


def test_other_data_or_another_version_lie_elsewhere(few, tmp_path, monkeypatch):
    monkeypatch.setenv("VLP_CACHE", str(tmp_path))
    found = {materialize()}
    monkeypatch.setattr(tars, "VERSION", -1)
    found.add(materialize())
    monkeypatch.setattr(compact, "fingerprint", lambda: "other")
    found.add(materialize())
    assert len(found) == 3


def known(samples: dict[str, list[Sample]]) -> dict[str, dict]:
    """Annotations as the samples have them."""
    return {
        "".join(chr(int(code, 16)) for code in s.meta["unified"].split("-")): {
            "tts": [s.meta["common_name"]],
            "default": s.meta["keywords"],
        }
        for s in samples["noto"]
    }


def sources(folder: Path, samples: dict[str, list[Sample]], count: int) -> dict[str, Path]:
    """Tars to build from: the first emoji of each vendor."""
    return {
        vendor: write_tar(
            folder / f"{vendor}.tar",
            [
                (f"{s.key}.{kind}", data)
                for s in samples[vendor][:count]
                for kind, data in (
                    ("png", s.image),
                    ("txt", s.captions[0]),
                    ("json", json.dumps(s.meta).encode()),
                )
            ],
        )
        for vendor in compact.LEVELS
    }


def test_building_keeps_pixels_and_metadata_and_repeats_itself(samples, tmp_path):
    made = sources(tmp_path, samples, 8)
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder in folders:
        folder.mkdir()
        build(made, known(samples), folder=folder)
    assert compact.fingerprint(folders[0]) == compact.fingerprint(folders[1])
    entries, vendors = compact.read(folder=folders[0])
    assert [entry["unified"].lower() for entry in entries] == keys(samples["noto"][:8])
    for vendor, pixels in vendors:
        expected = np.stack([decode(s.image) for s in samples[vendor][:8]])
        np.testing.assert_array_equal(pixels, expected)


def test_rounding_moves_colours_by_at_most_half_a_step_and_never_alpha():
    pixels = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 4), np.uint8)
    visible = pixels[..., 3:] > 0
    for levels in compact.LEVELS.values():
        back = compact._decoded(compact._coded(pixels, levels), levels)
        np.testing.assert_array_equal(back[..., 3], pixels[..., 3])
        error = np.where(visible, np.abs(back.astype(int) - pixels), 0)
        assert error.max() == (0 if levels == 255 else 2)


def test_vendors_that_disagree_are_refused(samples, tmp_path):
    made = sources(tmp_path, {**samples, "noto": samples["noto"][1:]}, 2)
    with pytest.raises(ValueError, match="same emoji in the same order"):
        build(made, known(samples), folder=tmp_path)


def test_an_emoji_without_annotation_is_refused(samples, tmp_path):
    with pytest.raises(ValueError, match=r"1F600 .* has none; take CLDR"):
        build(sources(tmp_path, samples, 2), {}, folder=tmp_path)


def test_annotations_give_names_and_keywords_without_skin_tones(tmp_path):
    file = tmp_path / "annotations.json"
    words = {"default": ["Hand", "dark skin tone", "wave"], "tts": ["Waving Hand: dark skin tone"]}
    file.write_text(json.dumps({"annotations": {"identity": {}, "annotations": {"👋🏿": words}}}))
    entry = {"unified": "1F44B-1F3FF", "name": "WAVING HAND", "skin_tones": ["dark skin tone"]}
    made = annotated(entry, read_annotations([file]))
    assert made["common_name"] == "waving hand" and made["keywords"] == ["hand", "wave"]


def test_a_damaged_or_missing_file_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"emoji\.json\.xz, which is missing"):
        compact.read(folder=tmp_path)
    (tmp_path / "emoji.json.xz").write_bytes((FOLDER / "emoji.json.xz").read_bytes()[:-9])
    with pytest.raises(ValueError, match=r"damaged: .*emoji\.json\.xz.*install the package again"):
        compact.read(folder=tmp_path)


def test_the_package_folder_is_small():
    files = [p for p in FOLDER.rglob("*") if p.is_file() and "__pycache__" not in p.parts]
    assert sum(path.stat().st_size for path in files) <= 12_000_000


def test_licences_and_authors_are_named():
    texts = {path.name: path.read_text() for path in (FOLDER / "LICENSES").iterdir()}
    assert "Apache License" in texts["Apache-2.0.txt"] and len(texts["Apache-2.0.txt"]) > 10_000
    assert "Google" in texts["NOTICE-noto.txt"] and "64x64" in texts["NOTICE-noto.txt"]
    for words in ("Twitter, Inc and other contributors", "jdecked", "64x64"):
        assert words in texts["NOTICE-twemoji.txt"]
    assert "https://creativecommons.org/licenses/by/4.0/" in texts["NOTICE-twemoji.txt"]
    assert "Cal Henderson" in texts["MIT-emoji-datasource.txt"]
    assert "WITHOUT WARRANTY OF ANY KIND" in texts["MIT-emoji-datasource.txt"]
    assert "UNICODE LICENSE V3" in texts["Unicode-3.0.txt"]
