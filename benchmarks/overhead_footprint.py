"""Memory and open files of whole runs, of few items and of many: what their processes hold.

python -m benchmarks.overhead_footprint ITEMS WORKERS [DIR]     # of one run, as JSON
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from benchmarks.harness import Figures, ratios, table
from benchmarks.overhead_stages import configured, stages_of
from benchmarks.overhead_writing import small_file
from benchmarks.results import Table, Target
from engine.flow.opening import run_pipeline
from engine.telemetry.events import Event, Events, ItemEnded

FEW, MANY = 1_000, 100_000
LOOKS = 1_000
"""How often open files are counted: as often for many items as for few."""


def measured(items: int, workers: int, where: Path | None) -> Figures:
    """What a run of this many items, in a process of its own, held at once."""
    command = [sys.executable, "-m", "benchmarks.overhead_footprint", str(items), str(workers)]
    command += [str(where)] if where else []
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


def _held(items: int, workers: int, where: Path | None) -> Figures:
    """The same of this process, with real outputs and the real ledger."""
    most, ended = 0, 0

    def look(event: Event) -> None:
        nonlocal most, ended
        if isinstance(event, ItemEnded):
            ended += 1
            if ended % max(1, items // LOOKS) == 0:
                most = max(most, len(os.listdir("/proc/self/fd")))  # noqa: PTH208

    pipeline = stages_of(small_file)
    config = configured(pipeline, workers, sync=False)
    events = Events()
    events.subscribe(look)
    with tempfile.TemporaryDirectory(dir=where) as folder:
        began = time.perf_counter()
        sources = (f"v{number}" for number in range(items))
        report = run_pipeline(pipeline, config, Path(folder), sources, events=events)
        seconds = time.perf_counter() - began
        memory = peak_memory()  # before the folder is deleted, which lists all of it at once
        assert report.items["done"] == items
    return {"peak memory MB": memory, "open files": most, "wall s": seconds}


def peak_memory() -> float:
    """MB. Not getrusage's, which a process takes over from the one that started it."""
    status = Path("/proc/self/status").read_text()
    return next(int(li.split()[1]) for li in status.splitlines() if li.startswith("VmHWM")) / 1024


def footprints(arguments: Namespace, notes: list[str]) -> tuple[Table, list[Target]]:
    """The table and the targets of few items and of many: as many as the time allows."""
    few, where = 100 if arguments.quick else FEW, arguments.footprint_dir or arguments.dir
    first = measured(few, arguments.workers, where)
    rate = first["wall s"] / few
    many = min(10 * few if arguments.quick else MANY, int(arguments.patience / rate))
    if many < MANY and not arguments.quick:
        notes.append(f"There was time for {many:,} items, not {MANY:,}.")
    taken: dict[str, Sequence[Figures]] = {
        f"Penstock, {few:,} items": [first],
        f"Penstock, {many:,} items": [measured(many, arguments.workers, where)],
    }
    small, large = taken.values()
    targets = [
        Target(f"{what}, {many:,} items over {few:,}, ratio", ratios(large, small, figure), 1.1)
        for what, figure in (("peak memory", "peak memory MB"), ("open files", "open files"))
    ]
    title = "Memory and open files of a run with ledger and outputs (unsynced)"
    return table(title, taken, f"Penstock, {many:,} items", compared=()), targets


def main() -> None:
    items, workers, *where = sys.argv[1:]
    json.dump(_held(int(items), int(workers), Path(where[0]) if where else None), sys.stdout)


if __name__ == "__main__":
    main()
