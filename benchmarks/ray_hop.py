"""What a step costs on a Ray cluster: the way of an item there and back, and what a second node
gains.

    python -m benchmarks.ray_hop

A cluster of two nodes with one processor each, on this machine. The way: items that take no work go
through one worker, in a process here and in one on a node, and an attempt's time is that of the
ledger, so that neither's start counts. The gain: items that keep a processor busy go through one
node, and through both; what is told is the time of the later half, when all processes are there.
Both nodes share this machine's cores: measure on a quiet machine with two at least. It takes about
three minutes: a round keeps one core busy for twelve seconds, and starts four times.
"""

import sqlite3
import statistics
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from benchmarks.harness import Contestant, Figures, finish, parse, parser, ratios, table, take_turns
from benchmarks.results import Measurement, Target
from engine import SOURCE, Item, Pipeline, Settings, Stage, Step, load_config, run_pipeline, setting
from engine.bench.intervals import interval
from engine.ledger.schema import FILE
from tests.ray_cluster import two_nodes

PROCESS, NODE = "a process here", "a process on a node"
ONE, TWO = "one node", "two nodes"

MOST_MS = 5.0
"""Milliseconds that the way there and back may add to an attempt: a tenth of one of 50 ms."""

LEAST_GAIN = 1.6
"""How much faster two nodes should be than one."""


class Busy(Stage):
    """Keeps a processor busy, and writes a file."""

    class Settings(Settings):
        seconds: float = setting(0.0, "Processor time for each item.", ge=0)

    settings: "Busy.Settings"

    def process(self, item: Item, out: Path) -> None:
        done = time.thread_time() + self.settings.seconds
        while time.thread_time() < done:
            pass
        (out / "done").write_text(item.id)


PIPELINE = Pipeline("hop", "Items to a worker and back.", [Step(Busy, SOURCE)])


def going(items: int, cluster: str | None = None, **options: Any) -> Contestant:
    """So many items through the step with these options and settings, on the cluster if any."""
    words = ["limits.free_disk=0", "limits.sync=false", "stages.busy.queue=32"]
    words += [f"stages.busy.{name}={value}" for name, value in options.items()]
    if cluster is not None:
        words += [f"limits.cluster={cluster}", "stages.busy.placement=ray"]

    def turn() -> Figures:
        config = load_config(PIPELINE, None, {}, words, {})
        with tempfile.TemporaryDirectory() as folder:
            report = run_pipeline(PIPELINE, config, Path(folder), map(str, range(items)))
            if report.outcome != "done":
                raise SystemExit(f"the run was {report.outcome}: {report.why}")
            return figures(Path(folder))

    return turn


def figures(work: Path) -> Figures:
    """What the ledger tells: the attempts' time, and the seconds of the later half of them."""
    with closing(sqlite3.connect(work / FILE)) as db:
        spans = db.execute("SELECT started, ended FROM attempts ORDER BY started").fetchall()
    took = [1000 * (ended - started) for started, ended in spans]
    ends = sorted(ended for _, ended in spans)
    return {"ms an attempt": statistics.median(took), "wall s": ends[-1] - ends[len(ends) // 2]}


def main() -> None:
    arguments = parse(parser(__doc__, rounds=5))
    hops, busy, seconds = (100, 20, 0.05) if arguments.quick else (500, 32, 0.25)
    with two_nodes() as cluster:
        way = take_turns(
            {PROCESS: going(hops, placement="process"), NODE: going(hops, cluster.address)},
            arguments.rounds,
        )
        gain = take_turns(
            {
                ONE: going(busy, cluster.address, workers=1, seconds=seconds),
                TWO: going(busy, cluster.address, workers=2, seconds=seconds),
            },
            arguments.rounds,
        )
    figure = "ms an attempt"
    pairs = zip(way[NODE], way[PROCESS], strict=True)
    added = interval([far[figure] - near[figure] for far, near in pairs])
    finish(
        Measurement(
            "ray_hop",
            "A step on a Ray cluster",
            [
                table(f"{hops} items without work", way, NODE, compared=()),
                table(f"{busy} items of {seconds:g} s processor time", gain, TWO, compared=()),
            ],
            [
                Target("ms that the way adds to an attempt", added, MOST_MS),
                Target(
                    "one node's wall over that of two",
                    ratios(gain[ONE], gain[TWO], "wall s"),
                    LEAST_GAIN,
                    at_least=True,
                ),
            ],
            arguments.rounds,
            quick=arguments.quick,
            notes=[
                "Both nodes are on this machine; what a network adds is not in it.",
                "A worker waits for its item's commit before it takes the next: that is the same "
                "for both, and not in an attempt's time.",
            ],
        ),
        arguments,
    )


if __name__ == "__main__":
    main()
