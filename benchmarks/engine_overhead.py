"""What the engine itself costs: microseconds an item spends on one hop between two stages.

Five async stages that do nothing, against the same chain of bare asyncio queues, and against that
chain with what durability takes at least at every hop: a folder made, marked, synced and renamed,
and a transaction of its own in SQLite. All in one run, interleaved, and the medians of the repeats.

    python benchmarks/engine_overhead.py [--quick] [--json] [--dir FOLDER] [--workers N]

Where the folder is decides what syncing costs: a disk takes milliseconds, memory next to nothing.
"""

import argparse
import asyncio
import json
import os
import platform
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from engine import SOURCE, Item, Pipeline, Stage, Step
from engine.config import load_config
from engine.run import run_pipeline

STAGES = 5
QUEUE = 16


def nothing(number: int) -> type[Stage]:
    """A stage that does nothing."""

    async def process(self: Stage, item: Item, out: Path) -> None:
        pass

    return type(f"S{number}", (Stage,), {"process": process})


def engine(folder: Path, items: int, workers: int) -> float:
    """Seconds that the engine takes for all items."""
    stages = [nothing(number) for number in range(STAGES)]
    after = [SOURCE, *(stage.name for stage in stages)]
    steps = [Step(stage, before) for stage, before in zip(stages, after, strict=False)]
    pipeline = Pipeline("overhead", "Five stages that do nothing.", steps)
    options = [
        f"stages.{stage.name}.{option}"
        for stage in stages
        for option in (f"workers={workers}", f"queue={QUEUE}")
    ]
    config = load_config(pipeline, None, {}, ["limits.free_disk=0", *options], {})
    report = run_pipeline(pipeline, config, folder, (f"v{number}" for number in range(items)))
    assert report.items["done"] == items
    return report.seconds


def queues(folder: Path, items: int, workers: int) -> float:
    """Seconds that bare queues take."""
    return asyncio.run(_chain(items, workers, lambda item, stage: None))


def durable_queues(folder: Path, items: int, workers: int) -> float:
    """Seconds that queues take which leave a folder and a row behind at every hop."""
    db = sqlite3.connect(folder / "floor.db", isolation_level=None)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = NORMAL")
    db.execute("CREATE TABLE stages (item TEXT, stage INTEGER, PRIMARY KEY (item, stage))")

    def hop(item: int, stage: int) -> None:
        place = folder / f"v{item}"
        scratch = place / f".{stage}.scratch"
        scratch.mkdir(parents=True)
        (scratch / "mark").write_text("whole")
        for path in (scratch / "mark", scratch):
            _sync(path)
        scratch.rename(place / str(stage))
        _sync(place)
        db.execute("INSERT INTO stages VALUES (?, ?)", (f"v{item}", stage))

    try:
        return asyncio.run(_chain(items, workers, hop))
    finally:
        db.close()


async def _chain(items: int, workers: int, hop: Callable[[int, int], None]) -> float:
    inboxes: list[asyncio.Queue[int | None]] = [asyncio.Queue(QUEUE) for _ in range(STAGES + 1)]

    async def work(stage: int) -> None:
        while (item := await inboxes[stage].get()) is not None:
            hop(item, stage)
            await inboxes[stage + 1].put(item)
        await inboxes[stage].put(None)

    async def pool(stage: int) -> None:
        async with asyncio.TaskGroup() as tasks:
            for _ in range(workers):
                tasks.create_task(work(stage))
        await inboxes[stage + 1].put(None)

    async def source() -> None:
        for number in range(items):
            await inboxes[0].put(number)
        await inboxes[0].put(None)

    began = time.perf_counter()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(source())
        for stage in range(STAGES):
            tasks.create_task(pool(stage))
        while await inboxes[-1].get() is not None:
            pass
    return time.perf_counter() - began


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


CONTENDERS = {"queues": queues, "durable queues": durable_queues, "engine": engine}


def measure(items: int, repeats: int, workers: int, where: Path | None) -> dict[str, list[float]]:
    """Microseconds an item and hop, repeat by repeat, after one repeat to warm up."""
    found: dict[str, list[float]] = {name: [] for name in CONTENDERS}
    for repeat in range(repeats + 1):
        for name, contender in CONTENDERS.items():
            with tempfile.TemporaryDirectory(dir=where) as folder:
                seconds = contender(Path(folder), items, workers)
            if repeat:
                found[name].append(seconds / items / STAGES * 1e6)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="few items; never to be quoted")
    parser.add_argument("--json", action="store_true", help="for machines")
    parser.add_argument("--dir", type=Path, help="where to write; default the temporary folder")
    parser.add_argument("--workers", type=int, default=1, help="workers of each stage")
    arguments = parser.parse_args()
    items, repeats = (50, 1) if arguments.quick else (400, 5)
    found = measure(items, repeats, arguments.workers, arguments.dir)
    medians = {name: statistics.median(values) for name, values in found.items()}
    result: dict[str, Any] = {
        "items": items,
        "stages": STAGES,
        "workers": arguments.workers,
        "repeats": repeats,
        "microseconds_per_hop": medians,
        "range": {name: [min(values), max(values)] for name, values in found.items()},
        "engine_over_durable_queues": medians["engine"] / medians["durable queues"],
        "python": platform.python_version(),
        "cores": os.cpu_count(),
    }
    if arguments.json:
        json.dump(result, sys.stdout, indent=2)
        print()
        return
    print(f"{items} items, {STAGES} stages of {arguments.workers} workers, {repeats} repeats")
    for name, median in medians.items():
        low, high = result["range"][name]
        print(f"{name:15} {median:9.1f} us a hop  [{low:.1f} to {high:.1f}]")
    print(f"the engine takes {result['engine_over_durable_queues']:.2f} times the durable queues")


if __name__ == "__main__":
    main()
