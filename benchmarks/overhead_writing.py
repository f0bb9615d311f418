"""Whole runs of five stages that each write one small file, beside the bare file operations.

The bare ones make a folder, write two small files (the engine adds its mark to the stage's), and
rename it; with each of them brought to the disk, or without.
"""

import os
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.harness import Contestant, Figures
from benchmarks.overhead_stages import HOP, STAGES, configured, stages_of
from engine import Item, Stage
from engine.flow.opening import run_pipeline

CONTENT = "x" * 40


def _write(out: Path) -> None:
    with open(f"{out}/result", "w") as file:  # noqa: PTH123 - as bare as can be
        file.write(CONTENT)


def small_file(self: Stage, item: Item, out: Path) -> None:
    """The `process` of a stage in a thread."""
    _write(out)


async def small_file_on_the_loop(self: Stage, item: Item, out: Path) -> None:
    """The `process` of a stage on the event loop."""
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
            small_file, items, workers, folder, sync=sync
        ),
        "Penstock, async stages": lambda folder: whole_run(
            small_file_on_the_loop, items, workers, folder, sync=sync
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
