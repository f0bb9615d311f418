"""A pool alone, on a clock that jumps: no ledger, no outputs, and nothing after it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import anyio

from engine import SOURCE, Ending, Item, Stage, Step
from engine.flow.attempt import Conclusion, Entry
from engine.flow.journey import Journey
from engine.flow.journey.graph import Graph
from engine.flow.pool import Pool, inbox_for
from engine.gates.capacity import Capacities
from engine.gates.hosts import Gates
from engine.gates.resources import Resources
from engine.ledger.records import AttemptRow
from engine.telemetry.events import Events
from tests.engine.toys import configured, line


@dataclass
class Call:
    """Items that were worked on together, when that began, and when it was over."""

    sources: list[str]
    began: float
    ended: float = 0.0


@dataclass
class Noted:
    """What the stage does: `seconds` a call. `answer` says how an item ends there."""

    seconds: float = 1.0
    key: Callable[[str], str | None] = lambda source: None
    answer: Callable[[str], Ending | None] = lambda source: None
    calls: list[Call] = field(default_factory=list)


class Notes(Stage):
    """Takes its time over what it gets, and notes it."""

    noted: ClassVar[Noted]

    async def process(self, item: Item, out: Path) -> None:
        [answer] = await self.process_batch([item], [out])
        if answer is not None:
            raise answer

    async def process_batch(  # type: ignore[override]
        self, items: list[Item], outs: list[Path]
    ) -> list[Ending | None]:
        call = Call([item.source for item in items], anyio.current_time())
        self.noted.calls.append(call)
        await anyio.sleep(self.noted.seconds)
        call.ended = anyio.current_time()
        return [self.noted.answer(source) for source in call.sources]

    def gate(self, item: Item) -> str | None:
        return self.noted.key(item.source)


class NoOutputs:
    """Outputs that nobody keeps."""

    instant = True

    def open(self, item: Item, stage: str, number: int) -> Path:
        return item.folder

    def commit(self, *_: Any) -> None: ...

    def remove(self, scratch: Path) -> None: ...

    def discard_partial(self, item: Item, stage: str) -> None: ...


class NoRun:
    """What a pool asks of a run. `ended` has the sources of those that have ended, in order."""

    def __init__(self) -> None:
        self.ended: list[tuple[str, str]] = []
        self.changed = anyio.Event()

    def attempt_started(self, item: Item, stage: str, worker: int, attempt: int) -> AttemptRow:
        return AttemptRow(1, 1, item.id, stage, worker, attempt, 0.0)

    async def tried_alone(self, row: AttemptRow) -> None: ...

    async def concluded(self, conclusion: Conclusion) -> None:
        assert conclusion.stop is None
        if conclusion.end is not None:
            self.ended.append((conclusion.journey.item.source, conclusion.end.outcome))
            self.changed.set()
            self.changed = anyio.Event()

    async def expand(self, journey: Journey, produced: Iterable[Item]) -> int:
        raise AssertionError("nothing comes out here")


class LonePool:
    """Made on an event loop: put sources in, and see in `noted` and `run` what became of them."""

    def __init__(self, noted: Noted, capacities: Capacities, *settings: str) -> None:
        stage = type("A", (Notes,), {"name": "a", "noted": noted})
        pipeline = line(Step(stage, SOURCE))
        config = configured(pipeline, *(f"stages.a.{setting}" for setting in settings))
        inbox = inbox_for(config.stages["a"].options, is_root=False, of_parts=False)
        self.noted, self.run, self.inlet = noted, NoRun(), inbox.inlet
        self._graph = Graph(pipeline, {"a": {}})
        self.pool = Pool(
            stage,
            config.stages["a"],
            config.limits,
            Path("nowhere"),
            Gates(capacities, Events()),
            Resources({}),
            Events(),
            self.run,
            NoOutputs(),
            name="a",
            inputs=pipeline.inputs("a"),
            inbox=inbox.outlet,
        )

    async def put(self, source: str) -> None:
        item = Item(source, source, Path("nowhere"))
        journey = Journey(self._graph, item)
        journey.advance()
        await self.inlet.put(Entry(journey))

    async def all_ended(self, many: int) -> None:
        """Return once so many have ended."""
        while len(self.run.ended) < many:
            await self.run.changed.wait()
