"""Room on the disk, waited for while something may free it."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from engine import StopRun
from engine.gates.disk import DiskGate
from engine.telemetry.events import DiskLow, DiskRecovered, Event, Events

pytestmark = pytest.mark.anyio


class Disk(DiskGate):
    """A disk of which the test says how much is free, look by look."""

    def __init__(self, frees: Sequence[int], watermark: int, events: Events) -> None:
        super().__init__(Path(), watermark, events)
        self.frees = list(frees)

    def free(self) -> int:
        return self.frees.pop(0) if len(self.frees) > 1 else self.frees[0]


async def test_enough_room_is_no_event(events: Events, told: list[Event]) -> None:
    await Disk([100], 100, events).wait_for_room(lambda: False)
    await Disk([0], 0, events).wait_for_room(lambda: False)
    assert told == []


async def test_a_full_disk_is_waited_for_while_something_may_free_it(
    events: Events, told: list[Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.gates.disk.DISK_CHECK_INTERVAL", 0.001)
    await Disk([5, 5, 5, 20], 10, events).wait_for_room(lambda: True)
    assert told == [DiskLow(5, 10), DiskRecovered(20)]


async def test_a_full_disk_that_nothing_frees_stops_the_run(events: Events) -> None:
    with pytest.raises(StopRun, match="nearly full") as stop:
        await Disk([5], 10, events).wait_for_room(lambda: False)
    assert "free some and run again" in str(stop.value)


def test_what_is_free_is_the_disks_own_figure(tmp_path: Path, events: Events) -> None:
    free = DiskGate(tmp_path, 1, events).free()
    assert free == pytest.approx(shutil.disk_usage(tmp_path).free, rel=0.2)
