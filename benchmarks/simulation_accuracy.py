"""How far off the model of the engine is: it learns from one run, and predicts others.

    python -m benchmarks.simulation_accuracy

In each round every workload is recorded once with the workers that stand under "recorded", then the
model says what other workers would come to, and those are run for real. What is compared is items a
second between the first attempt and the end of the last item.

"waiting" sleeps, as a download waits for its network. "computing" hashes, which needs a core and
nothing else, with more workers than there are cores. "mixed" does both in every stage. "parts"
makes one to eight of each item, and waits; the second stage works on each of them, the third on the
item again. "crawl" is the real pipeline over the demo's videos, served at a limited speed by a
process of its own.
"""

import hashlib
import multiprocessing
import random
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from benchmarks.harness import Figures, finish, parse, parser, take_turns
from benchmarks.results import Measurement, Row, Table, Target
from engine import SOURCE, Item, Parts, Pipeline, Settings, Stage, Step, setting
from engine.bench.intervals import Interval, interval
from engine.bench.model.reading import read_recording
from engine.bench.model.recorded import Recording
from engine.bench.model.simulation import simulate
from engine.config.load import Config, load_config
from engine.flow.opening import run_pipeline

CLOSE = 0.10
"""The error that half of the predictions may have at most."""

BLOCK = bytes(1 << 20)

SPEED = 150_000
"""Bytes a second of each connection to the media server."""

Workers = Mapping[str, int]


class Labour(Stage):
    """Sleeps and hashes for as long as its settings and the item say."""

    class Settings(Settings):
        sleep: float = setting(0.0, "Seconds of waiting, on average.", affects_output=False)
        hash: float = setting(0.0, "MiB to hash, on average.", affects_output=False)

    settings: "Labour.Settings"

    def toil(self, item: Item) -> None:
        # A long item is long everywhere, and each stage adds some chance of its own.
        size = random.Random(item.source).lognormvariate(-0.125, 0.5)
        size *= random.Random(item.id + self.name).lognormvariate(-0.02, 0.2)
        time.sleep(self.settings.sleep * size)
        for _ in range(round(self.settings.hash * size)):
            hashlib.sha256(BLOCK).digest()  # it lets others run meanwhile, as decoders do


class Toil(Labour):
    name: ClassVar[str] = "toil"

    def process(self, item: Item, out: Path) -> None:
        self.toil(item)


class First(Toil):
    pass


class Second(Toil):
    pass


class Third(Toil):
    pass


class Cut(Labour):
    """Toils for each of the parts that it makes."""

    name: ClassVar[str] = "first"

    def split(self, item: Item, out: Path, parts: Parts) -> None:
        for number in range(random.Random(item.source).randint(1, 8)):
            self.toil(item)
            with parts.make() as folder:
                (folder / "number").write_text(str(number))


TOILS = Pipeline(
    "toils", "Toils.", [Step(First, SOURCE), Step(Second, "first"), Step(Third, "second")]
)
IN_PARTS = Pipeline(
    "parts",
    "Toils in parts.",
    [Step(Cut, SOURCE), Step(Second, "first", each="first"), Step(Third, "second")],
)


@dataclass(frozen=True)
class Experiment:
    """What is run, on which items, how it is recorded, and what else is tried."""

    name: str
    pipeline: Pipeline
    settings: Sequence[str]
    sources: Sequence[str]
    recorded: Workers
    tried: Sequence[Workers]

    def config(self, workers: Workers) -> Config:
        counts = [f"stages.{name}.workers={count}" for name, count in workers.items()]
        values = [*self.settings, *counts, "limits.free_disk=0", "limits.failure_budget=1"]
        return load_config(self.pipeline, None, {}, values, {})

    def run(self, workers: Workers) -> Recording:
        """Run it for real; what the ledger then says of it."""
        with tempfile.TemporaryDirectory() as folder:
            run_pipeline(self.pipeline, self.config(workers), Path(folder), self.sources)
            return read_recording(Path(folder), self.pipeline)

    def turn(self) -> Figures:
        """Record, predict, and run what was predicted."""
        recording = self.run(self.recorded)
        figures = {"recorded": recording.throughput}
        figures["replayed"] = simulate(recording, {}).throughput
        for workers in self.tried:
            label = shown(workers)
            figures[f"{label} predicted"] = simulate(recording, workers).throughput
            figures[f"{label} measured"] = self.run(workers).throughput
        return figures


def shown(workers: Workers) -> str:
    return "/".join(str(count) for count in workers.values())


def toils(
    name: str,
    count: int,
    costs: Mapping[str, tuple[float, float]],
    *tried: Sequence[int],
    pipeline: Pipeline = TOILS,
) -> Experiment:
    """`costs` are seconds of sleep and MiB to hash by stage; the first of `tried` is recorded."""
    settings = [f"stages.{stage}.sleep={sleep}" for stage, (sleep, _) in costs.items()]
    settings += [f"stages.{stage}.hash={hashed}" for stage, (_, hashed) in costs.items()]
    recorded, *others = [dict(zip(costs, workers, strict=True)) for workers in tried]
    sources = [f"{name} {number}" for number in range(count)]
    return Experiment(name, pipeline, settings, sources, recorded, others)


def crawl_of(urls: Sequence[str], times: int) -> Experiment:
    from stages.crawl.pipeline import crawl
    from stages.demo.script import SETTINGS

    stages = ("download", "extract", "filter")
    tried = [dict(zip(stages, n, strict=True)) for n in ((2, 1, 1), (1, 1, 1), (4, 2, 1))]
    return Experiment(
        "crawl",
        crawl,
        [*SETTINGS, "stages.download.allow_private=true"],
        [f"{url}?copy={copy}" for copy in range(times) for url in urls],
        tried[0],
        tried[1:],
    )


def serve(folder: str, addresses: Any) -> None:
    """Hands out the videos; in a process of its own, whose work is not the crawl's."""
    from stages.demo.script import TYPES
    from stages.demo.server import File, MediaServer

    files = sorted(path for path in Path(folder).iterdir() if path.suffix in (".mp4", ".webm"))
    routes = {
        f"/{path.name}": File(path, TYPES[path.suffix], bytes_per_second=SPEED)
        for path in files
        if path.name != "cut.mp4"
    }
    with MediaServer(routes) as media:
        addresses.put([media.url(path) for path in routes])
        threading.Event().wait()


@contextmanager
def served_videos() -> Iterator[list[str]]:
    """Addresses of the demo's videos, which are made for it."""
    from stages.demo.script import make_videos

    with tempfile.TemporaryDirectory() as folder:
        for _ in make_videos(Path(folder)):
            pass
        context = multiprocessing.get_context("spawn")
        addresses: Any = context.Queue()
        server = context.Process(target=serve, args=(folder, addresses), daemon=True)
        server.start()
        try:
            yield addresses.get(timeout=60)
        finally:
            server.terminate()
            server.join()


def errors(workload: Experiment, turns: Sequence[Figures]) -> dict[str, Interval]:
    """How far off each configuration's prediction was, as a share of what was measured."""
    found = {}
    for workers in workload.tried:
        label = shown(workers)
        found[label] = interval(
            [turn[f"{label} predicted"] / turn[f"{label} measured"] - 1 for turn in turns]
        )
    return found


def rows(workload: Experiment, turns: Sequence[Figures]) -> Iterator[Row]:
    replayed = [turn["replayed"] / turn["recorded"] - 1 for turn in turns]
    yield Row(
        f"{workload.name}, recorded with {shown(workload.recorded)}",
        {
            "items a second": interval([turn["recorded"] for turn in turns]),
            "error of a replay": interval(replayed),
        },
    )
    for label, error in errors(workload, turns).items():
        yield Row(
            f"{workload.name}, tried {label}",
            {
                "items a second": interval([turn[f"{label} measured"] for turn in turns]),
                "predicted": interval([turn[f"{label} predicted"] for turn in turns]),
                "error": error,
            },
        )


def main() -> None:
    made = parser(__doc__, rounds=3)
    made.add_argument("--only", help="one workload's name")
    arguments = parse(made)
    size = 1 if arguments.quick else 4
    workloads = [
        toils(
            "waiting", 60 * size,
            {"first": (0.04, 0), "second": (0.02, 0), "third": (0.01, 0)},
            (2, 1, 1), (4, 2, 1), (8, 4, 2), (1, 1, 1),
        ),
        toils(
            "computing", 40 * size,
            {"first": (0, 20), "second": (0, 10), "third": (0, 5)},
            (1, 1, 1), (2, 1, 1), (2, 2, 2), (4, 4, 4),
        ),
        toils(
            "mixed", 40 * size,
            {"first": (0.06, 5), "second": (0, 20), "third": (0.02, 5)},
            (2, 1, 1), (4, 1, 1), (4, 2, 2), (8, 4, 4),
        ),
        toils(
            "parts", 15 * size,
            {"first": (0.03, 0), "second": (0.02, 15), "third": (0.04, 5)},
            (2, 1, 1), (1, 1, 1), (4, 2, 1), (4, 4, 2), pipeline=IN_PARTS,
        ),
    ]  # fmt: skip
    with served_videos() as urls:
        workloads.append(crawl_of(urls, 1 if arguments.quick else 3))
        if arguments.only:
            workloads = [one for one in workloads if one.name == arguments.only]
        contestants: dict[str, Callable[[], Figures]] = {one.name: one.turn for one in workloads}
        rounds = 1 if arguments.quick else arguments.rounds
        taken = take_turns(contestants, rounds, warm_up=0)
    found = [
        (abs(error.median), f"{one.name} {label}")
        for one in workloads
        for label, error in errors(one, taken[one.name]).items()
    ]
    worst = max(found)
    result = Measurement(
        name="simulation_accuracy",
        title="The model of the engine against the engine",
        tables=[
            Table(
                "Items a second, and the prediction's error as a share of what was measured",
                [row for one in workloads for row in rows(one, taken[one.name])],
            )
        ],
        targets=[
            Target("Error of a prediction, half of them", interval([e for e, _ in found]), CLOSE)
        ],
        rounds=rounds,
        quick=arguments.quick,
        notes=[
            "Workers are those of first/second/third, and of download/extract/filter.",
            f"The worst: {worst[1]}, off by {worst[0]:.0%}.",
        ],
    )
    finish(result, arguments)


if __name__ == "__main__":
    main()
