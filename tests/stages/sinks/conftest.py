"""The database that tests of a session share."""

from collections.abc import Iterator
from itertools import count

import pytest

from tests.stages.sinks.postgres_server import serving_postgres

_numbers = count(1)


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    with serving_postgres() as url:
        yield url


@pytest.fixture
def schema(postgres: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a new schema; DATABASE_URL names the database."""
    monkeypatch.setenv("DATABASE_URL", postgres)
    return f"penstock_{next(_numbers)}"
