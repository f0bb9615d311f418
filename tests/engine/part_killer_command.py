"""A run with parts that kill it: python -m … KIND WORKDIR ATTEMPTS.

KIND is WHO-WHERE: a `part` kills the run in its step, or a `splitter` when it makes that part; in a
thread whose stage a process can import (`module`), one that it cannot (`nowhere`), or on the event
loop (`loop`).
"""

import importlib
import os
import signal
import sys
from pathlib import Path
from typing import Any

from engine import Item, Step
from engine.flow.opening import run_pipeline
from engine.telemetry.events import Events
from tests.engine.killer_command import noting_in_hand
from tests.engine.toy_parts import Cutter, LoopCutter, at, cut, gather
from tests.engine.toys import LoopToy, Toy, called, configured, line, toy

ITEMS = [f"v{number}" for number in range(4)]
PARTS = 5
KILLER = "v1/2"
"""The part with which the run dies, each time."""


def kill_with(item: Item) -> None:
    if called(item) == KILLER:
        os.kill(os.getpid(), signal.SIGKILL)


class Deadly(Toy):
    """In a thread; a process can import it."""

    name = "deadly"
    optional_inputs = ("cut",)

    def act(self, item: Item, out: Path) -> Any:
        kill_with(item)
        return super().act(item, out)


class DeadlyLoop(LoopToy):
    """On the event loop."""

    name = "deadly"

    async def process(self, item: Item, out: Path) -> Any:
        kill_with(item)
        return await super().process(item, out)


class DeadlyCutter(Cutter):
    name = "cut"
    optional_inputs = ("first",)

    def many(self, item: Item) -> int:
        return PARTS

    def write(self, item: Item, position: int, folder: Path) -> None:
        kill_with(item.part("cut", position))
        super().write(item, position, folder)


class DeadlyLoopCutter(LoopCutter):
    name = "cut"
    many = DeadlyCutter.many

    def write(self, item: Item, position: int, folder: Path) -> None:
        kill_with(item.part("cut", position))
        super().write(item, position, folder)


def steps(kind: str) -> tuple[Step, Step]:
    """The step that splits, and the step at the parts."""
    # Found by its own name, not as __main__: so a process can import it.
    module = importlib.import_module("tests.engine.part_killer_command")
    who, _, where = kind.partition("-")
    many = dict.fromkeys(ITEMS, PARTS)
    if who == "part":
        deadly = {
            "module": Step(module.Deadly, after="cut", each="cut"),
            "nowhere": at("cut", "deadly", base=Deadly),
            "loop": at("cut", "deadly", base=DeadlyLoop),
        }
        return cut("cut", "first", cuts=many), deadly[where]
    cutters = {
        "module": Step(module.DeadlyCutter, after="first"),
        "nowhere": cut("cut", "first", base=DeadlyCutter, cuts=many),
        "loop": cut("cut", "first", base=DeadlyLoopCutter, cuts=many),
    }
    return cutters[where], at("cut", "deadly")


def main(kind: str, workdir: str, attempts: str) -> None:
    splitting, deadly = steps(kind)
    pipeline = line(toy("first"), splitting, deadly, gather("last", "deadly"))
    tries = [f"stages.{name}.attempts={attempts}" for name in ("cut", "deadly")]
    workers = ["stages.deadly.workers=2", "stages.cut.workers=2", "stages.cut.most_failed=1"]
    events = Events()
    events.subscribe(noting_in_hand(Path(workdir)))
    config = configured(pipeline, *tries, *workers)
    report = run_pipeline(pipeline, config, Path(workdir), ITEMS, events=events)
    assert report.discrepancies == [], report.discrepancies
    sys.exit(report.exit_code)


if __name__ == "__main__":
    main(*sys.argv[1:])
