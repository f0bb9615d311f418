"""What the engine itself costs, beside what others take to pass items on, and bare file operations.

Four questions, each with its contestants in turns:

- Microseconds an item a stage, five stages that do nothing, without ledger and outputs: the pools,
  inboxes and journeys of a run, against a chain of asyncio queues, of anyio streams, and SPDL.
- The same with ledger and outputs, five stages that each write one small file, against the file
  operations alone: make a folder, write two small files (the engine adds its mark to the stage's),
  rename it; with each of them brought to the disk, and without.
- Memory and open files of whole runs with ledger and outputs, of few items and of many: what the
  runs' processes hold, not their folders.
- A part of an item against an item, with as many outputs; and the memory of a run with few parts
  and with many.

Every stage has `--workers` workers and a queue of 16.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.harness import Figures, finish, parse, parser, ratios, table, take_turns
from benchmarks.overhead_footprint import footprints
from benchmarks.overhead_parts import parts_and_items
from benchmarks.overhead_passing_on import passing_on
from benchmarks.overhead_stages import HOP, QUEUE, STAGES
from benchmarks.overhead_writing import writing
from benchmarks.results import Measurement, Target
from engine.bench.intervals import interval


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
    arguments = parse(made)
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
    of_parts, part_targets = parts_and_items(arguments)
    notes.append(
        f"Every stage has {workers} worker(s) and a queue of {QUEUE}: up to {STAGES * workers} "
        "items are in work at once. Penstock's runs with ledger and outputs include reading the "
        "list, admitting every item, five rows of attempts for it, and the audit."
    )
    finish(
        Measurement(
            "engine_overhead",
            "What the engine itself costs",
            [*tables, memory, *of_parts],
            [*targets, *memory_targets, *part_targets],
            rounds,
            quick=arguments.quick,
            notes=notes,
        ),
        arguments,
    )


if __name__ == "__main__":
    main()
