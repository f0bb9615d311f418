"""How fast is extraction? One frame a second at 640 pixels, against decoding alone and ffmpeg.

    python benchmarks/extract_speed.py                 # a 60 s clip of 720p H.264, made here
    python benchmarks/extract_speed.py --clip my.mp4   # a video of your own
    python benchmarks/extract_speed.py --quick         # only to see that it runs; never quote it

The contestants take turns, so that a machine that slows down slows all of them. Quoted are medians
of wall time, of processor time (children's included), and of each turn's ratios, stage over other.
"""

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np

from engine import Item
from engine.item import commit_output, open_scratch
from stages.extract import Extract

STAGE = "penstock extract, 1 thread"


class Cost(NamedTuple):
    """What one turn took, in seconds."""

    wall: float
    processor: float


def main() -> None:
    arguments = parse_arguments()
    with tempfile.TemporaryDirectory() as folder:
        clip = arguments.clip
        if clip is None:
            clip = Path(folder, "clip.mp4")
            print(f"making {arguments.seconds} s of 1280x720 H.264 …")
            make_clip(clip, arguments.seconds)
        contestants = find_contestants(clip.resolve(), Path(folder))
        times = race(contestants, arguments.repeats)
        results = summarise(clip, times)
    print_results(results)
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=2) + "\n")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clip", type=Path, help="the video to use; default: one made here")
    parser.add_argument("--seconds", type=int, help="length of the clip that is made (60)")
    parser.add_argument("--repeats", type=int, help="turns each contestant takes (9)")
    parser.add_argument("--quick", action="store_true", help="10 s of video, 2 turns")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there too")
    arguments = parser.parse_args()
    arguments.seconds = arguments.seconds or (10 if arguments.quick else 60)
    arguments.repeats = arguments.repeats or (2 if arguments.quick else 9)
    return arguments


def make_clip(path: Path, seconds: int) -> None:
    """Write a clip at 30 frames a second: a camera panning over texture, and things moving in it.

    Encoded by x264 with its defaults (B-frames, a keyframe every 250 frames at most).
    """
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 255, (60, 110, 3), np.uint8)
    scene = np.kron(coarse, np.ones((16, 16, 1), np.uint8))
    scene = scene // 2 + rng.integers(0, 40, scene.shape, np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30, options={"preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = 1280, 720, "yuv420p"
        for index in range(seconds * 30):
            x, y = int(230 + 220 * np.sin(index / 90)), int(110 + 100 * np.cos(index / 70))
            picture = scene[y : y + 720, x : x + 1280].copy()
            for thing in range(5):
                left, top = (index * (3 + thing)) % 1180, 60 + 120 * thing
                picture[top : top + 90, left : left + 100] = (50 * thing, 255 - 40 * thing, 128)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def find_contestants(clip: Path, folder: Path) -> dict[str, Callable[[], object]]:
    contestants: dict[str, Callable[[], object]] = {
        STAGE: lambda: extract(clip, folder),
        "PyAV, only decoding, 1 thread": lambda: decode(clip),
    }
    command = shutil.which("ffmpeg")
    if command is None:
        print("the ffmpeg command is not installed: left out")
        return contestants
    one = [command, "-threads", "1"]
    contestants["ffmpeg command, 1 thread"] = lambda: run_ffmpeg(one, clip, folder)
    contestants["ffmpeg command, default threads"] = lambda: run_ffmpeg([command], clip, folder)
    return contestants


def extract(clip: Path, folder: Path) -> None:
    """What the pipeline does with one video, in a work folder of its own."""
    workdir = Path(tempfile.mkdtemp(dir=folder))
    item = Item.at(workdir, str(clip))
    download = open_scratch(item, "download")
    (download / "video").symlink_to(clip)
    (download / "info.json").write_text('{"file": "video"}')
    commit_output(item, "download", download, "benchmark")
    stage = Extract(Extract.Settings(), workdir)
    stage.open()
    stage.process(item, open_scratch(item, "extract"))
    stage.close()


def decode(clip: Path) -> None:
    with av.open(str(clip)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        for _ in container.decode(stream):
            pass


def run_ffmpeg(command: list[str], clip: Path, folder: Path) -> None:
    """The same frames by the command line that one would type; -q:v 2 is its best JPEG."""
    out = Path(tempfile.mkdtemp(dir=folder))
    options = ["-vf", "fps=1,scale=640:-2", "-q:v", "2", str(out / "%06d.jpg")]
    subprocess.run([*command, "-v", "error", "-nostdin", "-i", str(clip), *options], check=True)


def race(contestants: dict[str, Callable[[], object]], repeats: int) -> dict[str, list[Cost]]:
    for run in contestants.values():  # the first turn only warms up
        run()
    costs: dict[str, list[Cost]] = {name: [] for name in contestants}
    for _ in range(repeats):
        for name, run in contestants.items():
            wall, processor = time.perf_counter(), processor_seconds()
            run()
            costs[name].append(Cost(time.perf_counter() - wall, processor_seconds() - processor))
    return costs


def processor_seconds() -> float:
    """What this process and the children that it waited for have used so far."""
    return sum(os.times()[:4])


def summarise(clip: Path, costs: dict[str, list[Cost]]) -> dict[str, object]:
    with av.open(str(clip)) as container:
        stream = container.streams.video[0]
        frames = stream.frames or sum(1 for packet in container.demux(stream) if packet.size)
        shape = f"{stream.width}x{stream.height} {stream.codec_context.name}, {frames} frames"
    rows = []
    for name, turns in costs.items():
        pairs = list(zip(costs[STAGE], turns, strict=True))
        wall = [own.wall / other.wall for own, other in pairs]
        processor = [own.processor / other.processor for own, other in pairs]
        seconds = statistics.median(turn.wall for turn in turns)
        rows.append(
            {
                "contestant": name,
                "wall_seconds": seconds,
                "processor_seconds": statistics.median(turn.processor for turn in turns),
                "frames_per_second": frames / seconds,
                "wall_ratio": [statistics.median(wall), min(wall), max(wall)],
                "processor_ratio": [statistics.median(processor), min(processor), max(processor)],
            }
        )
    return {
        "clip": shape,
        "turns": len(costs[STAGE]),
        "python": platform.python_version(),
        "pyav": av.__version__,
        "results": rows,
    }


def print_results(results: dict[str, Any]) -> None:
    print(f"{results['clip']}; {results['turns']} turns each; ratio: stage over this [range]")
    print(f"{'':38} {'wall s':>7} {'cpu s':>6} {'frames/s':>8}   {'wall ratio':17} cpu ratio")
    for row in results["results"]:
        wall, processor = (
            "{:.2f} [{:.2f}-{:.2f}]".format(*row[key]) for key in ("wall_ratio", "processor_ratio")
        )
        print(
            f"{row['contestant']:38} {row['wall_seconds']:7.2f} {row['processor_seconds']:6.2f}"
            f" {row['frames_per_second']:8.0f}   {wall:17} {processor}"
        )


if __name__ == "__main__":
    main()
