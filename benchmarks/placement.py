"""What it costs a crawl to have a stage in processes: download, whose default it is, and extract.

The same crawl by the command as a person gives it, once each round with every placement: small
clips over HTTP through all five stages, and one long video, which extract has all cores for.
Processor time is that of all its processes; memory is what they had at once, what they share
counted in each.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import psutil

from benchmarks.harness import Contestant, Figures, finish, parse, parser, ratios, table, take_turns
from benchmarks.results import Measurement, Target
from benchmarks.servers import serving
from benchmarks.watches import ProcessWatch
from tests.acceptance.clips import make_corpus
from tests.acceptance.command import SHAPES, settings

PENSTOCK = Path(sys.executable).with_name("penstock")
MOST = 1.05
"""A default may cost a crawl one twentieth."""


def crawl(sources: list[str], placement: dict[str, str]) -> Contestant:
    """A crawl from nothing with these placements."""

    def turn() -> Figures:
        with tempfile.TemporaryDirectory() as folder:
            listed = Path(folder, "urls.txt")
            listed.write_text("".join(f"{source}\n" for source in sources))
            placed = {f"stages.{name}.placement": where for name, where in placement.items()}
            words = [str(PENSTOCK), "crawl", "--from", str(listed), "--out", f"{folder}/work"]
            words += ["--allow-private", "--quiet", *settings(SHAPES, placed)]
            began, used = time.monotonic(), _children_seconds()
            process = subprocess.Popen(words, stdout=subprocess.DEVNULL)
            with ProcessWatch(psutil.Process(process.pid), Path(folder)) as watch:
                code = process.wait()
            if code != 0:
                raise SystemExit(f"the crawl ended with code {code}; see above")
            return {
                "wall s": time.monotonic() - began,
                "CPU s": _children_seconds() - used,
                "memory MB": watch.memory,
            }

    return turn


def _children_seconds() -> float:
    times = os.times()
    return times.children_user + times.children_system


def looped(source: Path, target: Path, times: int) -> Path:
    """`source` again and again, so many times."""
    import av

    with av.open(str(target), "w") as made:
        stream, shift = None, 0
        for _ in range(times):
            with av.open(str(source)) as given:
                old = given.streams.video[0]
                stream = stream or made.add_stream_from_template(old)
                for packet in given.demux(old):
                    if packet.dts is not None:
                        packet.pts, packet.dts = (packet.pts or 0) + shift, packet.dts + shift
                        packet.stream = stream
                        made.mux(packet)
                shift += old.duration or 0
    return target


def main() -> None:
    command = parser(__doc__, rounds=5)
    command.add_argument("--videos", type=int, default=120)
    command.add_argument("--speed", type=float, default=2e6, help="bytes a second and connection")
    arguments = parse(command)
    if arguments.quick:
        arguments.videos = 6
    both: dict[str, Callable[[list[str]], Contestant]] = {
        "threads": lambda given: crawl(given, {"download": "thread", "extract": "thread"}),
        "download in processes": lambda given: crawl(
            given, {"download": "process", "extract": "thread"}
        ),
        "both in processes": lambda given: crawl(
            given, {"download": "process", "extract": "process"}
        ),
    }
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        clips = make_corpus(folder / "clips", arguments.videos)
        served = stack.enter_context(serving(clips, arguments.speed))
        long = [str(looped(clips[0], folder / "long.mp4", 10 if arguments.quick else 300))]
        many = take_turns({name: make(served) for name, make in both.items()}, arguments.rounds)
        one = take_turns({name: make(long) for name, make in both.items()}, arguments.rounds)
    compared = ("wall s", "CPU s")
    own = "download in processes"
    finish(
        Measurement(
            "placement",
            "What a stage in processes costs a crawl",
            [
                table(f"{arguments.videos} small videos over HTTP", many, own, compared),
                table("one long local video", one, own, compared),
            ],
            [
                Target(
                    f"{key} over that with threads", ratios(many[own], many["threads"], key), MOST
                )
                for key in compared
            ],
            arguments.rounds,
            quick=arguments.quick,
        ),
        arguments,
    )


if __name__ == "__main__":
    main()
