"""How orbax writes checkpoints to object stores: a file says there that one is whole."""

import functools
import os
from collections.abc import Callable
from typing import Any

import orbax.checkpoint as ocp
from etils import epath

from vlp.remote import is_remote


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
    try:
        from orbax.checkpoint._src.path import gcs_utils
        from orbax.checkpoint._src.serialization import tensorstore_utils

        asked, address = tensorstore_utils._use_gcs_driver, gcs_utils.get_kvstore_for_gcs
    except (ImportError, AttributeError) as error:
        raise ValueError(
            f"checkpoints on s3:// need orbax-checkpoint 0.12.8, the installed one is built "
            f"otherwise ({error}); pip install orbax-checkpoint==0.12.8, or give a mounted folder"
        ) from error
    if asked is not _in_a_store:
        tensorstore_utils._use_gcs_driver = _in_a_store
        gcs_utils.get_kvstore_for_gcs = functools.partial(_address, address)


def _in_a_store(directory: str) -> bool:
    return directory.startswith(("gs:/", "s3:/"))


def _address(in_gcs: Callable[[str], dict[str, Any]], path: str) -> dict[str, Any]:
    """Where TensorStore finds a path, in which orbax has made one slash of two."""
    if not path.startswith("s3:/"):
        return in_gcs(path)
    bucket, _, key = path.removeprefix("s3:").lstrip("/").partition("/")
    # As s3fs reads them, for TensorStore does not.
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    # Else it looks for files of credentials first, and logs an error for each that is not there.
    by_environment = {"type": "environment"} if os.environ.get("AWS_ACCESS_KEY_ID") else None
    given = {"endpoint": endpoint, "aws_region": region, "aws_credentials": by_environment}
    given = {name: value for name, value in given.items() if value}
    return {"driver": "s3", "bucket": bucket, "path": key, **given}
