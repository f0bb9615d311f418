"""Seconds that a whole crawl takes, against its bound and what people would use instead.

    python -m benchmarks.crawl_speed                          # 120 videos that it makes itself
    python -m benchmarks.crawl_speed --folder CLIPS --weights yolo11n.onnx --classes person,car
    python -m benchmarks.crawl_speed --baseline CHECKOUT    # and Penstock as it is there

Videos come over HTTP at --speed bytes a second and connection; descriptions from a server that
takes 300 ms and allows 600 requests a minute. Every contestant does the same work with the same
stage functions (`benchmarks/crawl_contestants.py`), once each round, in a process of its own; its
memory, processor time and disk are watched from outside, its children included. All end with a
dataset; Penstock also writes a ledger and syncs every output. `reuse` is off, so that all make the
same requests; Penstock takes part once more with it on, as people use it.

The bound is the largest of: the processor seconds that the thriftiest contestant used in that round
over the cores; the bytes over what all download connections give; the requests over the allowed
rate.
"""

import json
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import psutil

from benchmarks.crawl_contestants import CONTESTANTS, WORKERS, Crawling
from benchmarks.crawl_material import (
    REQUESTS,
    add_crawl_options,
    crawl_settings,
    distinct_videos,
    found_videos,
)
from benchmarks.harness import Figures, finish, parse, parser, table
from benchmarks.results import Measurement, Row, Table, Target
from benchmarks.servers import Behaviour, DescriptionServer, answering, serving
from benchmarks.watches import ProcessWatch
from engine import available_cores
from engine.bench.intervals import interval

REUSING = "Penstock, reuse on"
BEFORE = "the release before"


def contend(
    name: str, crawling: Crawling, server: DescriptionServer, checkout: Path | None = None
) -> Figures:
    """One contestant, from a cold work folder; returns its figures. With a `checkout`, Penstock as
    it is there."""
    server.restart(Behaviour(requests_per_minute=REQUESTS))
    with tempfile.TemporaryDirectory() as folder:
        settings = list(crawling.settings)
        if name == REUSING:
            settings.append("stages.describe.reuse=run")
        given = Crawling(crawling.urls, settings, str(Path(folder, "work")))
        python = sys.executable if checkout is None else str(checkout / ".venv" / "bin" / "python")
        contestant = "Penstock" if checkout is not None else name.partition(",")[0]
        process = subprocess.Popen(
            [python, "-m", "benchmarks.crawl_contestants", contestant],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=checkout,
        )
        began = time.monotonic()
        with ProcessWatch(psutil.Process(process.pid), Path(folder)) as watch:
            printed, _ = process.communicate(json.dumps(vars(given)))
        if process.returncode != 0:
            raise SystemExit(f"{name} failed; see above")
    found = json.loads(printed.splitlines()[-1])
    # An older checkout's contestant does not count the frames.
    counted = {key: found[key] for key in ("frames", "described") if key in found}
    return {
        "wall s": found["wall s"],
        "CPU s": watch.seconds,
        "memory MB": watch.memory,
        "disk MB": watch.disk,
        **counted,
        "requests": server.figures()["requests"],
        "until a frame was described s": server.described()[0] - began,
    }


def bounds(turns: list[Figures], downloaded: int, speed: float) -> Figures:
    """What no contestant can go below, in seconds, and the largest of it."""
    found = {
        "processor": min(turn["CPU s"] for turn in turns) / available_cores(),
        "bytes": downloaded / (speed * WORKERS["download"]),
        "requests": min(turn["requests"] for turn in turns) / (REQUESTS / 60),
    }
    return found | {"bound": max(found.values())}


def main() -> None:
    command = parser(__doc__, rounds=3)
    add_crawl_options(command)
    command.add_argument("--videos", type=int, default=120)
    command.add_argument("--speed", type=float, default=2e6, help="bytes a second and connection")
    command.add_argument(
        "--aim", type=float, default=1.05, help="how often the bound it may take, at most"
    )
    command.add_argument("--only", help="these contestants, with commas between; default: all")
    arguments = parse(command)
    names = [*CONTESTANTS, REUSING]
    if arguments.quick:
        arguments.videos, arguments.rounds = 6, 1
        names = ["asyncio sketch", "Penstock"]
    if arguments.baseline is not None:
        names.append(BEFORE)
    if arguments.only:
        names = [name for name in names if name in arguments.only.split(",")]
    notes = []
    if "Ray Data" in names and not _has_ray():
        names.remove("Ray Data")
        notes.append("Ray Data is not installed: left out.")

    with ExitStack() as stack:
        temporary = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        found = found_videos(arguments.folder, temporary)
        files = distinct_videos(found, arguments.videos, temporary)
        served = stack.enter_context(serving(files, arguments.speed))
        server = stack.enter_context(answering(Behaviour()))
        crawling = Crawling(served, crawl_settings(arguments, server.url), "")
        with_settings = replace(crawling, settings=[*crawling.settings, *arguments.set])
        downloaded = sum(path.stat().st_size for path in files)
        taken: dict[str, list[Figures]] = {name: [] for name in names}
        limits: list[Figures] = []
        for round_ in range(arguments.rounds):
            for name in names[round_ % len(names) :] + names[: round_ % len(names)]:
                if name == BEFORE:
                    taken[name].append(contend(name, crawling, server, arguments.baseline))
                else:
                    taken[name].append(contend(name, with_settings, server))
                wall = taken[name][-1]["wall s"]
                print(f"round {round_ + 1}: {name}: {wall:.1f} s", file=sys.stderr)
            same = [taken[name][-1] for name in names if name != REUSING]
            limits.append(bounds(same, downloaded, arguments.speed))
    finish(_result(arguments, taken, limits, notes), arguments)


def _has_ray() -> bool:
    try:
        import ray  # noqa: F401
    except ImportError:
        return False
    return True


def _result(
    arguments: object,
    taken: dict[str, list[Figures]],
    limits: list[Figures],
    notes: list[str],
) -> Measurement:
    given = vars(arguments)
    targets = []
    if "Penstock" in taken:
        own = [turn["wall s"] for turn in taken["Penstock"]]
        bound = [limit["bound"] for limit in limits]
        over = [mine / least for mine, least in zip(own, bound, strict=True)]
        targets.append(Target("wall over the bound", interval(over), given["aim"]))
        for name, turns in taken.items():
            if not name.startswith("Penstock"):
                pairs = zip(own, turns, strict=True)
                share = [mine / turn["wall s"] for mine, turn in pairs]
                targets.append(Target(f"wall over {name}'s", interval(share), 1.0))
    asking = [turn for name, turns in taken.items() for turn in turns if name != REUSING]
    described = sorted({int(turn["described"]) for turn in asking})
    frames = max(int(turn.get("frames", 0)) for turn in asking)
    limit_rows = [
        Row(key, {"seconds": interval([limit[key] for limit in limits])}) for key in limits[0]
    ]
    about = (
        f"{given['videos']} videos, no two frames alike to the last byte; {frames} frames sampled, "
        f"{described} described without reuse; {given['speed'] / 1e6:g} MB/s a connection."
    )
    return Measurement(
        name="crawl_speed",
        title="A whole crawl, against its bound and what people would use instead",
        tables=[
            table("crawl", taken, "Penstock"),
            Table("the bound is the largest of", limit_rows),
        ],
        targets=targets,
        rounds=given["rounds"],
        quick=given["quick"],
        notes=[about, *notes],
    )


if __name__ == "__main__":
    main()
