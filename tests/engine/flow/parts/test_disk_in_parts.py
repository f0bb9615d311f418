"""A disk that is nearly full holds back further parts, as long as something may free some of it."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine import Item
from engine.telemetry.events import DiskLow, Event, PartEntered
from tests.engine.toy_parts import at, cut, gather
from tests.engine.toys import Toy, executions, leftovers, line, query, run_within, toy

SECONDS = 20.0
PIECE = "items/*/c.parts/*/c/value.json"

Disk = Callable[[int], None]


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Disk:
    """Has so many parts fill the disk to its watermark."""
    monkeypatch.setattr("engine.gates.disk.DISK_CHECK_INTERVAL", 0.001)

    def holds(parts: int) -> None:
        class Usage:
            def __init__(self) -> None:
                self.free = 100 * (parts + 1 - len(list(tmp_path.glob(PIECE)))) - 50

        monkeypatch.setattr("shutil.disk_usage", lambda folder: Usage())

    return holds


class Slow(Toy):
    def act(self, item: Item, out: Path) -> Any:
        time.sleep(0.003)
        return super().act(item, out)


@pytest.mark.parametrize("sources", ["a", "abcd"])
def test_a_long_item_waits_with_its_parts_while_others_free_the_disk(
    tmp_path: Path, disk: Disk, sources: str
) -> None:
    disk(3)
    most = 0
    low = 0

    def listen(event: Event) -> None:
        nonlocal most, low
        low += isinstance(event, DiskLow)
        if isinstance(event, PartEntered):
            most = max(most, len(list(tmp_path.glob(PIECE))))

    cuts = dict.fromkeys(sources, 30)
    steps = [toy("w"), cut("c", "w", cuts=cuts), at("c", "f", base=Slow), gather("g", "f")]
    settings = ["stages.c.keep=false", "stages.c.workers=2", "stages.f.queue=20"]
    report = run_within(
        SECONDS,
        line(*steps),
        tmp_path,
        list(sources),
        *settings,
        "limits.free_disk=50",
        listen=listen,
    )
    assert report.items["done"] == len(sources)
    assert low
    assert most <= 3 + 2  # each worker may have found room for the same one
    assert set(executions(tmp_path).values()) == {1}


def test_parts_that_nothing_frees_stop_the_run_and_are_kept(tmp_path: Path, disk: Disk) -> None:
    disk(3)
    cuts = dict.fromkeys("abc", 9)
    steps = [cut("c", cuts=cuts), cut("d", "c", each="c"), at("d", "f"), gather("g", "d")]
    settings = ["stages.c.queue=1", "stages.d.queue=1", "limits.free_disk=50"]
    report = run_within(SECONDS, line(*steps), tmp_path, list("abc"), *settings)
    assert (report.outcome, report.exit_code) == ("stopped", 3)
    assert report.why is not None
    assert "nearly full" in report.why
    assert report.items["failed"] == 0
    assert leftovers(tmp_path) == []
    made = query(tmp_path, "SELECT count(*) FROM items WHERE split = 'c'")[0][0]
    assert made >= 4
    disk(1000)
    report = run_within(SECONDS, line(*steps), tmp_path, list("abc"), *settings)
    assert report.items["done"] == 3
    made_again = [
        id_
        for (stage, id_), times in executions(tmp_path).items()
        if times > 1 and id_.rpartition("/")[0].endswith(f"{stage}.parts")
    ]
    assert made_again == []
