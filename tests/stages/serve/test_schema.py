"""Requests made up from the OpenAPI document are answered as that says, and never by an error."""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, seed, settings

from tests.engine.toys import fast_folder, line, toy
from tests.stages.serve.serving import Serving, serving

schemathesis = pytest.importorskip("schemathesis")
checks = pytest.importorskip("schemathesis.checks")

pytestmark = pytest.mark.slow

EXAMPLES = 8

CHECKS = [
    checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
]


@pytest.fixture(scope="module")
def service() -> Iterator[Serving]:
    with fast_folder() as folder, serving(line(toy("a")), folder) as one:
        yield one


def test_what_is_described_is_what_is_done(service: Serving) -> None:
    schema = schemathesis.openapi.from_dict(service.client.get("/openapi.json").json())
    schema.config.update(base_url=str(service.client.base_url).rstrip("/"))
    tried = 0
    for found in schema.get_all_operations():
        operation = found.ok()

        @seed(0)
        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy())
        def answered(case: Any) -> None:
            case.call_and_validate(checks=CHECKS)

        answered()
        tried += 1
    assert tried >= 12
