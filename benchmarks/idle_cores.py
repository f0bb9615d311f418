"""Where the cores idle during a crawl while there is work, and waits for Python's lock.

    python -m benchmarks.idle_cores                     # 120 videos that it makes itself
    python -m benchmarks.idle_cores --folder CLIPS --weights yolo11n.onnx

The crawl is the command as a person gives it, from its start to its end, with one thread more in it
(`benchmarks/thread_watch.py`), which tells what the others used and how long it had to wait for
Python's lock itself. The time falls into phases, by the ledger's attempts: the start, until the
first one; the model loads, until the first in filter; the work, until the last one of a step that
computes; the last descriptions; the end, with the dataset.

Short of both limits are, of each half second, the shares of the cores and of the allowed requests
that nothing used, the smaller of the two, added up: no scheduling could save more. What other
programs do counts as use: measure on a quiet machine.
"""

import sqlite3
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path

from benchmarks.crawl_command import children_seconds, crawling, ended_well
from benchmarks.crawl_material import (
    add_crawl_options,
    crawl_settings,
    distinct_videos,
    found_videos,
)
from benchmarks.harness import Figures, finish, parse, parser
from benchmarks.limits import COMPUTING, short_of_limits
from benchmarks.results import Measurement, Row, Table
from benchmarks.servers import Behaviour, DescriptionServer, answering, serving
from benchmarks.thread_watch import ThreadLook, watched_command, written_looks
from benchmarks.watches import CoreLook, CoreWatch
from engine.bench.intervals import interval
from engine.ledger.schema import FILE

PHASES = ("start", "the model loads", "work", "last descriptions", "end")
PROCESSES = "processes apart"


@dataclass(frozen=True)
class Watched:
    """A crawl that has been watched. Moments are by the monotonic clock; `edges` are those between
    the phases, `seconds` its processor time, that of its processes included."""

    cores: Sequence[CoreLook]
    threads: Sequence[ThreadLook]
    described: Sequence[float]
    edges: Sequence[float]
    seconds: float

    def phases(self) -> dict[str, Figures]:
        """The figures of each phase, and of the whole."""
        spans = dict(zip(PHASES, pairwise(self.edges), strict=True))
        spans["the whole crawl"] = self.edges[0], self.edges[-1]
        return {name: self._between(*span) for name, span in spans.items()}

    def _between(self, began: float, ended: float) -> Figures:
        cores = [look for look in self.cores if began <= look.clock <= ended] or self.cores[:1]
        waits = sorted(look.lock for look in self.threads if began <= look.clock <= ended)
        idle = sum(cores[-1].idle) - sum(cores[0].idle)
        return {
            "short of both limits s": short_of_limits(cores, self.described),
            "s": ended - began,
            "idle core s": idle,
            "descriptions": sum(began <= moment <= ended for moment in self.described),
            "wait for the lock ms": 1000 * sum(waits) / max(1, len(waits)),
            "longest ms": 1000 * waits[-1] if waits else 0.0,
        }

    def used(self) -> dict[str, Figures]:
        """Processor seconds by the threads' kind."""
        loaded = [look for look in self.threads if look.clock <= self.edges[2]][-1]
        last = self.threads[-1]
        found = {
            name: {"processor s": seconds, "until the model was loaded": loaded.used.get(name, 0.0)}
            for name, seconds in sorted(last.used.items(), key=lambda pair: -pair[1])
        }
        return found | {PROCESSES: {"processor s": self.seconds - sum(last.used.values())}}


def watch(urls: Sequence[str], settings: Sequence[str], server: DescriptionServer) -> Watched:
    """Crawl once, from nothing."""
    server.restart(Behaviour())
    with tempfile.TemporaryDirectory() as folder:
        work, file = Path(folder, "work"), Path(folder, "looks.json")
        used = children_seconds()
        began, to_monotonic = time.monotonic(), time.monotonic() - time.time()
        with (
            CoreWatch() as cores,
            crawling(watched_command(file), urls, settings, work) as process,
        ):
            ended_well(process, "the crawl")
        ended, described = time.monotonic(), server.described()
        first, filtering, last = (at + to_monotonic for at in _moments(work))
        edges = [began, first, filtering, last, described[-1], ended]
        return Watched(
            cores.looks,
            written_looks(file),
            described,
            list(accumulate(edges, max)),
            children_seconds() - used,
        )


def _moments(work: Path) -> tuple[float, float, float]:
    """The times of day when the first attempt began, the first one in filter, and when the last one
    ended of a step that computes."""
    marks = ", ".join("?" * len(COMPUTING))
    with closing(sqlite3.connect(work / FILE)) as db:
        found: tuple[float, float, float] = db.execute(
            "SELECT min(started), min(started) FILTER (WHERE stage = 'filter'),"
            f" max(ended) FILTER (WHERE stage IN ({marks})) FROM attempts",
            COMPUTING,
        ).fetchone()
    return found


def medians(title: str, turns: Sequence[Mapping[str, Figures]]) -> Table:
    """Rows of several turns as one table."""
    names = dict.fromkeys(name for turn in turns for name in turn)
    rows = []
    for name in names:
        there = [turn[name] for turn in turns if name in turn]
        rows.append(Row(name, {key: interval([one[key] for one in there]) for key in there[0]}))
    return Table(title, rows)


def main() -> None:
    command = parser(__doc__, rounds=3)
    add_crawl_options(command)
    command.add_argument("--videos", type=int, default=120)
    command.add_argument("--speed", type=float, default=2e6, help="bytes a second and connection")
    arguments = parse(command)
    if arguments.quick:
        arguments.videos, arguments.rounds = 6, 1
    with ExitStack() as stack:
        temporary = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        found = found_videos(arguments.folder, temporary)
        files = distinct_videos(found, arguments.videos, temporary)
        urls = stack.enter_context(serving(files, arguments.speed))
        server = stack.enter_context(answering(Behaviour()))
        settings = [*crawl_settings(arguments, server.url), *arguments.set]
        turns = [watch(urls, settings, server) for _ in range(arguments.rounds)]
    finish(
        Measurement(
            "idle_cores",
            "Where the cores idle during a crawl while there is work",
            [
                medians("phase", [turn.phases() for turn in turns]),
                medians("threads", [turn.used() for turn in turns]),
            ],
            [],
            arguments.rounds,
            quick=arguments.quick,
            notes=[f"{arguments.videos} videos; descriptions take 300 ms, 600 a minute."],
        ),
        arguments,
    )


if __name__ == "__main__":
    main()
