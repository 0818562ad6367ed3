"""Sets in the layout of CLIP_benchmark behind http, as a plain folder and as a hub's pages."""

import pytest

from tests.small.http_server import serving
from tests.sweeps.layouts.made import opened, opens, png, put, write_tar

pytest.importorskip("aiohttp")


@pytest.fixture
def whole(tmp_path):
    """A set in two shards, in a folder."""
    root = tmp_path / "wds_birds"
    for number in range(2):
        write_tar(root / f"test/{number}.tar", {"a.png": png(number), "a.cls": b"%d" % number})
    files = {"test/nshards.txt": "2", "classnames.txt": "owl\ntit\n"}
    return put(root, files | {"zeroshot_classification_templates.txt": "a {c}\n"})


@pytest.fixture(autouse=True)
def quick(monkeypatch, tmp_path):
    from data_pipelines.io import retries

    monkeypatch.setattr(retries, "FIRST_WAIT_S", 0.0)
    monkeypatch.setenv("VLP_CACHE", str(tmp_path / "cache"))


def hub(tmp_path, whole):
    """A hub's pages: texts as they are below raw, where tars are pointers, and all by resolve."""
    for kind in ("raw", "resolve"):
        for path in [path for path in whole.rglob("*") if path.is_file()]:
            data = path.read_bytes()
            if kind == "raw" and path.suffix == ".tar":
                data = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
            put(
                tmp_path / f"hub/datasets/me/wds_birds/{kind}/main",
                {str(path.relative_to(whole)): data},
            )
    return tmp_path / "hub"


@pytest.mark.parametrize("root", ["{url}", "{url}/wds_{{dataset_cleaned}}", "hub"])
def test_a_set_behind_http_is_the_set_that_lies_here(tmp_path, whole, root):
    here = opened(whole.parent, layout="clip_benchmark")
    folder = hub(tmp_path, whole) if root == "hub" else whole.parent
    with serving(folder) as (url, _):
        pages = f"{url}/datasets/me/wds_{{dataset_cleaned}}/tree/main"
        there = opens(pages if root == "hub" else root.format(url=url))
        assert there.labels.tolist() == here.labels.tolist() == [0, 1]
        assert there.class_names == here.class_names and there.templates == here.templates
        assert [there.pictures.image(i) for i in (0, 1)] == [png(0), png(1)]


def test_a_tar_that_is_not_there_is_named_before_anything_is_read(whole):
    (whole / "test/1.tar").unlink()
    with serving(whole.parent) as (url, _), pytest.raises(ValueError, match="such as test/1.tar"):
        opens(url)


def test_a_server_that_fails_for_good_is_said_and_one_that_fails_twice_is_not(whole):
    with serving(whole.parent) as (url, faults):
        faults.plan = (500, "cut")
        assert opens(url).labels.tolist() == [0, 1]
        whole.joinpath("test/0.tar").touch()  # so that no block of it is known any more
        faults.tries.clear()
        faults.plan, faults.repeats = (500,), True
        with pytest.raises((ValueError, OSError), match="500|cannot be read"):
            opens(url)


def test_a_file_that_a_server_refuses_to_give_is_not_taken_for_missing(whole, monkeypatch):
    from data_pipelines.io import address, exists

    class Refusing:
        def info(self, path):
            cause = OSError("no")
            cause.status = 503
            raise FileNotFoundError(path) from cause

    monkeypatch.setattr(address, "store_of", lambda where: (Refusing(), where))
    with pytest.raises(OSError, match="the server answers 503"):
        exists("http://127.0.0.1:1/dataset_type.txt")
