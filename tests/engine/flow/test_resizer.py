"""`workers = "auto"` in whole runs: what grows and what does not, and what a person is told."""

import hashlib
import re
import threading
import time
from pathlib import Path
from typing import Any

import anyio
import pytest

from engine import Item
from engine.flow import resizer
from engine.flow.run import Run
from engine.telemetry.events import AttemptStarted, Event, PoolResized, Stopping
from tests.engine.toys import GatedLoopToy, LoopToy, Toy, line, run, run_within, toy, until

pytestmark = pytest.mark.alone

AUTO = "stages.a.workers=auto"


@pytest.fixture
def quick_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks every few milliseconds, so that a run of a second has many."""
    monkeypatch.setattr(resizer, "pause_before_next", lambda calm: 0.01)


class Waits(LoopToy):
    """Each item takes 50 ms and no processor time."""

    async def process(self, item: Item, out: Path) -> Any:
        await anyio.sleep(0.05)
        return self.act(item, out)


class WaitsAtGate(GatedLoopToy):
    process = Waits.process


def resizes(events: list[Event], stage: str = "a") -> list[tuple[int, int]]:
    return [
        (event.before, event.after)
        for event in events
        if isinstance(event, PoolResized) and event.stage == stage
    ]


@pytest.mark.usefixtures("quick_looks")
def test_a_saturated_pool_doubles_and_says_why_and_a_fixed_one_stays(tmp_path: Path) -> None:
    events: list[Event] = []
    pipeline = line(toy("a", base=Waits), toy("b", "a", base=Waits))
    sources = [str(number) for number in range(150)]
    run_within(60, pipeline, tmp_path, sources, AUTO, "stages.b.workers=3", listen=events.append)
    assert resizes(events)[:2] == [(1, 2), (2, 4)]
    assert resizes(events, "b") == []
    first = next(event for event in events if isinstance(event, PoolResized))
    assert re.fullmatch("its worker was at work, and [1-8] of 8 waited", first.why)


@pytest.mark.usefixtures("quick_looks")
@pytest.mark.parametrize("limit", ["limits.concurrency=2", "limits.rate=40"])
def test_a_gate_bounds_the_growth(tmp_path: Path, limit: str) -> None:
    """Two at once, and 40 a second of 50 ms each, are two at work."""
    events: list[Event] = []
    sources = [f"{number}@host" for number in range(60)]
    run_within(
        60, line(toy("a", base=WaitsAtGate)), tmp_path, sources, AUTO, limit, listen=events.append
    )
    assert max(after for _, after in resizes(events)) <= 4


@pytest.mark.usefixtures("quick_looks")
def test_a_stages_own_maximum_holds(tmp_path: Path) -> None:
    events: list[Event] = []
    sources = [str(number) for number in range(40)]
    pipeline = line(toy("a", base=Waits, max_workers=3))
    run_within(60, pipeline, tmp_path, sources, AUTO, listen=events.append)
    assert resizes(events) == [(1, 2), (2, 3)]


class Slow(LoopToy):
    """Every item takes many looks."""

    async def process(self, item: Item, out: Path) -> Any:
        await anyio.sleep(0.3)
        return self.act(item, out)


@pytest.mark.usefixtures("quick_looks")
def test_a_run_that_drains_resizes_nothing_more(tmp_path: Path) -> None:
    """Its inbox is full and its worker at work all the while, which else would make it grow."""
    events: list[Event] = []
    pipeline = line(toy("a", base=Slow))

    def prepare(run: Run) -> list[Any]:
        async def drain() -> None:
            await until(lambda: run.pools["a"].statistics().waiting == 8)
            run.drain("interrupted", "told to")

        return [drain]

    run(pipeline, tmp_path, [str(n) for n in range(30)], AUTO, listen=events.append,
        prepare=prepare)  # fmt: skip
    stopping = next(place for place, event in enumerate(events) if isinstance(event, Stopping))
    assert resizes(events[stopping:]) == []


@pytest.mark.usefixtures("quick_looks")
def test_a_rerun_that_finds_everything_done_resizes_nothing(tmp_path: Path) -> None:
    sources = [str(number) for number in range(300)]
    pipeline = line(toy("a", base=Toy))
    run_within(60, pipeline, tmp_path, sources, AUTO)
    events: list[Event] = []
    report = run_within(60, pipeline, tmp_path, sources, AUTO, listen=events.append)
    assert report.items["reused"] == 300
    assert resizes(events) == []


@pytest.mark.skipif(not Path("/proc/self/schedstat").exists(), reason="only Linux says so")
def test_threads_that_compute_are_told_from_those_that_wait() -> None:
    times = resizer.ThreadTimes()
    started, end = threading.Barrier(3), threading.Event()

    def compute() -> None:
        started.wait()
        while not end.is_set():
            sum(range(1000))

    def wait() -> None:
        started.wait()
        end.wait()

    threads = [
        threading.Thread(target=compute, name="penstock-two-words-1"),
        threading.Thread(target=wait, name="penstock-idle-1"),
    ]
    for thread in threads:
        thread.start()
    try:
        started.wait()
        times.since_last()
        clock = time.monotonic()
        while time.monotonic() - clock < 0.3:
            hashlib.sha256(bytes(1_000_000))  # lets go of the interpreter's lock
        seconds = time.monotonic() - clock
        found = times.since_last()
    finally:
        end.set()
        for thread in threads:
            thread.join()
    assert found is not None
    assert found["two-words"] > 0.5 * seconds
    assert found["idle"] < 0.1 * seconds
    assert times.since_last() == {}


class SlowToOpen(Waits):
    """Stands for a stage that loads a model."""

    async def open(self) -> None:
        await anyio.sleep(0.3)


@pytest.mark.usefixtures("quick_looks")
def test_a_pool_that_still_opens_does_not_grow(tmp_path: Path) -> None:
    events: list[Event] = []
    grown_before_open: list[Event] = []

    def listen(event: Event) -> None:
        events.append(event)
        if isinstance(event, PoolResized) and not any(
            isinstance(earlier, AttemptStarted) for earlier in events
        ):
            grown_before_open.append(event)

    sources = [str(number) for number in range(40)]
    run_within(60, line(toy("a", base=SlowToOpen)), tmp_path, sources, AUTO, listen=listen)
    assert grown_before_open == []
    assert resizes(events)
