"""How far off the model is for two machines: it learns from one, and predicts two.

    python -m benchmarks.machines_accuracy

A machine is a process of its own, as `penstock worker` is one: both take jobs from one queue, have
a work folder each, and pass one gate in Redis. What is compared is items a second between the first
attempt and the end of the last, over both.

The first step's items pass a gate, as downloads from one host do. "the rate binds": the gate lets
through less than one machine could do. "the rate binds two": more than one machine does, less than
two. "the workers bind": more than both do. Each is recorded with one machine and fewer workers.
Then one run on two nodes of a Ray cluster, as in `benchmarks/nodes_accuracy.py`: recorded on one
node, predicted as `penstock bench --simulate --nodes 2` does. In all it takes about six minutes.
"""

import multiprocessing
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from anyio.from_thread import start_blocking_portal

from benchmarks import nodes_accuracy
from benchmarks.harness import Figures, finish, parse, parser, take_turns
from benchmarks.nodes_accuracy import CASES, PLACES, nodes
from benchmarks.results import Measurement, Row, Table, Target
from benchmarks.simulation_accuracy import Labour, Second, Third
from engine import SOURCE, Item, Job, Pipeline, Step
from engine.bench.intervals import interval
from engine.bench.model.attempts import read_attempts
from engine.bench.model.reading import read_recording
from engine.bench.model.recorded import Recording
from engine.bench.model.simulation import simulate
from engine.config.load import load_config
from engine.flow.opening import run_pipeline
from engine.ledger.schema import FILE as LEDGER
from stages.service.bull import BullSource
from stages.service.profiles import AskedJob

CLOSE = 0.10
"""The error that half of the predictions may have at most."""

MACHINES = 2
AT_ONCE = 64
QUEUE = "toils"
SLEEPS = {"first": 0.08, "second": 0.04, "third": 0.02}
RECORDED = {"first": 2, "second": 1, "third": 1}
TRIED = {"first": 4, "second": 2, "third": 1}
"""Seconds, and workers, by step. One machine does about 50 a second with the workers tried."""

SECONDS = 120
"""How long two machines may take."""


class Gated(Labour):
    """Toils behind a gate that all items share."""

    name = "first"

    def process(self, item: Item, out: Path) -> None:
        self.toil(item)

    def gate(self, item: Item) -> str:
        return "host"


TOILS = Pipeline(
    "gated", "Toils.", [Step(Gated, SOURCE), Step(Second, "first"), Step(Third, "second")]
)


def work(redis: str, folder: str, rate: float, workers: Mapping[str, int]) -> None:
    """One machine: it takes jobs until it is told to stop."""
    values = [f"stages.{name}.sleep={seconds}" for name, seconds in SLEEPS.items()]
    values += [f"stages.{name}.workers={count}" for name, count in workers.items()]
    values += [f"limits.rate={rate}", f"limits.shared_gates={redis}", "limits.free_disk=0"]
    config = load_config(TOILS, None, {}, values, {})

    def read(data: object) -> AskedJob:
        assert isinstance(data, dict)
        return AskedJob("toils", Job(data["url"]))

    source = BullSource(redis, QUEUE, Path(folder), read, pipeline=TOILS, at_once=AT_ONCE, lock=30)
    with source.connected():
        run_pipeline(TOILS, config, Path(folder), source)


@contextmanager
def redis_server() -> Iterator[str]:
    with socket.socket() as free, tempfile.TemporaryDirectory() as folder:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
        free.close()
        words = ["redis-server", "--port", port, "--bind", "127.0.0.1", "--save", ""]
        server = subprocess.Popen([*words, "--dir", folder], stdout=subprocess.DEVNULL)
        try:
            yield f"redis://127.0.0.1:{port}"
        finally:
            server.kill()
            server.wait()


def run(machines: int, items: int, rate: float, workers: Mapping[str, int]) -> "Ran":
    """So many machines do so many jobs."""
    context = multiprocessing.get_context("spawn")
    with ExitStack() as stack:
        redis = stack.enter_context(redis_server())
        folders = [stack.enter_context(tempfile.TemporaryDirectory()) for _ in range(machines)]
        begun = [
            context.Process(target=work, args=(redis, folder, rate, workers)) for folder in folders
        ]
        for process in begun:
            process.start()
        try:
            _have_done(redis, items, [Path(folder) for folder in folders])
        finally:
            for process in begun:
                _stop(process)
        attempts = [one for folder in folders for one in read_attempts(Path(folder))]
        seconds = max(one.ended for one in attempts) - min(one.started for one in attempts)
        return Ran(items / seconds, read_recording(Path(folders[0]), TOILS))


@dataclass(frozen=True)
class Ran:
    """Items a second, and the first machine's recording."""

    pace: float
    recording: Recording


def _have_done(redis: str, items: int, folders: Sequence[Path]) -> None:
    """Put the jobs on the queue once a run has begun in each folder, and wait for the last one."""
    from bullmq import Queue

    until = time.monotonic() + SECONDS
    with start_blocking_portal() as portal:

        async def open_queue() -> Any:
            return Queue(QUEUE, {"connection": redis})

        queue = portal.call(open_queue)
        while not all((folder / LEDGER).exists() for folder in folders):
            assert time.monotonic() < until, "the machines did not begin"
            time.sleep(0.1)
        jobs = [{"name": "toil", "data": {"url": f"item {number}"}} for number in range(items)]
        portal.call(queue.addBulk, jobs)
        while portal.call(queue.getJobCounts, "completed")["completed"] < items:
            assert time.monotonic() < until, "the machines did not end"
            time.sleep(0.1)
        portal.call(queue.close)


def _stop(process: Any) -> None:
    if process.is_alive():
        os.kill(process.pid, signal.SIGTERM)
    process.join(30)
    if process.is_alive():
        process.kill()
        process.join()


def turn_of(rate: float, items: int) -> Callable[[], Figures]:
    """Record one machine, predict two with more workers, and run those."""

    def turn() -> Figures:
        recorded = run(1, items // 2, rate, RECORDED)
        made = replace(recorded.recording, shares_gates=True)
        return {
            "recorded": recorded.pace,
            "predicted": simulate(made, TRIED, items=items, machines=MACHINES).throughput,
            "measured": run(MACHINES, items, rate, TRIED).pace,
        }

    return turn


def table(title: str, taken: Mapping[str, Sequence[Figures]]) -> Table:
    def errors(turns: Sequence[Figures]) -> list[float]:
        return [turn["predicted"] / turn["measured"] - 1 for turn in turns]

    return Table(
        f"{title}, and the error as a share of what was measured",
        [
            Row(
                name,
                {key: interval([turn[key] for turn in turns]) for key in turns[0]}
                | {"error": interval(errors(turns))},
            )
            for name, turns in taken.items()
        ],
    )


def main() -> None:
    arguments = parse(parser(__doc__, rounds=3))
    items = 100 if arguments.quick else 200
    rates = {"the rate binds": 20.0, "the rate binds two": 60.0, "the workers bind": 1000.0}
    contestants = {name: turn_of(rate, items) for name, rate in rates.items()}
    rounds = 1 if arguments.quick else arguments.rounds
    made = table("Items a second of both machines", take_turns(contestants, rounds, warm_up=0))
    with nodes() as cluster:
        of_nodes = {name: nodes_accuracy.turn_of(case, cluster) for name, case in CASES.items()}
        placed = table(
            "Items a second of one run on both nodes", take_turns(of_nodes, rounds, warm_up=0)
        )
    found = [abs(row.figures["error"].median) for row in [*made.rows, *placed.rows]]
    result = Measurement(
        name="machines_accuracy",
        title="The model of the engine against two machines",
        tables=[made, placed],
        targets=[Target("Error of a prediction, half of them", interval(found), CLOSE)],
        rounds=rounds,
        quick=arguments.quick,
        notes=[
            f"Recorded on one machine with {'/'.join(map(str, RECORDED.values()))} workers, tried "
            f"on {MACHINES} with {'/'.join(map(str, TRIED.values()))} each.",
            f"A node has {PLACES} places; steps there sleep, as both are on one machine. The pace "
            "is that of the later half: how long a process takes to start is not in it.",
            f"The worst is off by {max(found):.0%}.",
        ],
    )
    finish(result, arguments)


if __name__ == "__main__":
    main()
