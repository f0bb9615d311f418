"""What a stage does in a thread, on the run's event loop."""

import asyncio
import threading
from pathlib import Path

import anyio
import pytest

from engine import (
    SOURCE,
    Cancelled,
    Item,
    Pipeline,
    Stage,
    Step,
    has_run_loop,
    load_config,
    on_run_loop,
    run_pipeline,
)
from engine.workers.call_thread import CallThread


async def this_loop() -> asyncio.AbstractEventLoop:
    return asyncio.get_running_loop()


async def fails() -> None:
    raise ValueError("on the loop")


met: set[asyncio.AbstractEventLoop] = set()


class Meeting(Stage):
    """Meet the run's event loop."""

    inputs = ()

    def open(self) -> None:
        met.add(on_run_loop(this_loop))

    def process(self, item: Item, out: Path) -> None:
        assert has_run_loop()
        met.add(on_run_loop(this_loop))
        with pytest.raises(ValueError, match="on the loop"):
            on_run_loop(fails)

    def close(self) -> None:
        met.add(on_run_loop(this_loop))


def test_all_workers_of_a_run_have_one_loop(tmp_path: Path) -> None:
    met.clear()
    meeting = Pipeline("meeting", "Meet.", [Step(Meeting, SOURCE)])
    config = load_config(meeting, None, {}, ["stages.meeting.workers=2"], {})
    assert run_pipeline(meeting, config, tmp_path, ["a", "b"]).items["done"] == 2
    assert len(met) == 1
    assert not has_run_loop()
    assert on_run_loop(this_loop) not in met


def test_the_end_of_the_run_ends_the_wait() -> None:
    entered, closed, over = threading.Event(), threading.Event(), threading.Event()
    told: list[str] = []

    async def forever() -> None:
        entered.set()
        await anyio.sleep_forever()

    def waits() -> None:
        with pytest.raises(Cancelled):
            on_run_loop(forever)
        told.append("as the loop ended")
        closed.wait(20)
        with pytest.raises(Cancelled):
            on_run_loop(this_loop)
        told.append("after it")
        over.set()

    async def main() -> None:
        CallThread("waits").begin(waits)
        await anyio.to_thread.run_sync(entered.wait)

    anyio.run(main)
    closed.set()
    over.wait(20)
    assert told == ["as the loop ended", "after it"]
