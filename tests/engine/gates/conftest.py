"""Events, and the clock that gates go by."""

from collections.abc import Mapping
from typing import Any

import pytest

from engine.telemetry.events import Event, Events
from tests.virtual_time import BACKEND


@pytest.fixture
def anyio_backend() -> tuple[str, Mapping[str, Any]]:
    return BACKEND


@pytest.fixture
def events() -> Events:
    return Events()


@pytest.fixture
def told(events: Events) -> list[Event]:
    told: list[Event] = []
    events.subscribe(told.append)
    return told
