"""Seconds that a crawl takes with `workers = "auto"`, against the best fixed numbers of workers.

    python -m benchmarks.auto_workers
    python -m benchmarks.auto_workers --workload download --rounds 5

Three lists of videos, each with another bottleneck. **download**: a server gives every connection
its share of a link, and no connection more than an eighth of that link's rate. **decode**: long
720p clips lie on this disk. **describe**: a vision API answers three seconds after it is asked, and
18 calls may be in flight. Every stage of `crawl` is at work in all of them, with real detection.

In the first round everyone takes part: several numbers of workers for the bottleneck's stage, the
other stages having enough, and "auto", which starts with one worker a stage. The two fastest of the
fixed ones go on to take turns with it. Each crawl runs in a process of its own, and what is timed
includes loading the model, so no ramp is hidden: a run lasts 15 to 45 seconds.
"""

import argparse
import http.server
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.harness import Figures, finish, parse, parser, ratios, table, take_turns
from benchmarks.results import Measurement, Target
from engine.config.load import load_config
from engine.flow.opening import run_pipeline
from engine.telemetry.events import Event, Events, PoolResized
from stages.crawl.pipeline import crawl
from stages.demo.clips import Clip, Shot
from stages.demo.script import SETTINGS
from stages.demo.server import Exchange, MediaServer
from stages.demo.videos import H264, write_clip

OWN = 'Penstock, workers = "auto"'

ENOUGH = {"download": 8, "extract": 3, "describe": 8, "dedup": 2}
"""Workers of the stages that are not the bottleneck of a fixed configuration."""

SPEED = 50e3
"""Bytes a second that the server gives one connection at most."""

LINK = 8 * SPEED
"""Bytes a second that it gives all of them together."""


@dataclass(frozen=True, slots=True)
class Workload:
    """`videos` to crawl, whose slowest stage is `stage`; `tried` are fixed numbers of workers of
    it, and `settings` what else is set."""

    stage: str
    videos: int
    quick_videos: int
    tried: Sequence[int]
    settings: Sequence[str] = ()


WORKLOADS = {
    "download": Workload("download", 108, 8, (4, 8, 12, 16)),
    "decode": Workload("extract", 144, 8, (1, 2, 3, 4), ["stages.extract.fps=0.1"]),
    "describe": Workload("describe", 48, 8, (3, 6, 9, 18)),
}


class Link:
    """A route's answer at SPEED bytes a second, and at LINK over all connections at once."""

    BLOCK = 2048

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._free_at = 0.0

    def route(self, path: Path) -> Callable[[Exchange], None]:
        content = path.read_bytes()

        def serve(exchange: Exchange) -> None:
            exchange.head(200, "video/mp4", len(content))
            if exchange.command == "HEAD":
                return
            own = time.monotonic()
            for sent in range(0, len(content), self.BLOCK):
                own += self.BLOCK / SPEED
                time.sleep(max(0.0, max(own, self._turn()) - time.monotonic()))
                exchange.wfile.write(content[sent : sent + self.BLOCK])

        return serve

    def _turn(self) -> float:
        """When the link has carried this block and all that came before it."""
        with self._lock:
            self._free_at = max(self._free_at, time.monotonic()) + self.BLOCK / LINK
            return self._free_at


class Answers(http.server.BaseHTTPRequestHandler):
    """An OpenAI-compatible server that takes its time."""

    LATENCY = 3.0

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        time.sleep(self.LATENCY)
        reply = {"choices": [{"message": {"content": "A frame."}, "finish_reason": "stop"}]}
        body = json.dumps(reply).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Nothing is logged."""


def serve(folder: Path, addresses: Any) -> None:
    """Runs in a process of its own, so that its time is not the crawl's."""
    answers = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    answers.daemon_threads = True
    threading.Thread(target=answers.serve_forever, daemon=True).start()
    link = Link()
    routes = {f"/{path.name}": link.route(path) for path in sorted(folder.glob("*.mp4"))}
    with MediaServer(routes) as media:
        urls = [media.url(path) for path in routes]
        addresses.put((urls, f"http://127.0.0.1:{answers.server_address[1]}/v1"))
        parent = multiprocessing.parent_process()
        assert parent is not None
        parent.join()  # whatever ends the benchmark ends this too


def make_videos(workload: str, folder: Path, count: int) -> list[Path]:
    """`count` videos of which no two look the same, or `count` names of one long one."""
    paths = [folder / f"{workload}-{number:02}.mp4" for number in range(count)]
    if workload == "decode":
        write_long_clip(paths[0])
        for path in paths[1:]:
            path.hardlink_to(paths[0])
        return paths
    shots = (Shot("star"), Shot("circle"), Shot("star circle"))
    for path in paths:
        write_clip(Clip(path.stem, 320, 180, 5, shots), H264, path)
    return paths


def write_long_clip(path: Path) -> None:
    """A minute of 720p H.264 with one keyframe at the start, so that nothing can be skipped."""
    import av
    import numpy as np

    clip = Clip("long", 640, 360, 25, (Shot("star"), Shot("circle")))
    drawn = [np.asarray(picture) for picture in clip.pictures()]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = 1280, 720, "yuv420p"
        stream.codec_context.gop_size = 1500
        for number in range(1500):
            frame = av.VideoFrame.from_ndarray(drawn[number % len(drawn)], format="rgb24")
            container.mux(stream.encode(frame.reformat(1280, 720, "yuv420p")))
        container.mux(stream.encode(None))


@dataclass(slots=True)
class Resizes:
    """Notes every resize with its moment."""

    started: float
    seen: list[tuple[float, PoolResized]] = field(default_factory=list)

    def __call__(self, event: Event) -> None:
        if isinstance(event, PoolResized):
            self.seen.append((time.perf_counter() - self.started, event))


def crawl_once(arguments: argparse.Namespace) -> None:
    """One crawl, in this process: prints its figures as JSON, and each resize on stderr."""
    values = [
        *SETTINGS,
        "stages.describe.backend=openai",
        f"stages.describe.base_url={arguments.api}",
        "stages.describe.concurrency=18",
        "stages.describe.reuse=off",
        "stages.download.allow_private=true",
        "limits.free_disk=0",
        *WORKLOADS[arguments.workload].settings,
        *(f"stages.{size}" for size in arguments.sizes),
    ]
    if arguments.workload != "describe":
        values.append("stages.describe.backend=detections")
    config = load_config(crawl, None, {}, values, {})
    urls = Path(arguments.urls).read_text().split()
    wall, processor = time.perf_counter(), time.process_time()
    resizes, events = Resizes(wall), Events()
    events.subscribe(resizes)
    report = run_pipeline(crawl, config, Path(arguments.out), urls, events=events)
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    if report.items["done"] != len(urls):
        raise SystemExit(
            f"{report.items['done']} of {len(urls)} videos are done: {report.failures}"
        )
    for moment, resize in resizes.seen:
        print(f"  {moment:5.1f} s {resize.stage} {resize.before} -> {resize.after}: {resize.why}",
              file=sys.stderr)  # fmt: skip
    figures = {"wall s": wall, "CPU s": processor}
    if resizes.seen:
        late = [moment for moment, _ in resizes.seen if moment > wall / 2]
        figures |= {"resizes": len(resizes.seen), "resizes in the second half": len(late)}
    print(json.dumps(figures))


def sized(workload: str, workers: int | None) -> list[str]:
    """The numbers of workers as --set takes them; None for "auto" everywhere."""
    if workers is None:
        return [f"{name}.workers=auto" for name in crawl.names]
    return [f"{name}.workers={most}" for name, most in ENOUGH.items()] + [
        f"{WORKLOADS[workload].stage}.workers={workers}"
    ]


def measure(workload: str, urls: Path, api: str, workers: int | None) -> Figures:
    """One crawl in a process of its own."""
    with tempfile.TemporaryDirectory() as out:
        command = [sys.executable, "-m", "benchmarks.auto_workers", "--workload", workload]
        command += ["--urls", str(urls), "--out", out, "--api", api]
        command += ["--sizes", *sized(workload, workers)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    print(f"{workload}, {name_of(workload, workers)}: {figures['wall s']:.1f} s", file=sys.stderr)
    return figures


def name_of(workload: str, workers: int | None) -> str:
    return OWN if workers is None else f"{WORKLOADS[workload].stage} = {workers}"


@contextmanager
def served(folder: Path) -> Iterator[tuple[list[str], str]]:
    """The videos of the folder and the vision API, served; gives their addresses."""
    addresses: Any = multiprocessing.Queue()
    server = multiprocessing.Process(target=serve, args=(folder, addresses), daemon=True)
    server.start()
    try:
        yield addresses.get(timeout=30)
    finally:
        server.terminate()
        server.join()


def compete(
    workload: str, rounds: int, quick: bool, folder: Path
) -> tuple[Mapping[str, Sequence[Figures]], str]:
    """The figures of "auto" and of the fixed configurations that were near the best, and the name
    of the best."""
    chosen = WORKLOADS[workload]
    videos = folder / workload
    videos.mkdir()
    paths = make_videos(workload, videos, chosen.quick_videos if quick else chosen.videos)
    with served(videos) as (urls, api):
        listed = folder / f"{workload}.txt"
        listed.write_text("\n".join(urls if workload == "download" else map(str, paths)))
        sizes = (*(chosen.tried[1:2] if quick else chosen.tried), None)
        contestants = {
            name_of(workload, size): partial(measure, workload, listed, api, size) for size in sizes
        }
        taken = take_turns(contestants, 1, warm_up=0)
        near = sorted(set(taken) - {OWN}, key=lambda name: taken[name][0]["wall s"])[:2]
        if rounds > 1:
            finalists = {name: contestants[name] for name in (*near, OWN)}
            for name, turns in take_turns(finalists, rounds - 1, warm_up=0).items():
                taken[name] += turns
    taken = {name: taken[name] for name in (*near, OWN)}
    fixed = [name for name in taken if name != OWN]
    best = min(fixed, key=lambda name: statistics.median(turn["wall s"] for turn in taken[name]))
    return taken, best


def main() -> None:
    made = parser(__doc__, rounds=3)
    made.add_argument("--workload", choices=WORKLOADS, help="only this one")
    made.add_argument("--sizes", nargs="*", help=argparse.SUPPRESS)
    for hidden in ("--urls", "--out", "--api"):
        made.add_argument(hidden, help=argparse.SUPPRESS)
    arguments = parse(made)
    if arguments.out:
        crawl_once(arguments)
        return
    rounds = 1 if arguments.quick else arguments.rounds
    tables, targets = [], []
    with tempfile.TemporaryDirectory() as folder:
        for workload in [arguments.workload] if arguments.workload else WORKLOADS:
            taken, best = compete(workload, rounds, arguments.quick, Path(folder))
            tables.append(table(f"Bound by {workload}", taken, OWN))
            ratio = ratios(taken[OWN], taken[best], "wall s")
            targets.append(Target(f"{workload}: auto's wall time over that of {best}", ratio, 1.05))
    result = Measurement(
        "auto_workers",
        'Workers chosen by "auto", from one a stage, against the best fixed number',
        tables,
        targets,
        rounds,
        arguments.quick,
        [f"{os.cpu_count()} cores; every run loads its model, and ramps up, within its time."],
    )
    finish(result, arguments)


if __name__ == "__main__":
    main()
