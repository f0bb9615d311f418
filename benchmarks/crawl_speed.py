"""Seconds that a crawl takes, against the same stages called by a plain script.

    python benchmarks/crawl_speed.py                        # videos that it makes itself
    python benchmarks/crawl_speed.py --folder VIDEOS --weights yolo11n.pt --classes person,car
    python benchmarks/crawl_speed.py --json crawl_speed.json

Three contenders do the same work on the same videos, in turn, each in a process of its own: one
video after the other; three videos at once, each from its start to its end; and Penstock. A server
on this machine hands out videos at --speed bytes a second for each connection and answers
description requests after --latency seconds. The machine's limit stands beside them: the CPU time
that the sequential contender took, divided by the cores. Penstock's figures include its ledger,
its syncing of every output to the disk, and the dataset at the end, which the others do without.
"""

import argparse
import http.server
import json
import multiprocessing
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any

import anyio
from anyio import to_thread

from engine import Drop, Item, Permanent
from engine.config import Config, load_config
from engine.item import open_scratch
from engine.run import run_pipeline
from stages.demo.script import make_videos
from stages.demo.server import File, MediaServer
from stages.pipelines import crawl

CONTENDERS = ("sequential", "three at once", "penstock")
TYPES = {".mp4", ".webm", ".mkv", ".avi", ".mov"}


class Answers(http.server.BaseHTTPRequestHandler):
    """An OpenAI-compatible server that takes its time."""

    latency = 0.3

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        time.sleep(self.latency)
        reply = {"choices": [{"message": {"content": "A frame."}, "finish_reason": "stop"}]}
        body = json.dumps(reply).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Nothing is logged."""


def serve(folder: Path, speed: float, latency: float, addresses: Any) -> None:
    """Runs in a process of its own, so that its time is not the contenders'."""
    files = sorted(path for path in folder.iterdir() if path.suffix in TYPES)
    Answers.latency = latency
    answers = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=answers.serve_forever, daemon=True).start()
    routes = {f"/{path.name}": File(path, bytes_per_second=speed) for path in files}
    with MediaServer(routes) as media:
        urls = [media.url(f"/{path.name}") for path in files]
        addresses.put((urls, f"http://127.0.0.1:{answers.server_address[1]}/v1"))
        threading.Event().wait()


def configure(arguments: argparse.Namespace, api: str) -> Config:
    values = [
        f"stages.filter.weights={arguments.weights}",
        f"stages.filter.classes={json.dumps(arguments.classes)}",
        f"stages.filter.image_size={arguments.image_size}",
        "stages.describe.backend=openai",
        f"stages.describe.base_url={api}",
        "stages.describe.reuse=off",
        "stages.download.allow_private=true",
        "limits.free_disk=0",
    ]
    return load_config(crawl, None, {}, values, {})


async def script(config: Config, workdir: Path, urls: list[str], at_once: int) -> None:
    """What one writes in an afternoon: every video from its start to its end, `at_once` of them."""
    detector = anyio.Lock()
    todo = iter(urls)

    async def go_through() -> None:
        stages = [crawl[name].stage(config.stages[name].settings, workdir) for name in crawl.names]
        for stage in stages:
            if stage.is_async():
                await stage.open()
            else:
                await to_thread.run_sync(stage.open)
        for url in todo:
            item = Item.at(workdir, url)
            try:
                for stage in stages:
                    out = open_scratch(item, stage.name)
                    if stage.is_async():
                        await stage.process(item, out)
                    elif stage.name == "filter":
                        async with detector:
                            await to_thread.run_sync(stage.process, item, out)
                    else:
                        await to_thread.run_sync(stage.process, item, out)
                    out.chmod(0o755)
                    (out / ".penstock.json").write_text("{}")
                    out.rename(item.folder / stage.name)
            except (Permanent, Drop):
                shutil.rmtree(out)
        for stage in stages:
            if stage.is_async():
                await stage.close()

    async with anyio.create_task_group() as tasks:
        for _ in range(at_once):
            tasks.start_soon(go_through)


def contend(arguments: argparse.Namespace) -> None:
    """One contender, in this process: prints its figures as JSON."""
    config = configure(arguments, arguments.api)
    workdir = Path(arguments.out)
    urls = Path(arguments.urls).read_text().split()
    started = time.monotonic()
    if arguments.contender == "penstock":
        run_pipeline(crawl, config, workdir, urls)
    else:
        at_once = 1 if arguments.contender == "sequential" else 3
        anyio.run(partial(script, config, workdir, urls, at_once))
    wall = time.monotonic() - started
    used = resource.getrusage(resource.RUSAGE_SELF)
    described = sum(
        len(path.read_text().splitlines())
        for path in workdir.glob("items/*/describe/descriptions.jsonl")
    )
    figures = {
        "wall": wall,
        "cpu": used.ru_utime + used.ru_stime,
        "memory": used.ru_maxrss / 1024,
        "described": described,
    }
    print(json.dumps(figures))


def measure(contender: str, arguments: argparse.Namespace, urls: Path, api: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as out:
        command = [sys.executable, __file__, "--contender", contender, "--out", out]
        command += ["--urls", str(urls), "--api", api, "--weights", str(arguments.weights)]
        command += ["--classes", ",".join(arguments.classes)]
        command += ["--image-size", str(arguments.image_size)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    shapes = Path(sys.modules["stages.demo.server"].__file__ or "").with_name("shapes.pt")
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--folder", type=Path, help="videos to crawl; default: made for this")
    parser.add_argument("--weights", default=str(shapes))
    parser.add_argument(
        "--classes", type=lambda text: [c for c in text.split(",") if c], default=[]
    )
    parser.add_argument("--image-size", type=int, default=640)
    parser.add_argument("--times", type=int, default=1, help="how often each video is in the list")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="one repeat; not to be quoted")
    parser.add_argument("--speed", type=float, default=2e6, help="bytes a second and connection")
    parser.add_argument("--latency", type=float, default=0.3, help="seconds before an answer")
    parser.add_argument("--json", type=Path, help="write all figures here")
    for hidden in ("--contender", "--urls", "--out", "--api"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.contender:
        contend(arguments)
        return

    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder
        if folder is None:
            folder = Path(temporary) / "videos"
            folder.mkdir()
            list(make_videos(folder))
        addresses: Any = multiprocessing.Queue()
        server = multiprocessing.Process(
            target=serve, args=(folder, arguments.speed, arguments.latency, addresses), daemon=True
        )
        server.start()
        urls, api = addresses.get()
        listed = Path(temporary) / "urls.txt"
        listed.write_text(
            "\n".join(f"{url}?copy={copy}" for copy in range(arguments.times) for url in urls)
        )
        runs: dict[str, list[dict[str, Any]]] = {contender: [] for contender in CONTENDERS}
        for repeat in range(1 if arguments.quick else arguments.repeats):
            for contender in CONTENDERS:
                figures = measure(contender, arguments, listed, api)
                runs[contender].append(figures)
                print(f"{repeat + 1}. {contender}: {figures['wall']:.1f} s", file=sys.stderr)
        server.terminate()
    show(runs, len(urls) * arguments.times)
    if arguments.json:
        arguments.json.write_text(json.dumps({"machine": platform.platform(), "runs": runs}))


def show(runs: dict[str, list[dict[str, Any]]], videos: int) -> None:
    def median(contender: str, figure: str) -> float:
        return statistics.median(run[figure] for run in runs[contender])

    cores = len(os.sched_getaffinity(0))
    base = median("sequential", "wall")
    limit = median("sequential", "cpu") / cores
    counts = {run["described"] for contender in runs.values() for run in contender}
    print(f"\n{videos} videos, {sorted(counts)} frames described, {cores} cores, medians of "
          f"{len(runs['penstock'])}\n")  # fmt: skip
    print(f"{'':<16}{'wall s':>8}{'of sequential':>15}{'of the limit':>14}{'CPU s':>8}{'MB':>7}")
    for contender in CONTENDERS:
        wall = median(contender, "wall")
        print(
            f"{contender:<16}{wall:>8.1f}{wall / base:>15.2f}{wall / limit:>14.2f}"
            f"{median(contender, 'cpu'):>8.1f}{median(contender, 'memory'):>7.0f}"
        )
    print(f"{'limit':<16}{limit:>8.1f}{limit / base:>15.2f}{1:>14.2f}   (CPU time / cores)")


if __name__ == "__main__":
    main()
