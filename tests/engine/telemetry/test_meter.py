"""The time that tasks spend inside a meter."""

import pytest

from engine.telemetry import meter
from engine.telemetry.meter import Meter


def test_a_task_that_has_left_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 1.0, 3.0, 8.0, 9.0, 20.0])
    monkeypatch.setattr(meter.time, "monotonic", lambda: next(clock))
    busy = Meter()  # made at 0
    with busy, busy.left():  # from 1, but for 3 to 8
        pass
    assert busy.seconds == 3.0  # until 9
