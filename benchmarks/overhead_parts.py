"""What a part costs beside an item, and the memory of a run with few parts and with many.

The parts go through one stage that splits, and writes a small file into each, and four that write
one more; the items go through five that write one each. So both leave five small outputs.

python -m benchmarks.overhead_parts PARTS WORKERS [DIR]     # memory of one run, as JSON
"""

import json
import subprocess
import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.harness import Contestant, Figures, ratios, table, take_turns
from benchmarks.overhead_footprint import peak_memory
from benchmarks.overhead_stages import HOP, STAGES, configured
from benchmarks.overhead_writing import CONTENT, small_file, whole_run
from benchmarks.results import Table, Target
from engine import SOURCE, Item, Parts, Pipeline, Stage, Step
from engine.flow.opening import run_pipeline

ITEMS = "items"
PARTS = "parts of one item"
OF_A_CORE = "of a core us"
FEW = 1_000


def parts_of(many: int) -> Pipeline:
    """One stage that makes so many parts of its item, four at the parts, and one that gathers."""

    class Split(Stage):
        def split(self, item: Item, out: Path, parts: Parts) -> None:
            for _ in range(many):
                with parts.make() as folder, open(f"{folder}/result", "w") as file:  # noqa: PTH123
                    file.write(CONTENT)

    steps = [Step(Split, SOURCE)]
    for number in range(1, STAGES):
        stage = type(f"S{number}", (Stage,), {"process": small_file})
        steps.append(Step(stage, steps[-1].name, each="split"))
    gather = type("Gather", (Stage,), {"process": small_file})
    return Pipeline("overhead", "Parts.", [*steps, Step(gather, steps[-1].name)])


def whole_run_of_parts(many: int, workers: int, folder: Path, *, sync: bool) -> float:
    """Seconds that a whole run takes over one item with so many parts."""
    pipeline = parts_of(many)
    config = configured(pipeline, workers, sync=sync)
    began = time.perf_counter()
    report = run_pipeline(pipeline, config, folder, ["v"])
    seconds = time.perf_counter() - began
    assert report.items["done"] == 1
    assert not report.discrepancies
    return seconds


def against_items(many: int, workers: int, where: Path | None) -> dict[str, Contestant]:
    """The same outputs, of items and of the parts of one item; unsynced."""
    turns: dict[str, Callable[[Path], float]] = {
        ITEMS: lambda folder: whole_run(small_file, many, workers, folder, sync=False),
        PARTS: lambda folder: whole_run_of_parts(many, workers, folder, sync=False),
    }

    def in_a_folder(turn: Callable[[Path], float]) -> Contestant:
        def take() -> Figures:
            with tempfile.TemporaryDirectory(dir=where) as folder:
                used = time.process_time()
                seconds = turn(Path(folder))
                used = time.process_time() - used
            outputs = many * STAGES / 1e6
            return {HOP: seconds / outputs, OF_A_CORE: used / outputs}

        return take

    return {name: in_a_folder(turn) for name, turn in turns.items()}


def measured(parts: int, workers: int, where: Path | None) -> Figures:
    """Peak memory of a run of this many parts, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.overhead_parts", str(parts), str(workers)]
    command += [str(where)] if where else []
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


def parts_and_items(arguments: Namespace) -> tuple[list[Table], list[Target]]:
    """The tables and the targets of what parts cost."""
    many, workers = 100 if arguments.quick else 400, arguments.workers
    taken = take_turns(against_items(many, workers, arguments.dir), arguments.rounds)
    few, where = 200 if arguments.quick else FEW, arguments.footprint_dir or arguments.dir
    held: dict[str, Sequence[Figures]] = {
        f"{parts:,} parts": [measured(parts, workers, where)] for parts in (few, 10 * few)
    }
    small, large = held.values()
    targets = [
        Target("a part over an item, ratio", ratios(taken[PARTS], taken[ITEMS], HOP), 1.5),
        Target(
            f"peak memory, {10 * few:,} parts over {few:,}, ratio",
            ratios(large, small, "peak memory MB"),
            1.1,
        ),
    ]
    both = [HOP, OF_A_CORE]
    return [
        table("A part and an item, unsynced: five small outputs each", taken, PARTS, both),
        table("Memory of a run over one item with parts", held, f"{10 * few:,} parts", compared=()),
    ], targets


def main() -> None:
    parts, workers, *where = sys.argv[1:]
    with tempfile.TemporaryDirectory(dir=where[0] if where else None) as folder:
        seconds = whole_run_of_parts(int(parts), int(workers), Path(folder), sync=False)
        figures = {"peak memory MB": peak_memory(), "wall s": seconds}
    json.dump(figures, sys.stdout)


if __name__ == "__main__":
    main()
