"""How orbax writes checkpoints to object stores: a file says there that one is whole."""

import os
from typing import Any

import orbax.checkpoint as ocp
from etils import epath
from orbax.checkpoint._src.path import gcs_utils
from orbax.checkpoint._src.serialization import tensorstore_utils

from vlp.remote import is_remote

_OPENED = ("_use_gcs_driver", "_normalize_path")  # of `tensorstore_utils`, which S3 goes through


def ways_of(directory: epath.Path) -> dict[str, Any]:
    """Keyword arguments of what writes there: nothing is renamed in an object store."""
    if not is_remote(directory):
        return {}
    return {"temporary_path_class": ocp.path.atomicity.CommitFileTemporaryPath}


def open_s3() -> None:
    """Lets orbax address TensorStore's S3 driver as it does that of GCS.

    Orbax 0.12 knows no S3 (https://github.com/google/orbax/issues/359) although TensorStore does:
    the one place where it makes an address out of a path is taught here.

    Raises:
        ValueError: the installed orbax has no such place.
    """
    if tensorstore_utils._use_gcs_driver is _in_a_store:
        return
    missing = [name for name in _OPENED if not hasattr(tensorstore_utils, name)]
    if missing or not hasattr(gcs_utils, "get_kvstore_for_gcs"):
        raise ValueError(
            "checkpoints on s3:// need orbax-checkpoint 0.12.8, the installed one is built "
            "otherwise; pip install orbax-checkpoint==0.12.8, or give a mounted folder"
        )
    tensorstore_utils._use_gcs_driver = _in_a_store
    gcs_utils.get_kvstore_for_gcs = _address


def _in_a_store(directory: str) -> bool:
    return directory.startswith(("gs:/", "s3:/"))


_address_in_gcs = gcs_utils.get_kvstore_for_gcs


def _address(path: str) -> dict[str, Any]:
    """Where TensorStore finds a path; orbax has made one slash of two."""
    if not path.startswith("s3:/"):
        return _address_in_gcs(path)
    bucket, _, key = path.removeprefix("s3:").lstrip("/").partition("/")
    address = {"driver": "s3", "bucket": bucket, "path": key}
    # As s3fs reads them, for TensorStore does not.
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    if endpoint:
        address["endpoint"] = endpoint
    if region:
        address["aws_region"] = region
    return address
