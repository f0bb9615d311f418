"""The model against one run on two nodes of a Ray cluster: turns for benchmarks.machines_accuracy.

A node is a raylet of its own with two places, and all are on this machine: steps there sleep, so
that the machine's cores do not count. What is recorded works on the first node alone. The pace is
that of the later half without the last items: then all processes are there, and none has run dry.
How long a process takes to start is not in the model.
"""

import random
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from benchmarks.harness import Figures
from engine import SOURCE, Item, Pipeline, Settings, Stage, Step, load_config, run_pipeline, setting
from engine.bench.model.places import Nodes
from engine.bench.model.reading import read_recording
from engine.bench.model.recorded import Recording
from engine.bench.model.simulation import simulate
from engine.ledger.schema import FILE
from tests.ray_cluster import two_nodes

NODES, PLACES = 2, 2
FIRST = "first"
"""A resource that the first node alone has, plenty of it."""

SIMULATED = 2000


class Sleeper(Stage):
    """Sleeps for about as long as its setting says."""

    name: ClassVar[str] = "sleeper"

    class Settings(Settings):
        sleep: float = setting(0.0, "Seconds, on average.", affects_output=False)

    settings: "Sleeper.Settings"

    def process(self, item: Item, out: Path) -> None:
        time.sleep(self.settings.sleep * random.Random(item.source + self.name).uniform(0.8, 1.2))


class FetchOnCoordinator(Sleeper):
    """Works on the coordinator, behind a gate that all items share."""

    name = "fetch"

    def gate(self, item: Item) -> str:
        return "host"


class FilterOnNode(Sleeper):
    name = "filter"


class TellOnNode(Sleeper):
    name = "tell"


PIPELINE = Pipeline(
    "nodes",
    "Sleeps.",
    [Step(FetchOnCoordinator, SOURCE), Step(FilterOnNode, "fetch"), Step(TellOnNode, "filter")],
)


@dataclass(frozen=True)
class NodesCase:
    """The rate of the coordinator's gate, in items a second; the seconds of an attempt at the last
    two steps; those on the cluster; and the number of items of the recorded run."""

    rate: float
    filter: float
    tell: float
    placed: Sequence[str]
    items: int


CASES = {
    "the nodes' places bind": NodesCase(1000, 0.2, 0.02, ["filter"], 80),
    "the coordinator's gate binds": NodesCase(8, 0.2, 0.02, ["filter"], 50),
    "two steps share the places": NodesCase(1000, 0.3, 0.1, ["filter", "tell"], 30),
}
"""One node does about 10, 8 and 3 items a second."""


@contextmanager
def nodes() -> Iterator[Any]:
    """A cluster of two nodes, the first of which has the resource FIRST."""
    with two_nodes(cpus=PLACES, first={FIRST: 1000}) as cluster:
        yield cluster


def turn_of(case: NodesCase, cluster: Any) -> Callable[[], Figures]:
    """Record a run on one node, predict two, and run on those."""

    def turn() -> Figures:
        recorded, recording = _run(case, cluster, case.items, is_first_alone=True)
        steady = replace(recording, opening={})
        found = simulate(steady, {}, items=SIMULATED, nodes=Nodes(NODES, {"CPU": PLACES}))
        measured, _ = _run(case, cluster, 2 * case.items)
        return {"recorded": recorded, "predicted": found.throughput, "measured": measured}

    return turn


def _run(
    case: NodesCase, cluster: Any, items: int, *, is_first_alone: bool = False
) -> tuple[float, Recording]:
    """The pace of a run, and its recording."""
    takes = f"{{CPU = 1, {FIRST} = 1}}" if is_first_alone else "{CPU = 1}"
    values = [f"limits.cluster={cluster.address}", f"limits.rate={case.rate}"]
    values += [
        "limits.free_disk=0",
        "defaults.workers=6",
        "defaults.queue=4",
        "stages.fetch.sleep=0.04",
    ]
    for step, sleep in {"fetch": 0.04, "filter": case.filter, "tell": case.tell}.items():
        values.append(f"stages.{step}.sleep={sleep}")
    for step in case.placed:
        values += [f"stages.{step}.placement=ray", f"stages.{step}.resources={takes}"]
    config = load_config(PIPELINE, None, {}, values, {})
    with tempfile.TemporaryDirectory() as folder:
        report = run_pipeline(PIPELINE, config, Path(folder), map(str, range(items)))
        if report.outcome != "done":
            raise SystemExit(f"the run was {report.outcome}: {report.why}")
        return _pace(Path(folder)), read_recording(Path(folder), PIPELINE)


def _pace(work: Path) -> float:
    """Items a second in the later half of the run, without its last items."""
    with closing(sqlite3.connect(work / FILE)) as db:
        rows = db.execute("SELECT ended FROM attempts WHERE stage = 'tell' ORDER BY ended")
        ends = [ended for (ended,) in rows]
    first, last = len(ends) // 2, 7 * len(ends) // 8
    return (last - first) / (ends[last] - ends[first])
