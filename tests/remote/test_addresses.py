"""Where orbax and TensorStore look for a path, when S3 is taught to them."""

import os

import pytest
from orbax.checkpoint._src.path import gcs_utils
from orbax.checkpoint._src.serialization import tensorstore_utils

from vlp.training.checkpoint.folders import absolute
from vlp.training.checkpoint.stores import open_s3, ways_of

FOLDERS = ["/tmp/run/7/params", "gs://bucket/run/7/params"]


@pytest.fixture(autouse=True)
def untaught(monkeypatch):
    """Puts back what orbax was, whatever a test has made of it."""
    taught = ((tensorstore_utils, "_use_gcs_driver"), (gcs_utils, "get_kvstore_for_gcs"))
    for module, name in taught:
        monkeypatch.setattr(module, name, getattr(module, name))


def address(path):
    return tensorstore_utils.build_kvstore_tspec(path, use_ocdbt=True)["base"]


def test_other_paths_are_what_they_were(tmp_path):
    before = [address(path) for path in FOLDERS]
    open_s3()
    open_s3()
    assert [address(path) for path in FOLDERS] == before


def test_s3_is_found_by_bucket_key_and_the_settings_of_its_own_tools(monkeypatch):
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    assert str(absolute("s3://bucket/run/7/params")) == "s3://bucket/run/7/params"
    plain = {"driver": "s3", "bucket": "bucket", "path": "run/7/params"}
    assert address("s3://bucket/run/7/params") == plain
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://minio:9000")
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    further = {"endpoint": "http://minio:9000", "aws_region": "eu-central-1"}
    assert address("s3://bucket/run/7/params") == plain | further
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "me")
    assert address("s3://bucket/run")["aws_credentials"] == {"type": "environment"}
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://ceph")
    assert address("s3://bucket/run/7/params")["endpoint"] == "http://ceph"


def test_another_orbax_is_refused_with_the_one_that_will_do(monkeypatch):
    monkeypatch.delattr(tensorstore_utils, "_use_gcs_driver")
    with pytest.raises(ValueError, match="pip install orbax-checkpoint==0.12.8"):
        open_s3()


def test_nothing_is_renamed_in_a_store_and_everything_is_here(tmp_path):
    assert ways_of(absolute(tmp_path)) == {}
    assert ways_of(absolute("gs://bucket/run"))["temporary_path_class"].__name__.startswith(
        "Commit"
    )
