"""What a data spec names: patterns, ranges, lists, and what is refused at the start."""

import itertools

import pytest
from data_makers import encoded, pair, pixels, write_tar

from data_pipelines.opening import open_source, tars_of
from data_pipelines.sources import LabelSource, TarSource, build_indexes
from data_pipelines.sources.part import PartSource


@pytest.fixture
def tars(tmp_path):
    for name in ("s-8", "s-9", "s-10", "t-00", "t-01", "t-02", "a-x-0", "a-y-0", "a-x-1", "a-y-1"):
        write_tar(tmp_path / f"{name}.tar", pair(name, 0))
    return tmp_path


@pytest.mark.parametrize(
    ("spec", "names"),
    [
        ("s-{8..10}.tar", ["s-8", "s-9", "s-10"]),
        ("s-{10..8}.tar", ["s-10", "s-9", "s-8"]),
        ("t-{00..02}.tar", ["t-00", "t-01", "t-02"]),
        ("t-{0..02}.tar", ["t-00", "t-01", "t-02"]),
        ("a-{x,y}-{0..1}.tar", ["a-x-0", "a-x-1", "a-y-0", "a-y-1"]),
        ("t-*.tar", ["t-00", "t-01", "t-02"]),
        ("**/t-0[12].tar", ["t-01", "t-02"]),
    ],
)
def test_ranges_lists_and_patterns_mean_what_a_shell_means(tars, spec, names):
    source = open_source(f"{tars}/{spec}")
    assert [source.key(i) for i in range(len(source))] == names
    assert [path.stem for path in tars_of(f"{tars}/{spec}")] == names


@pytest.mark.parametrize("count", [1, 2, 3])
def test_paths_with_commas_stand_in_lists_too(tmp_path, count):
    names = ["a,b.tar", "c.tar", "d, e,f.tar"]
    for name in names:
        write_tar(tmp_path / name, pair(name.split(".")[0], 0))
    for chosen in itertools.permutations(names, count):
        spec = ",".join(f"{tmp_path}/{name}" for name in chosen)
        assert [path.name for path in tars_of(spec)] == list(chosen)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("hf://datasets/a", "copy or mount them"),
        ("file:///a.tar", "copy or mount them"),
        ("HERE/t-00.tar,ftp://host/{0..3}.tar", "copy or mount them"),
        ("pipe:cat a.tar", "not read from other programs"),
        ("gs://bucket/a.tar", "pip install 'vlp.gcs.'"),
        ("lines:s3://bucket/{0..3}.tar", "pip install 'vlp.s3.'"),
        ("https://host/*.tar", "pip install 'vlp.http.'"),
    ],
)
def test_what_cannot_be_reached_is_refused_in_one_line(tars, monkeypatch, spec, said):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=said) as caught:
        open_source(spec.replace("HERE", str(tars)))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("t-{00..05}.tar", r"no data at .*t-03.tar"),
        ("'t-00.tar'", "no data at"),
        ("t-{0..9999999}.tar", "a range may name 1,000,000 files"),
        ("t-00.tar,,t-01.tar", "must not have empty parts"),
        ("{s-{8..9},t-00}.tar", "must not stand within braces"),
        ("t-00.tar,", "must not have empty parts"),
    ],
)
def test_a_spec_that_names_less_than_it_says_is_refused(tars, spec, said, monkeypatch):
    monkeypatch.chdir(tars)
    with pytest.raises(ValueError, match=said):
        open_source(spec)


def test_quotes_that_came_along_are_named(tars):
    with pytest.raises(ValueError, match="leave the quotes out of the path"):
        open_source(f"'{tars}/*.tar'")


def test_a_folder_of_tars_is_read_in_order_with_indexes_passed_over(tars):
    expected = sorted(p.stem for p in tars.iterdir())
    build_indexes(tars_of(str(tars)))
    whole = open_source(tars)
    assert isinstance(whole, TarSource) and len(whole) == 10
    assert [path.stem for path in tars_of(str(tars))] == expected
    assert len(open_source(f"{tars}/*")) == 10
    with pytest.raises(ValueError, match="must name tars"):
        tars_of("emoji:noto")


def test_every_source_names_the_file_of_each_sample(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a.tar", "b.tar"):
        write_tar(tmp_path / name, pair("0", 0) + pair("1", 1))
    (tmp_path / "pictures" / "sub").mkdir(parents=True)
    for ending, (_, data) in zip(("png", "txt"), pair("0", 0), strict=False):
        (tmp_path / "pictures" / "sub" / f"c.{ending}").write_bytes(data)
    source = open_source("a.tar,b.tar,pictures")
    expected = ["a.tar", "a.tar", "b.tar", "b.tar", "pictures/sub/c.png"]
    assert [source.file(i) for i in range(5)] == expected
    labelled = LabelSource(source, field="", templates=("{}",))
    for other, places in ((PartSource(source, 1, 5), range(1, 5)), (labelled, range(5))):
        assert [other.file(i) for i in range(len(other))] == [expected[i] for i in places]


def test_a_pattern_of_any_depth_reads_each_file_once(tmp_path, caplog):
    for name in ("cat/0.png", "cat/more/1.png", "dog/2.png", "cat/0.txt"):
        (tmp_path / "set" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "set" / name).write_bytes(encoded(pixels(0)))
    whole = open_source(tmp_path / "set")
    for spec in ("set/**", "set/**/", "s*/**"):
        source = open_source(f"{tmp_path}/{spec}")
        assert source.fingerprint == whole.fingerprint and len(source) == 3
    assert len(open_source(f"{tmp_path}/set/**/*.png")) == 3
    assert len(open_source(f"{tmp_path}/set/cat/**")) == 2 and not caplog.text


@pytest.mark.parametrize(
    "spec", ["a.tar,a.tar", "a.tar,link.tar", "up/set/0.png,up", "up,up/set", "t,t/captions.csv"]
)
def test_what_is_named_twice_counts_twice_and_is_said(tmp_path, monkeypatch, caplog, spec):
    monkeypatch.chdir(tmp_path)
    for name in ("up/set", "t"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "0.png").write_bytes(encoded(pixels(0)))
    (tmp_path / "t/captions.csv").write_text("image,caption\n0.png,a\n")
    write_tar(tmp_path / "a.tar", pair("k", 0))
    (tmp_path / "link.tar").symlink_to("a.tar")
    for once in (*spec.split(",")[:1], "up,t,a.tar"):
        open_source(once)
    assert not caplog.text
    assert len(open_source(spec)) == 2
    assert f"{spec.split(',')[not spec.startswith('up/')]} is named more than" in caplog.text
