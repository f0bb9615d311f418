"""One ten-minute video through a whole crawl: its time against the bound, its frames on the disk.

    python -m benchmarks.long_video                                # a video that it makes itself
    python -m benchmarks.long_video --folder CLIPS --weights yolo11n.onnx --classes person
    python -m benchmarks.long_video --baseline CHECKOUT            # in pairs with the code there

The video is 720p, 30 frames a second, the longest of the clips again and again; it is made once and
kept. Descriptions come from a server that takes 300 ms and allows 600 requests a minute; `reuse` is
off, and extract's outputs are deleted once they have been read (`keep = false`). The crawl is the
command as a person gives it, start and end included, and is watched from outside. --frames holds
the raw frames on the disk against what the queues allow.

The bound is the larger of: the processor seconds that the thriftier contestant used in that round
over the cores; the requests over the allowed rate. Short of both limits are, of each half second,
the shares of the cores and of the allowance that nothing used, the smaller of the two, added up.
A core's idle seconds are those until the last frame was filtered. What other programs do counts as
use: measure on a quiet machine.
"""

import hashlib
import sqlite3
import tempfile
import time
from argparse import Namespace
from contextlib import ExitStack
from pathlib import Path

import psutil

from benchmarks.crawl_command import children_seconds, crawling, ended_well, penstock_of
from benchmarks.crawl_contestants import finished_lines
from benchmarks.crawl_material import (
    REQUESTS,
    add_crawl_options,
    crawl_settings,
    found_videos,
    long_video,
)
from benchmarks.harness import Contestant, Figures, finish, parse, parser, table, take_turns
from benchmarks.limits import COMPUTING, bounds, short_of_limits
from benchmarks.results import Measurement, Row, Table, Target
from benchmarks.servers import Behaviour, DescriptionServer, answering, serving
from benchmarks.watches import CoreWatch, FrameWatch, ProcessWatch
from engine.bench.intervals import interval
from engine.ledger.schema import FILE

SECONDS, QUICK_SECONDS = 600, 30
OWN, BEFORE = "Penstock", "the release before"
SPEED = 1e9
"""Bytes a second of the download, which is not what is measured here."""


def contestant(
    checkout: Path | None, url: str, settings: list[str], server: DescriptionServer
) -> Contestant:
    """A crawl of the video from nothing, by the command of that checkout."""

    def turn() -> Figures:
        server.restart(Behaviour(requests_per_minute=REQUESTS))
        with tempfile.TemporaryDirectory() as folder:
            work = Path(folder, "work")
            used, began = children_seconds(), time.monotonic()
            with (
                CoreWatch() as cores,
                FrameWatch(work / "items") as frames,
                crawling(penstock_of(checkout), [url], settings, work) as process,
                ProcessWatch(psutil.Process(process.pid), work) as watch,
            ):
                ended_well(process, "the crawl")
            ended = time.monotonic()
            moments = server.described()
            idle = cores.idle_until(_last_computing(work))
            described = list(finished_lines(work, "descriptions.jsonl", "describe"))
            return {
                "wall s": ended - began,
                "CPU s": children_seconds() - used,
                "requests": server.figures()["requests"],
                "described": len(described),
                "until a frame was described s": moments[0] - began,
                "until a description was kept s": (frames.described or ended) - began,
                "raw frames at once": frames.frames,
                "raw frames MB": frames.megabytes,
                **{f"core {number} idle s": seconds for number, seconds in enumerate(idle)},
                "short of both limits s": short_of_limits(cores.looks, moments),
                "memory MB": watch.memory,
                "disk MB": watch.disk,
                "dataset": fingerprint(work / "dataset"),
            }

    return turn


def _last_computing(work: Path) -> float:
    """The time of day when the last attempt of a step that computes ended."""
    marks = ", ".join("?" * len(COMPUTING))
    db = sqlite3.connect(work / FILE)
    try:
        query = f"SELECT max(ended) FROM attempts WHERE stage IN ({marks})"
        found: float = db.execute(query, COMPUTING).fetchone()[0]
    finally:
        db.close()
    return found


def fingerprint(folder: Path) -> int:
    """A number that two folders share if they hold the same files, byte for byte."""
    found = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            found.update(f"{path.relative_to(folder)}\0".encode())
            found.update(hashlib.sha256(path.read_bytes()).digest())
    return int.from_bytes(found.digest()[:6])


def main() -> None:
    command = parser(__doc__, rounds=3)
    add_crawl_options(command)
    command.add_argument("--seconds", type=int, help=f"the video's length ({SECONDS})")
    command.add_argument(
        "--frames", type=int, help="raw frames that the queues allow on the disk at once"
    )
    arguments = parse(command)
    length = arguments.seconds or (QUICK_SECONDS if arguments.quick else SECONDS)
    if arguments.quick:
        arguments.rounds = 1
    with ExitStack() as stack:
        temporary = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        video = long_video(found_videos(arguments.folder, temporary), length)
        [url] = stack.enter_context(serving([video], SPEED))
        server = stack.enter_context(answering(Behaviour()))
        shared = [*crawl_settings(arguments, server.url), "stages.extract.keep=false"]
        contestants = {OWN: contestant(None, url, [*shared, *arguments.set], server)}
        if arguments.baseline is not None:
            contestants[BEFORE] = contestant(arguments.baseline, url, shared, server)
        taken = take_turns(contestants, arguments.rounds, warm_up=0)
    finish(_result(arguments, taken, video, length), arguments)


def _result(
    arguments: Namespace, taken: dict[str, list[Figures]], video: Path, length: int
) -> Measurement:
    datasets = {turn["dataset"] for turns in taken.values() for turn in turns}
    shown = {
        name: [{key: value for key, value in turn.items() if key != "dataset"} for turn in turns]
        for name, turns in taken.items()
    }
    limits = [bounds(list(turns)) for turns in zip(*taken.values(), strict=True)]
    own = taken[OWN]
    over = [turn["wall s"] / limit["bound"] for turn, limit in zip(own, limits, strict=True)]
    first = [turn["until a frame was described s"] for turn in own]
    size = video.stat().st_size / 1e6
    targets = [
        Target("wall over the bound", interval(over), 1.15),
        Target("until a frame was described, s", interval(first), 15),
        Target("datasets that differ from the first", interval([len(datasets) - 1.0]), 0),
    ]
    if arguments.frames is not None:
        at_once = interval([turn["raw frames at once"] for turn in own])
        targets.append(Target("raw frames at once", at_once, arguments.frames))
    return Measurement(
        name="long_video",
        title="One ten-minute video through a whole crawl",
        tables=[
            table("crawl", shown, OWN, ("wall s", "CPU s", "until a frame was described s")),
            Table(
                "no crawl can take less than",
                [
                    Row(key, {"seconds": interval([limit[key] for limit in limits])})
                    for key in limits[0]
                ],
            ),
        ],
        targets=targets,
        rounds=arguments.rounds,
        quick=arguments.quick,
        notes=[f"The video: {length} s of 720p, {size:.0f} MB."],
    )


if __name__ == "__main__":
    main()
