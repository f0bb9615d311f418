"""Seconds that a whole crawl takes, against its bound and what people would use instead.

    python -m benchmarks.crawl_speed                          # 120 videos that it makes itself
    python -m benchmarks.crawl_speed --folder CLIPS --weights yolo11n.onnx --classes person,car

Videos come over HTTP at --speed bytes a second and connection; descriptions from a server that
takes 300 ms and allows 600 requests a minute. Every contestant does the same work with the same
stage functions (`benchmarks/crawl_contestants.py`), once each round, in a process of its own; its
memory, processor time and disk are watched from outside, its children included. All end with a
dataset; Penstock also writes a ledger and syncs every output. `reuse` is off, so that all make the
same requests; Penstock takes part once more with it on, as people use it.

The bound is the largest of: the processor seconds that the thriftiest contestant used in that round
over the cores; the bytes over what all download connections give; the requests over the allowed
rate; the frames over the detector's own rate with full batches and nothing else at work.
"""

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import psutil

from benchmarks.crawl_contestants import CONTESTANTS, WORKERS, Crawling
from benchmarks.harness import Figures, finish, parse, parser, table
from benchmarks.results import Measurement, Row, Table, Target
from benchmarks.servers import Behaviour, DescriptionServer, answering, serving
from engine import available_cores
from engine.bench.intervals import interval
from stages.demo.script import make_videos
from stages.demo.shapes import WEIGHTS
from stages.models.detector import Detector

TYPES = {".mp4", ".webm", ".mkv", ".avi", ".mov", ".gif"}
RATE = 600.0
REUSING = "Penstock, reuse on"
EVERY = 0.2
"""Seconds between two looks at a contestant's processes."""


class ProcessWatch:
    """Looks at a process and its children again and again: memory and disk at their highest, and
    the processor time that all of them used."""

    def __init__(self, process: psutil.Process, folder: Path) -> None:
        self.memory = 0.0
        self.disk = 0.0
        self._process = process
        self._folder = folder
        self._seconds: dict[tuple[int, float], float] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    @property
    def seconds(self) -> float:
        return sum(self._seconds.values())

    def stop(self) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        looks = 0
        while not self._over.wait(EVERY):
            self._look()
            if looks % 5 == 0:  # the folder is walked once a second
                self.disk = max(self.disk, _size(self._folder))
            looks += 1

    def _look(self) -> None:
        memory = 0
        try:
            family = [self._process, *self._process.children(recursive=True)]
        except psutil.NoSuchProcess:
            return
        for process in family:
            try:
                with process.oneshot():
                    times = process.cpu_times()
                    memory += process.memory_info().rss
                    key = (process.pid, process.create_time())
            except psutil.NoSuchProcess:
                continue
            self._seconds[key] = times.user + times.system
        self.memory = max(self.memory, memory / 1e6)


def _size(folder: Path) -> float:
    """The megabytes in a folder, hard links counted once."""
    found: dict[int, int] = {}
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                entry = os.lstat(os.path.join(parent, name))  # noqa: PTH118 - in a hot loop
            except FileNotFoundError:
                continue
            found[entry.st_ino] = entry.st_blocks * 512
    return sum(found.values()) / 1e6


def contend(name: str, crawling: Crawling, server: DescriptionServer) -> Figures:
    """One contestant, from a cold work folder; returns its figures."""
    server.restart(Behaviour(requests_per_minute=RATE))
    with tempfile.TemporaryDirectory() as folder:
        settings = [
            *crawling.settings,
            f"stages.describe.reuse={'run' if name == REUSING else 'off'}",
        ]
        given = Crawling(crawling.urls, settings, str(Path(folder, "work")))
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.crawl_contestants", name.partition(",")[0]],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        watch = ProcessWatch(psutil.Process(process.pid), Path(folder))
        printed, _ = process.communicate(json.dumps(vars(given)))
        watch.stop()
        if process.returncode != 0:
            raise SystemExit(f"{name} failed; see above")
    found = json.loads(printed.splitlines()[-1])
    return {
        "wall s": found["wall s"],
        "CPU s": watch.seconds,
        "memory MB": watch.memory,
        "disk MB": watch.disk,
        "described": found["described"],
        "requests": server.figures()["requests"],
    }


def detector_rate(weights: str, size: int, frames: int = 64) -> float:
    """Frames a second of the detector alone, in full batches."""
    import numpy as np

    detector = Detector(Path(weights), image_size=size)
    noise = np.random.default_rng(0)
    images = [noise.integers(0, 255, (360, 640, 3), np.uint8) for _ in range(frames)]
    detector.detect(images[: detector.batch])
    began = time.monotonic()
    detector.detect(images)
    return frames / (time.monotonic() - began)


def bounds(
    turns: list[Figures], frames: int, downloaded: int, speed: float, rate: float
) -> Figures:
    """What no contestant can go below, in seconds, and the largest of it."""
    found = {
        "processor": min(turn["CPU s"] for turn in turns) / available_cores(),
        "bytes": downloaded / (speed * WORKERS["download"]),
        "requests": min(turn["requests"] for turn in turns) / (RATE / 60),
        "detector": frames / rate,
    }
    return found | {"bound": max(found.values())}


def distinct_videos(files: list[Path], count: int, folder: Path) -> list[Path]:
    """So many files: the given ones, then copies of them, each with a mark in a corner of its own.

    Identical frames would be asked about once by a cache, and their number would say nothing.
    """
    made = files[:count]
    for number in range(len(files), count):
        target = folder / f"copy{number:04}.mp4"
        _write_marked(files[number % len(files)], target, number)
        made.append(target)
    return made


def _write_marked(source: Path, target: Path, number: int) -> None:
    import av

    mark = (37 * number % 256, 91 * number % 256, 151 * number % 256)
    with av.open(str(source)) as given, av.open(str(target), "w") as made:
        old = given.streams.video[0]
        new = made.add_stream("libx264", rate=old.average_rate, options={"preset": "veryfast"})
        new.width, new.height = old.width // 2 * 2, old.height // 2 * 2
        new.pix_fmt = "yuv420p"
        for frame in given.decode(old):
            pixels = frame.to_ndarray(format="rgb24")[: new.height, : new.width].copy()
            pixels[:24, :24] = mark
            copy = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            copy.pts, copy.time_base = frame.pts, frame.time_base
            made.mux(new.encode(copy))
        made.mux(new.encode())


def sampled_frames(crawling: Crawling) -> int:
    """The frames that extract makes of all videos: counted once, by doing it."""
    with tempfile.TemporaryDirectory() as folder:
        settings = [*crawling.settings, "stages.describe.backend=detections"]
        given = Crawling(crawling.urls, settings, folder)
        CONTESTANTS["Penstock"](given)
        return sum(
            len(path.read_text().splitlines())
            for path in Path(folder).glob("items/*/extract/frames.jsonl")
        )


def main() -> None:
    command = parser(__doc__, rounds=3)
    command.add_argument(
        "--folder", type=Path, action="append", help="videos to crawl; default: made for this"
    )
    command.add_argument("--weights", default=str(WEIGHTS))
    command.add_argument(
        "--classes", type=lambda text: [c for c in text.split(",") if c], default=[]
    )
    command.add_argument("--image-size", type=int, default=640)
    command.add_argument("--videos", type=int, default=120)
    command.add_argument("--speed", type=float, default=2e6, help="bytes a second and connection")
    command.add_argument("--only", help="these contestants, with commas between; default: all")
    arguments = parse(command)
    names = [*CONTESTANTS, REUSING]
    if arguments.quick:
        arguments.videos, arguments.rounds = 6, 1
        names = ["asyncio sketch", "Penstock"]
    if arguments.only:
        names = [name for name in names if name in arguments.only.split(",")]
    notes = []
    if "Ray Data" in names and not _has_ray():
        names.remove("Ray Data")
        notes.append("Ray Data is not installed: left out.")

    with ExitStack() as stack:
        temporary = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        if not arguments.folder:
            made = temporary / "videos"
            made.mkdir()
            list(make_videos(made))
            (made / "cut.mp4").unlink()
        folders = arguments.folder or [made]
        found = sorted(path for one in folders for path in one.iterdir() if path.suffix in TYPES)
        files = distinct_videos(found, arguments.videos, temporary)
        served = stack.enter_context(serving(files, arguments.speed))
        server = stack.enter_context(answering(Behaviour()))
        crawling = Crawling(served, _settings(arguments, server.url), "")
        frames = sampled_frames(crawling)
        rate = detector_rate(arguments.weights, arguments.image_size)
        downloaded = sum(path.stat().st_size for path in files)
        taken: dict[str, list[Figures]] = {name: [] for name in names}
        limits: list[Figures] = []
        for round_ in range(arguments.rounds):
            for name in names[round_ % len(names) :] + names[: round_ % len(names)]:
                taken[name].append(contend(name, crawling, server))
                wall = taken[name][-1]["wall s"]
                print(f"round {round_ + 1}: {name}: {wall:.1f} s", file=sys.stderr)
            same = [taken[name][-1] for name in names if name != REUSING]
            limits.append(bounds(same, frames, downloaded, arguments.speed, rate))
    finish(_result(arguments, taken, limits, frames, notes), arguments)


def _settings(arguments: object, api: str) -> list[str]:
    given = vars(arguments)
    return [
        f"stages.filter.weights={given['weights']}",
        f"stages.filter.classes={json.dumps(given['classes'])}",
        f"stages.filter.image_size={given['image_size']}",
        "stages.describe.backend=openai",
        f"stages.describe.base_url={api}",
        f"stages.describe.requests_per_minute={RATE:g}",
        "stages.download.allow_private=true",
        'stages.download.proxy=""',
        "limits.free_disk=0",
    ]


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
    frames: int,
    notes: list[str],
) -> Measurement:
    given = vars(arguments)
    targets = []
    if "Penstock" in taken:
        own = [turn["wall s"] for turn in taken["Penstock"]]
        bound = [limit["bound"] for limit in limits]
        over = [mine / least for mine, least in zip(own, bound, strict=True)]
        targets.append(Target("wall over the bound", interval(over), 1.10))
        for name, turns in taken.items():
            if not name.startswith("Penstock"):
                pairs = zip(own, turns, strict=True)
                share = [mine / turn["wall s"] for mine, turn in pairs]
                targets.append(Target(f"wall over {name}'s", interval(share), 1.0))
    described = sorted(
        {int(turn["described"]) for name, turns in taken.items() for turn in turns
         if name != REUSING}
    )  # fmt: skip
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
