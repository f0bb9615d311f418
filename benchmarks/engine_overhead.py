"""What the engine itself costs, beside what others take to pass items on, and bare file operations.

Three questions, each with its contestants in turns:

- Microseconds an item a stage, five stages that do nothing, without ledger and outputs: the pools,
  inboxes and journeys of a run, against a chain of asyncio queues, of anyio streams, and SPDL.
- The same with ledger and outputs, five stages that each write one small file, against the file
  operations alone: make a folder, write two small files (the engine adds its mark to the stage's),
  rename it; with each of them brought to the disk, and without.
- Memory and open files of whole runs with ledger and outputs, of few items and of many: what the
  runs' processes hold, not their folders.

Every stage has `--workers` workers and a queue of 16.
"""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from argparse import Namespace
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from benchmarks.harness import Contestant, Figures, finish, parse, parser, ratios, table, take_turns
from benchmarks.results import Result, Table, Target
from engine import SOURCE, Item, Pipeline, Stage, Step, StopRun
from engine.config import Config, load_config
from engine.events import Event, Events, ItemEnded
from engine.intervals import interval
from engine.journal import AttemptRow, Failure
from engine.journey import End, Graph, Journey
from engine.limits import Gates
from engine.parking import Entry
from engine.pool import Pool
from engine.run import run_pipeline

STAGES = 5
QUEUE = 16
HOP = "us an item a stage"
CONTENT = "x" * 40
FEW, MANY = 1_000, 100_000
LOOKS = 1_000
"""How often open files are counted: as often for many items as for few."""


# Without ledger and outputs


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


def stages_of(process: Callable[..., Any]) -> Pipeline:
    """Five stages in a row whose `process` is this."""
    stages = [type(f"S{number}", (Stage,), {"process": process}) for number in range(STAGES)]
    after = [SOURCE, *(stage.name for stage in stages)]
    steps = [Step(stage, before) for stage, before in zip(stages, after, strict=False)]
    return Pipeline("overhead", "Five stages that do next to nothing.", steps)


def configured(pipeline: Pipeline, workers: int, *, sync: bool = True) -> Config:
    given = ["limits.free_disk=0", f"limits.sync={str(sync).lower()}"]
    for name in pipeline.names:
        given += [f"stages.{name}.workers={workers}", f"stages.{name}.queue={QUEUE}"]
    return load_config(pipeline, None, {}, given, {})


class NoOutputs:
    """Outputs that nobody keeps."""

    instant = True

    def open(self, item: Item, stage: str, number: int) -> Path:
        return item.folder

    def commit(
        self, item: Item, stage: str, scratch: Path, fingerprint: str, expanded: int | None
    ) -> None:
        pass

    def remove(self, scratch: Path) -> None:
        pass

    def discard_partial(self, item: Item, stage: str) -> None:
        pass


class NoLedger:
    """What pools ask of a run, without a ledger: items go from pool to pool by their journeys."""

    def __init__(self, items: int) -> None:
        self.pools: dict[str, Pool] = {}
        self._left = items
        self._row = AttemptRow(1, 1, "", "", 1, 1, 0.0)

    def attempt_started(self, item: Item, stage: str, worker: int, attempt: int) -> AttemptRow:
        return self._row

    def attempt_ended(self, row: AttemptRow, outcome: str, failure: Failure | None) -> None:
        raise AssertionError("nothing fails here")

    async def settled(
        self,
        journey: Journey,
        stage: str,
        end: End,
        row: AttemptRow,
        failure: Failure | None,
    ) -> None:
        journey.settle(stage, end)
        step = journey.advance()
        for name in step.entering:
            await self.pools[name].inbox.put(Entry(journey))
        if step.outcome is not None:
            self._left -= 1
            if not self._left:
                for pool in self.pools.values():
                    pool.inbox.close()

    async def expand(self, journey: Journey, produced: Iterable[Item]) -> int:
        raise AssertionError("nothing comes out here")

    def stop(self, why: StopRun) -> None:
        raise why


async def _nothing(self: Stage, item: Item, out: Path) -> None:
    pass


def _nothing_in_a_thread(self: Stage, item: Item, out: Path) -> None:
    pass


def pools(items: int, process: Callable[..., Any], workers: int) -> float:
    """Seconds that the engine's pools take, without ledger and outputs."""
    pipeline = stages_of(process)
    config = configured(pipeline, workers)
    folder = Path("nowhere")

    async def run() -> float:
        events, graph, hooks = Events(), Graph(pipeline, {}), NoLedger(items)
        gates = Gates(0, 0, events)
        for name in pipeline.names:
            hooks.pools[name] = Pool(
                pipeline[name].stage,
                config.stages[name],
                config.limits,
                folder,
                gates,
                events,
                hooks,
                NoOutputs(),
                name=name,
                inputs=pipeline.inputs(name),
                is_root=name in pipeline.roots,
            )
        began = time.perf_counter()
        async with anyio.create_task_group() as tasks:
            for pool in hooks.pools.values():
                tasks.start_soon(pool.run)
            for number in range(items):
                journey = Journey(graph, Item(f"v{number}", f"v{number}", folder))
                for name in journey.advance().entering:
                    await hooks.pools[name].inbox.put(Entry(journey))
        return time.perf_counter() - began

    return anyio.run(run)


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


# With ledger and outputs


def _write(out: Path) -> None:
    with open(f"{out}/result", "w") as file:  # noqa: PTH123 - as bare as can be
        file.write(CONTENT)


def _small_file(self: Stage, item: Item, out: Path) -> None:
    _write(out)


async def _small_file_on_the_loop(self: Stage, item: Item, out: Path) -> None:
    _write(out)


def whole_run(
    process: Callable[..., Any], items: int, workers: int, folder: Path, *, sync: bool
) -> float:
    """Seconds that a whole run takes, from its beginning to its audit."""
    pipeline = stages_of(process)
    config = configured(pipeline, workers, sync=sync)
    began = time.perf_counter()
    report = run_pipeline(pipeline, config, folder, (f"v{number}" for number in range(items)))
    seconds = time.perf_counter() - began
    assert report.items["done"] == items
    assert not report.discrepancies
    return seconds


def bare(items: int, threads: int, folder: Path, *, sync: bool) -> float:
    """Seconds that the file operations of as many outputs take, from this many threads."""

    def outputs(number: int) -> None:
        for item in range(number, items, threads):
            place = f"{folder}/{item}"
            os.mkdir(place)  # noqa: PTH102
            for stage in range(STAGES):
                _bare_output(place, stage, sync=sync)

    began = time.perf_counter()
    started = [threading.Thread(target=outputs, args=[number]) for number in range(threads)]
    for thread in started:
        thread.start()
    for thread in started:
        thread.join()
    return time.perf_counter() - began


def _bare_output(place: str, stage: int, *, sync: bool) -> None:
    scratch = f"{place}/.{stage}"
    os.mkdir(scratch)  # noqa: PTH102
    for name in ("result", "mark"):
        with open(f"{scratch}/{name}", "w") as file:  # noqa: PTH123
            file.write(CONTENT)
            if sync:
                file.flush()
                os.fsync(file.fileno())
    if sync:
        _sync(scratch)
    os.rename(scratch, f"{place}/{stage}")  # noqa: PTH104
    if sync:
        _sync(place)


def _sync(folder: str) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def writing(items: int, workers: int, where: Path | None, *, sync: bool) -> dict[str, Contestant]:
    """All of these leave five small outputs of each item behind."""
    threads = STAGES * workers
    turns: dict[str, Callable[[Path], float]] = {
        "Penstock, stages in threads": lambda folder: whole_run(
            _small_file, items, workers, folder, sync=sync
        ),
        "Penstock, async stages": lambda folder: whole_run(
            _small_file_on_the_loop, items, workers, folder, sync=sync
        ),
        "bare file operations, one after the other": lambda folder: bare(
            items, 1, folder, sync=sync
        ),
        f"bare file operations, {threads} threads": lambda folder: bare(
            items, threads, folder, sync=sync
        ),
    }

    def in_a_folder(turn: Callable[[Path], float]) -> Contestant:
        def take() -> Figures:
            with tempfile.TemporaryDirectory(dir=where) as folder:
                return {HOP: turn(Path(folder)) / items / STAGES * 1e6}

        return take

    return {name: in_a_folder(turn) for name, turn in turns.items()}


# Memory and open files


def footprint(items: int, workers: int, where: Path | None) -> Figures:
    """What a run of this many items, in a process of its own, held at once."""
    command = [sys.executable, "-m", "benchmarks.engine_overhead", "--footprint", str(items)]
    command += ["--workers", str(workers), *(["--dir", str(where)] if where else [])]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


def _footprint(items: int, workers: int, where: Path | None) -> Figures:
    """The same in this process, with real outputs and the real ledger."""
    most, ended = 0, 0

    def look(event: Event) -> None:
        nonlocal most, ended
        if isinstance(event, ItemEnded):
            ended += 1
            if ended % max(1, items // LOOKS) == 0:
                most = max(most, len(os.listdir("/proc/self/fd")))  # noqa: PTH208

    pipeline = stages_of(_small_file)
    config = configured(pipeline, workers, sync=False)
    events = Events()
    events.subscribe(look)
    with tempfile.TemporaryDirectory(dir=where) as folder:
        began = time.perf_counter()
        sources = (f"v{number}" for number in range(items))
        report = run_pipeline(pipeline, config, Path(folder), sources, events=events)
        seconds = time.perf_counter() - began
        memory = _peak_memory()  # before the folder is deleted, which lists all of it at once
        assert report.items["done"] == items
    return {"peak memory MB": memory, "open files": most, "wall s": seconds}


def _peak_memory() -> float:
    """MB. Not getrusage's, which a process takes over from the one that started it."""
    status = Path("/proc/self/status").read_text()
    return next(int(li.split()[1]) for li in status.splitlines() if li.startswith("VmHWM")) / 1024


def footprints(arguments: Namespace, notes: list[str]) -> tuple[Table, list[Target]]:
    """The table and the targets of few items and of many: as many as the time allows."""
    few, where = 100 if arguments.quick else FEW, arguments.footprint_dir or arguments.dir
    first = footprint(few, arguments.workers, where)
    rate = first["wall s"] / few
    many = min(10 * few if arguments.quick else MANY, int(arguments.patience / rate))
    if many < MANY and not arguments.quick:
        notes.append(f"There was time for {many:,} items, not {MANY:,}.")
    taken: dict[str, Sequence[Figures]] = {
        f"Penstock, {few:,} items": [first],
        f"Penstock, {many:,} items": [footprint(many, arguments.workers, where)],
    }
    small, large = taken.values()
    targets = [
        Target(f"{what}, {many:,} items over {few:,}, ratio", ratios(large, small, figure), 1.1)
        for what, figure in (("peak memory", "peak memory MB"), ("open files", "open files"))
    ]
    title = "Memory and open files of a run with ledger and outputs (unsynced)"
    return table(title, taken, f"Penstock, {many:,} items", compared=()), targets


# All together


def _fastest(taken: Mapping[str, Sequence[Figures]], prefix: str) -> list[Figures]:
    """Turn by turn, the fastest of those whose name begins so."""
    rows = [turns for name, turns in taken.items() if name.startswith(prefix)]
    return [min(turns, key=lambda figures: figures[HOP]) for turns in zip(*rows, strict=True)]


def passing_on_targets(taken: Mapping[str, Sequence[Figures]]) -> list[Target]:
    own = taken["Penstock, async stages"]
    targets = [
        Target("without ledger and outputs, us", interval([turn[HOP] for turn in own]), 10.0)
    ]
    for kind in ("async stages", "stages in threads"):
        if (other := taken.get(f"SPDL, {kind}")) is not None:
            found = ratios(taken[f"Penstock, {kind}"], other, HOP)
            targets.append(Target(f"{kind}, over SPDL's, ratio", found, 0.2))
    return targets


def writing_targets(taken: Mapping[str, Sequence[Figures]], how: str) -> list[Target]:
    """Against the loop that one would write, and against whichever of the bare is the fastest."""
    own = taken["Penstock, stages in threads"]
    loop = taken["bare file operations, one after the other"]
    what = f"with ledger and outputs, {how}, over the bare file operations"
    return [
        Target(f"{what}, one after the other, ratio", ratios(own, loop, HOP), 1.5),
        Target(f"{what}, the faster way, ratio", ratios(own, _fastest(taken, "bare"), HOP), 1.5),
    ]


def main() -> None:
    made = parser(__doc__, rounds=5)
    made.add_argument("--dir", type=Path, help="where to write; default the temporary folder")
    made.add_argument(
        "--footprint-dir",
        type=Path,
        help="where the runs of few and of many items write (as --dir); a folder in memory makes "
        "short work of many items, which take 4 GB",
    )
    made.add_argument("--workers", type=int, default=1, help="workers of each stage (1)")
    made.add_argument(
        "--patience", type=float, default=600.0, help="seconds that the run of many may take (600)"
    )
    made.add_argument("--footprint", type=int, metavar="ITEMS", help="only this, as JSON")
    arguments = parse(made)
    if arguments.footprint:
        json.dump(_footprint(arguments.footprint, arguments.workers, arguments.dir), sys.stdout)
        return
    notes: list[str] = []
    workers, rounds = arguments.workers, arguments.rounds
    memory, memory_targets = footprints(arguments, notes)
    items = 400 if arguments.quick else 4000
    passed = take_turns(passing_on(items, workers, notes), rounds)
    own = "Penstock, async stages"
    tables = [table("Passing on alone: five stages that do nothing", passed, own, [HOP])]
    targets = passing_on_targets(passed)
    for sync, how, items in ((False, "unsynced", 400), (True, "synced", 100)):
        written = take_turns(
            writing(items // 4 if arguments.quick else items, workers, arguments.dir, sync=sync),
            rounds,
        )
        title = f"With ledger and outputs, {how}: five stages that write one small file"
        tables.append(table(title, written, "Penstock, stages in threads", [HOP]))
        targets += writing_targets(written, how)
    notes.append(
        f"Every stage has {workers} worker(s) and a queue of {QUEUE}: up to {STAGES * workers} "
        "items are in work at once. Penstock's runs with ledger and outputs include reading the "
        "list, admitting every item, five rows of attempts for it, and the audit."
    )
    finish(
        Result(
            "engine_overhead",
            "What the engine itself costs",
            [*tables, memory],
            [*targets, *memory_targets],
            rounds,
            quick=arguments.quick,
            notes=notes,
        ),
        arguments,
    )


if __name__ == "__main__":
    main()
