"""A run with items that kill it: python -m … KIND WORKDIR ATTEMPTS. It prints its events' names."""

import importlib
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from engine import Item, Step
from engine.flow.opening import run_pipeline
from engine.telemetry.events import AttemptEnded, AttemptStarted, Event, Events
from tests.engine.toys import LoopToy, Toy, configured, line, note, toy

ITEMS = [f"v{number}" for number in range(8)]
EXITS, KILLS, SHY = "v2", "v5", "v0"
"""Two that always end what they run in, and one that does so the first time, as if by chance."""


def act(workdir: Path, item: Item) -> None:
    note(workdir / "begun", f"{item.source} {os.getpid()}")
    if item.source == EXITS:
        os._exit(9)
    if item.source == KILLS:
        os.kill(os.getpid(), signal.SIGKILL)
    if item.source == SHY and not (workdir / "was shy").exists():
        (workdir / "was shy").touch()
        os._exit(9)


class Deadly(Toy):
    """In a thread; a process can import it. The two wait until the one has been shy: had a run died
    of them just before that, it would be shy when it is tried alone, and be blamed for it."""

    name = "deadly"

    def act(self, item: Item, out: Path) -> Any:
        while item.source in (EXITS, KILLS) and not (self.workdir / "was shy").exists():
            time.sleep(0.001)
        act(self.workdir, item)
        return super().act(item, out)


class DeadlyLoop(LoopToy):
    """On the event loop."""

    name = "deadly"

    async def process(self, item: Item, out: Path) -> Any:
        act(self.workdir, item)
        return await super().process(item, out)


def noting_in_hand(workdir: Path) -> Callable[[Event], None]:
    """A listener that notes each attempt as it begins, with the number of those in hand then."""
    in_hand = 0

    def listen(event: Event) -> None:
        nonlocal in_hand
        if isinstance(event, AttemptStarted):
            in_hand += 1
            note(workdir / "in hand", f"{event.stage} {event.item} {in_hand}")
        if isinstance(event, AttemptEnded):
            in_hand -= 1

    return listen


def main(kind: str, workdir: str, attempts: str) -> None:
    found: type[Toy] = importlib.import_module("tests.engine.killer_command").Deadly
    steps = {
        "module": Step(found, after="first"),
        "process": Step(found, after="first"),
        "nowhere": toy("deadly", "first", base=Deadly),  # made here, so no process finds it
        "loop": toy("deadly", "first", base=DeadlyLoop),
    }
    pipeline = line(toy("first"), steps[kind], toy("last", "deadly"))
    settings = ["stages.deadly.workers=2", f"stages.deadly.attempts={attempts}"]
    if kind == "process":
        settings.append("stages.deadly.placement=process")
    events = Events()
    events.subscribe(noting_in_hand(Path(workdir)))
    report = run_pipeline(
        pipeline, configured(pipeline, *settings), Path(workdir), ITEMS, events=events
    )
    assert report.discrepancies == [], report.discrepancies
    sys.exit(report.exit_code)


if __name__ == "__main__":
    main(*sys.argv[1:])
