"""The object stores that tests of a session share."""

from collections.abc import Iterator
from itertools import count

import pytest

from tests.stages.store.servers import (
    AZURE_KEY,
    S3_KEYS,
    make_bucket,
    serving_azure,
    serving_s3,
)

_numbers = count(1)


@pytest.fixture(scope="session")
def s3() -> Iterator[str]:
    with serving_s3() as url:
        yield url


@pytest.fixture(scope="session")
def azure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving_azure(tmp_path_factory.mktemp("azurite")) as url:
        yield url


@pytest.fixture
def bucket(s3: str, keys: None) -> str:
    """The name of a new bucket."""
    name = f"bucket-{next(_numbers)}"
    make_bucket(s3, name)
    return name


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**S3_KEYS, "AZURE_STORAGE_ACCOUNT_KEY": AZURE_KEY}.items():
        monkeypatch.setenv(name, value)
