"""Load on `penstock serve`: jobs accepted a second, how soon it answers, what memory it takes.

    python -m benchmarks.serve_load              # 2,000 small jobs a round
    python -m benchmarks.serve_load --jobs 200

A round is a service of its own, with a pipeline that does next to nothing. Clients post side by
side until all jobs are accepted; each answer says that the job is on the disk. The limit beside it
is the number of transactions that SQLite syncs to the same disk in a second, one after the other:
more jobs than that can be accepted only where several share one. Meanwhile, and until all jobs are
done, a client asks for the state of a job again and again; beside it stands `/healthz`, which looks
nothing up. The memory is the service's, after a tenth of the jobs and at the end.
"""

import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import quantiles

import httpx
import psutil

from benchmarks.harness import Figures, finish, parse, parser, table, take_turns
from benchmarks.results import Measurement, Target
from engine.bench.intervals import interval

JOBS, QUICK_JOBS = 2000, 100
CLIENTS = 16
LOOKS = 0.02
"""Seconds between two questions for a state."""


@contextmanager
def service(workdir: Path) -> Iterator[tuple[httpx.Client, psutil.Process]]:
    """A service in a process of its own, once it is ready."""
    command = [sys.executable, "-m", "benchmarks.small_service", str(workdir)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        try:
            with httpx.Client(base_url=url, timeout=60, trust_env=False) as client:
                while client.get("/readyz").status_code != 200:
                    time.sleep(0.05)
                yield client, psutil.Process(process.pid)
        finally:
            process.terminate()
            process.wait(60)


@dataclass(frozen=True)
class Load:
    """So many jobs for a service."""

    jobs: int

    def __call__(self) -> Figures:
        with tempfile.TemporaryDirectory() as folder, service(Path(folder)) as (client, process):
            few = max(1, self.jobs // 10)
            ids = self._posted(client, range(few))
            _until_done(client, few)
            before = process.memory_info().rss
            with ThreadPoolExecutor(1) as beside:
                began = time.perf_counter()
                looking = beside.submit(partial(_looks, client, ids[0], self.jobs))
                self._posted(client, range(few, self.jobs))
                posted = time.perf_counter() - began
                states, healths = looking.result()
            return {
                "jobs accepted a second": (self.jobs - few) / posted,
                "p95 of a state ms": _p95(states),
                "p95 of /healthz ms": _p95(healths),
                "MB of memory after a tenth": before / 1e6,
                "MB of memory at the end": process.memory_info().rss / 1e6,
                "growth, ratio": process.memory_info().rss / before,
            }

    def _posted(self, client: httpx.Client, numbers: range) -> list[str]:
        def post(number: int) -> str:
            answer = client.post("/jobs", json={"url": f"https://example.org/{number}.mp4"})
            answer.raise_for_status()
            id_: str = answer.json()["id"]
            return id_

        with ThreadPoolExecutor(CLIENTS) as pool:
            return list(pool.map(post, numbers))


def _looks(client: httpx.Client, job: str, jobs: int) -> tuple[list[float], list[float]]:
    """Milliseconds that each question took, until all jobs are done."""
    states: list[float] = []
    healths: list[float] = []
    while _done(client) < jobs:
        for took, address in ((states, f"/jobs/{job}"), (healths, "/healthz")):
            began = time.perf_counter()
            client.get(address).raise_for_status()
            took.append(1000 * (time.perf_counter() - began))
        time.sleep(LOOKS)
    return states, healths


def _until_done(client: httpx.Client, jobs: int) -> None:
    while _done(client) < jobs:
        time.sleep(LOOKS)


def _done(client: httpx.Client) -> int:
    text = client.get("/metrics").text
    [line] = [
        one for one in text.splitlines() if one.startswith('penstock_service_jobs{state="done"}')
    ]
    return int(float(line.rpartition(" ")[2]))


def _p95(values: list[float]) -> float:
    return quantiles(values, n=20)[-1]


def syncs(jobs: int) -> Figures:
    """Transactions, one after the other, each on the disk before the next one begins."""
    with tempfile.TemporaryDirectory() as folder, closing(sqlite3.connect(f"{folder}/a.db")) as db:
        db.isolation_level = None
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("CREATE TABLE jobs (id INTEGER PRIMARY KEY, data TEXT)")
        began = time.perf_counter()
        for number in range(jobs):
            db.execute("INSERT INTO jobs VALUES (?, ?)", (number, "x" * 300))
        return {"jobs accepted a second": jobs / (time.perf_counter() - began)}


def main() -> None:
    command = parser(__doc__, rounds=3)
    command.add_argument("--jobs", type=int, help=f"small jobs in a round ({JOBS})")
    arguments = parse(command)
    jobs = arguments.jobs or (QUICK_JOBS if arguments.quick else JOBS)
    contestants: dict[str, Callable[[], Figures]] = {
        "penstock serve": Load(jobs),
        "the limit: synced transactions": partial(syncs, jobs),
    }
    taken = take_turns(contestants, arguments.rounds, warm_up=0)
    own = taken["penstock serve"]
    finish(
        Measurement(
            "serve_load",
            "Load on penstock serve",
            [table(f"{jobs} small jobs, {CLIENTS} clients", taken, "penstock serve", ())],
            [
                Target(
                    "jobs accepted a second",
                    interval([one["jobs accepted a second"] for one in own]),
                    50,
                    at_least=True,
                ),
                Target(
                    "p95 of a job's state, ms",
                    interval([one["p95 of a state ms"] for one in own]),
                    100,
                ),
                Target(
                    "memory at the end over that after a tenth of the jobs",
                    interval([one["growth, ratio"] for one in own]),
                    1.1,
                ),
            ],
            arguments.rounds,
            quick=arguments.quick,
        ),
        arguments,
    )


if __name__ == "__main__":
    main()
