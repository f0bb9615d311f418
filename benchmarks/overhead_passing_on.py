"""Passing items on through five stages that do nothing: the engine's pools, plain queues, SPDL.

Without ledger and outputs: the pools, inboxes and journeys of a run, against a chain of asyncio
queues, of anyio streams, and SPDL's pipeline.
"""

import asyncio
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from benchmarks.harness import Contestant
from benchmarks.overhead_stages import HOP, QUEUE, STAGES, configured, stages_of
from engine import Item, Stage
from engine.flow.attempt import Conclusion, Entry
from engine.flow.inbox import Inlet
from engine.flow.journey import Journey
from engine.flow.journey.graph import Graph
from engine.flow.pool import Pool, inbox_for
from engine.gates.capacity import Capacities
from engine.gates.hosts import Gates
from engine.gates.resources import Resources
from engine.ledger.outputs.drafts import Handing
from engine.ledger.records import AttemptRow
from engine.telemetry.events import Events
from engine.workers.result import Items


def queues(items: int) -> float:
    """Seconds that a chain of asyncio queues takes."""

    async def chain() -> float:
        inboxes: list[asyncio.Queue[int | None]] = [asyncio.Queue(QUEUE) for _ in range(STAGES + 1)]

        async def work(stage: int) -> None:
            while (item := await inboxes[stage].get()) is not None:
                await inboxes[stage + 1].put(item)
            await inboxes[stage + 1].put(None)

        async def source() -> None:
            for number in range(items):
                await inboxes[0].put(number)
            await inboxes[0].put(None)

        began = time.perf_counter()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(source())
            for stage in range(STAGES):
                tasks.create_task(work(stage))
            while await inboxes[-1].get() is not None:
                pass
        return time.perf_counter() - began

    return asyncio.run(chain())


def streams(items: int) -> float:
    """Seconds that a chain of anyio's memory streams takes."""

    async def work(
        before: MemoryObjectReceiveStream[int], after: MemoryObjectSendStream[int]
    ) -> None:
        async with before, after:
            async for item in before:
                await after.send(item)

    async def source(after: MemoryObjectSendStream[int]) -> None:
        async with after:
            for number in range(items):
                await after.send(number)

    async def chain() -> float:
        began = time.perf_counter()
        async with anyio.create_task_group() as tasks:
            first, before = anyio.create_memory_object_stream[int](QUEUE)
            tasks.start_soon(source, first)
            for _ in range(STAGES):
                send, receive = anyio.create_memory_object_stream[int](QUEUE)
                tasks.start_soon(work, before, send)
                before = receive
            async with before:
                async for _ in before:
                    pass
        return time.perf_counter() - began

    return anyio.run(chain)


async def _pass_on(item: int) -> int:
    return item


def _pass_on_in_a_thread(item: int) -> int:
    return item


def peer(items: int, operation: Callable[[int], Any], workers: int) -> float:
    """Seconds that SPDL's pipeline takes."""
    from spdl.pipeline import PipelineBuilder

    builder = PipelineBuilder().add_source(range(items))
    for _ in range(STAGES):
        builder.pipe(operation, concurrency=workers)
    pipeline = builder.add_sink(QUEUE).build(num_threads=STAGES * workers)
    began = time.perf_counter()
    with pipeline.auto_stop():
        assert sum(1 for _ in pipeline.get_iterator(timeout=120)) == items
    return time.perf_counter() - began


class NoOutputs:
    """Outputs that nobody keeps."""

    instant = True

    def open(self, item: Item, stage: str, number: int) -> Path:
        return item.folder

    def commit(
        self, item: Item, stage: str, scratch: Path, fingerprint: str, *_: int | None
    ) -> None:
        pass

    def remove(self, scratch: Path) -> None:
        pass

    def discard_partial(self, item: Item, stage: str) -> None:
        pass


class NoLedger:
    """What pools ask of a run, without a ledger: items go from pool to pool by their journeys."""

    def __init__(self, items: int) -> None:
        self.inlets: dict[str, Inlet[Entry]] = {}
        self._left = items
        self._row = AttemptRow(1, 1, "", "", 1, 1, 0.0)

    def attempt_started(self, item: Item, stage: str, worker: int, attempt: int) -> AttemptRow:
        return self._row

    async def tried_alone(self, row: AttemptRow, alone: bool) -> None:
        raise AssertionError("nothing is under suspicion here")

    async def concluded(self, conclusion: Conclusion) -> None:
        assert conclusion.end is not None, "nothing fails here"
        journey = conclusion.journey
        change = journey.advance(conclusion.end)
        for name in change.entering:
            await self.inlets[name].put(Entry(journey))
        if change.outcome is not None:
            self._left -= 1
            if not self._left:
                for inlet in self.inlets.values():
                    inlet.close()

    async def splitting(self, journey: Journey, step: str, fingerprint: str) -> Handing:
        raise AssertionError("nothing is split here")

    async def expand(self, journey: Journey, produced: Items) -> int:
        raise AssertionError("nothing comes out here")


async def _nothing(self: Stage, item: Item, out: Path) -> None:
    pass


def _nothing_in_a_thread(self: Stage, item: Item, out: Path) -> None:
    pass


def pools(
    items: int,
    process: Callable[..., Any],
    workers: int,
    execute: Callable[..., float] = anyio.run,
) -> float:
    """Seconds that the engine's pools take, without ledger and outputs, on an event loop that
    `execute` makes."""
    pipeline = stages_of(process)
    config = configured(pipeline, workers)
    folder = Path("nowhere")

    async def run() -> float:
        events, graph, hooks = Events(), Graph(pipeline, {}), NoLedger(items)
        gates = Gates(Capacities(), events)
        made = []
        for name in pipeline.names:
            options = config.stages[name].options
            inbox = inbox_for(options, is_root=name in pipeline.roots, of_parts=False)
            hooks.inlets[name] = inbox.inlet
            made.append(
                Pool(
                    pipeline[name].stage,
                    config.stages[name],
                    config.limits,
                    folder,
                    gates,
                    Resources({}),
                    events,
                    hooks,
                    NoOutputs(),
                    name=name,
                    inputs=pipeline.inputs(name),
                    inbox=inbox.outlet,
                )
            )
        began = time.perf_counter()
        async with anyio.create_task_group() as tasks:
            for pool in made:
                tasks.start_soon(pool.run)
            for number in range(items):
                journey = Journey(graph, Item(f"v{number}", f"v{number}", folder))
                for name in journey.advance().entering:
                    await hooks.inlets[name].put(Entry(journey))
        return time.perf_counter() - began

    return execute(run)


def passing_on(items: int, workers: int, notes: list[str]) -> dict[str, Contestant]:
    """All of these take the same items through five stages that do nothing."""
    contestants: dict[str, Callable[[], float]] = {
        "Penstock, async stages": lambda: pools(items, _nothing, workers),
        "Penstock, stages in threads": lambda: pools(items, _nothing_in_a_thread, workers),
        "asyncio.Queue alone": lambda: queues(items),
        "anyio memory streams alone": lambda: streams(items),
    }
    try:
        metadata.version("spdl-core")
    except metadata.PackageNotFoundError:
        notes.append("SPDL is not installed, so it is left out (pip install spdl).")
    else:
        few = max(items // 4, 1)  # it takes so much longer
        contestants |= {
            "SPDL, async stages": lambda: peer(few, _pass_on, workers) * items / few,
            "SPDL, stages in threads": lambda: (
                peer(few, _pass_on_in_a_thread, workers) * items / few
            ),
        }
    return {name: _hops(turn, items) for name, turn in contestants.items()}


def _hops(turn: Callable[[], float], items: int) -> Contestant:
    return lambda: {HOP: turn() / items / STAGES * 1e6}
