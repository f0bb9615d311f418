"""How fast the model of the engine is, beside the engine itself on a clock that jumps.

    python -m benchmarks.simulation_speed

The same items go through the same five stages, with the same times, 1,000 workers in all. "The
model" is what plans and sweeps ask. "The engine's pools" are those of a run, with their inboxes,
workers and journeys, without ledger and outputs, on an event loop whose clock jumps to whatever
comes next: what a plan would take if it had no model. "The engine's inboxes" are those alone, with
the least that can be done around them. What they come to, the seconds of the clock that jumps, has
to be the same.

A plan asks the model again and again. "A plan" is one of a million items within an hour.
"""

import asyncio
import random
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import anyio

from benchmarks.harness import Figures, finish, parse, parser, ratios, take_turns
from benchmarks.overhead_passing_on import pools
from benchmarks.overhead_stages import QUEUE, STAGES
from benchmarks.results import Measurement, Row, Table, Target
from engine import Item, Stage
from engine.bench.intervals import interval
from engine.bench.model.recorded import RecordedItem, Recording, Service, Visit
from engine.bench.model.simulation import simulate
from engine.bench.plan.footprint import Footprint
from engine.bench.plan.planning import make_plan
from engine.flow.inbox import Closed, Inbox
from tests.virtual_time import run_in_virtual_time

WORKERS = 200
"""Of each stage."""

RECORDED = 1000
"""Items that differ; they come again and again."""

HOUR = 3600.0

SPEED = "items a CPU second"

TIMES = [
    [random.Random(f"{number} {stage}").expovariate(1.0) for stage in range(STAGES)]
    for number in range(RECORDED)
]
"""Seconds of each item in each stage."""


def recording(items: int, *, work: float = 0.0) -> Recording:
    """`items` of them, whose times are waiting but for this share, which is work on a core."""
    names = [f"S{number}" for number in range(STAGES)]
    recorded = [
        RecordedItem(
            f"v{number}",
            {
                name: Visit([Service(seconds * (1 - work), seconds * work)])
                for name, seconds in zip(names, times, strict=True)
            },
        )
        for number, times in enumerate(TIMES)
    ]
    return Recording(
        stages=names,
        predecessors={name: names[max(0, n - 1) : n] for n, name in enumerate(names)},
        queues=dict.fromkeys(names, QUEUE),
        workers=dict.fromkeys(names, WORKERS),
        items=[recorded[number % RECORDED] for number in range(items)],
        cores=64,
    )


def by_the_model(items: int) -> float:
    return simulate(recording(items), {}).seconds


def by_the_pools(items: int) -> float:
    last = 0.0

    async def process(self: Stage, item: Item, out: Path) -> None:
        nonlocal last
        await asyncio.sleep(TIMES[int(item.id[1:]) % RECORDED][int(self.name[1:])])
        last = asyncio.get_running_loop().time()

    pools(items, process, WORKERS, run_in_virtual_time)
    return last


def by_the_inboxes(items: int) -> float:
    async def run() -> float:
        inboxes: list[Inbox[int]] = [Inbox(QUEUE, WORKERS) for _ in range(STAGES)]

        async def work(stage: int) -> None:
            inbox = inboxes[stage]
            while True:
                try:
                    number = inbox.outlet.take_nowait()
                    if number is None:
                        number = await inbox.outlet.take()
                except Closed:
                    return
                assert number is not None
                await asyncio.sleep(TIMES[number % RECORDED][stage])
                if stage + 1 < STAGES:
                    await inboxes[stage + 1].inlet.put(number)
                inbox.outlet.leave()

        async def pool(stage: int) -> None:
            async with anyio.create_task_group() as workers:
                for _ in range(WORKERS):
                    workers.start_soon(work, stage)
            if stage + 1 < STAGES:
                inboxes[stage + 1].inlet.close()

        async with anyio.create_task_group() as tasks:
            for stage in range(STAGES):
                tasks.start_soon(pool, stage)
            for number in range(items):
                await inboxes[0].inlet.put(number)
            inboxes[0].inlet.close()
        return asyncio.get_running_loop().time()

    return run_in_virtual_time(run)


def measured(work: Callable[[int], float], items: int) -> Callable[[], Figures]:
    def turn() -> Figures:
        began = time.process_time()
        came_to = work(items)
        return {SPEED: items / (time.process_time() - began), "comes to s": came_to}

    return turn


def planned() -> Figures:
    """A plan of a million items within an hour, of which a tenth of the time is work."""
    made = recording(RECORDED, work=0.1)
    began = time.process_time()
    plan = make_plan(made, Footprint(), 1_000_000, HOUR)
    seconds = time.process_time() - began
    return {"CPU s": seconds, "workers": float(sum(stage.workers for stage in plan.stages))}


def rows(taken: Mapping[str, Sequence[Figures]]) -> list[Row]:
    model, found = taken["The model"], []
    for name, turns in taken.items():
        figures: dict[str, Any] = {key: interval([t[key] for t in turns]) for key in turns[0]}
        if name != "The model":
            figures["the model's speed, ratio"] = ratios(model, turns, SPEED)
            figures["the model's result, ratio"] = ratios(model, turns, "comes to s")
        found.append(Row(name, figures))
    return found


def main() -> None:
    arguments = parse(parser(__doc__, rounds=3))
    items = 5_000 if arguments.quick else 100_000
    contestants = {
        "The model": measured(by_the_model, items),
        "The engine's inboxes on a clock that jumps": measured(by_the_inboxes, items),
        "The engine's pools on a clock that jumps": measured(by_the_pools, items),
    }
    taken = take_turns(contestants, arguments.rounds, warm_up=0)
    plans = [planned() for _ in range(arguments.rounds)]
    plan = {key: interval([turn[key] for turn in plans]) for key in plans[0]}
    apart = [
        abs(mine["comes to s"] / other["comes to s"] - 1)
        for name, turns in taken.items()
        for mine, other in zip(taken["The model"], turns, strict=True)
        if name != "The model"
    ]
    result = Measurement(
        name="simulation_speed",
        title="The speed of the model of the engine",
        tables=[
            Table(f"{items:,} items, {STAGES} stages of {WORKERS} workers", rows(taken)),
            Table("A million items within an hour", [Row("A plan", plan)]),
        ],
        targets=[
            Target("A plan of a million items within an hour, CPU s", plan["CPU s"], 30.0),
            Target("The model's result and the engine's apart, share", interval(apart), 0.001),
        ],
        rounds=arguments.rounds,
        quick=arguments.quick,
    )
    finish(result, arguments)


if __name__ == "__main__":
    main()
