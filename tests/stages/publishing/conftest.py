"""The object stores that tests of a session share."""

from tests.stages.store.conftest import azure, bucket, keys, s3

__all__ = ["azure", "bucket", "keys", "s3"]
