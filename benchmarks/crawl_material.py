"""What the benchmarks of whole crawls work on: videos, settings, and the options that name them."""

import json
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.footage import RATE
from stages.demo.script import make_videos
from stages.demo.shapes import WEIGHTS

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

TYPES = {".mp4", ".webm", ".mkv", ".avi", ".mov", ".gif"}

REQUESTS = 600.0
"""Requests a minute that the description server allows."""

KEPT = Path(__file__).parents[1] / "build" / "benchmarks"
"""Where videos that take a minute to make are kept for the next time."""

WIDTH, HEIGHT = 1280, 720


def add_crawl_options(command: ArgumentParser) -> None:
    """What every benchmark of a whole crawl takes; `crawl_settings` makes settings of it."""
    command.add_argument(
        "--folder", type=Path, action="append", help="videos to crawl; default: made for this"
    )
    command.add_argument("--weights", default=str(WEIGHTS))
    command.add_argument(
        "--classes", type=lambda text: [c for c in text.split(",") if c], default=[]
    )
    command.add_argument("--image-size", type=int, default=640)
    command.add_argument("--set", action="append", default=[], help="a setting, not for --baseline")
    command.add_argument(
        "--baseline", type=Path, metavar="CHECKOUT", help="the release before, with its .venv"
    )


def crawl_settings(arguments: Namespace, api: str) -> list[str]:
    """The settings that all contestants share, as --set takes them."""
    return [
        f"stages.filter.weights={Path(arguments.weights).absolute()}",
        f"stages.filter.classes={json.dumps(arguments.classes)}",
        f"stages.filter.image_size={arguments.image_size}",
        "stages.describe.backend=openai",
        f"stages.describe.base_url={api}",
        f"stages.describe.requests_per_minute={REQUESTS:g}",
        "stages.describe.reuse=off",
        "stages.download.allow_private=true",
        'stages.download.proxy=""',
        "limits.free_disk=0",
    ]


def found_videos(folders: list[Path] | None, scratch: Path) -> list[Path]:
    """The videos in these folders, or of the demo, made in `scratch`, where there are none."""
    if not folders:
        made = scratch / "videos"
        made.mkdir()
        list(make_videos(made))
        (made / "cut.mp4").unlink()
        folders = [made]
    return sorted(path for one in folders for path in one.iterdir() if path.suffix in TYPES)


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


def _mark(number: int) -> tuple[int, int, int]:
    return 37 * number % 256, 91 * number % 256, 151 * number % 256


def _write_marked(source: Path, target: Path, number: int) -> None:
    import av

    with av.open(str(source)) as given, av.open(str(target), "w") as made:
        old = given.streams.video[0]
        new = made.add_stream("libx264", rate=old.average_rate, options={"preset": "veryfast"})
        new.width, new.height = old.width // 2 * 2, old.height // 2 * 2
        new.pix_fmt = "yuv420p"
        for frame in given.decode(old):
            pixels = frame.to_ndarray(format="rgb24")[: new.height, : new.width].copy()
            pixels[:24, :24] = _mark(number)
            copy = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            copy.pts, copy.time_base = frame.pts, frame.time_base
            made.mux(new.encode(copy))
        made.mux(new.encode())


def long_video(files: list[Path], seconds: int) -> Path:
    """A 720p video of that length: the longest of these, again and again, each second with a mark
    in a corner of its own. It is kept, and made once."""
    longest = max(files, key=_seconds)
    made = KEPT / f"{longest.stem}-{longest.stat().st_size}-{seconds}s.mp4"
    if not made.exists():
        KEPT.mkdir(parents=True, exist_ok=True)
        half = made.with_suffix(".half.mp4")
        _write_long(longest, half, seconds)
        half.replace(made)
    return made


def _seconds(path: Path) -> float:
    import av

    with av.open(str(path)) as given:
        return (given.duration or 0) / 1e6


def _write_long(source: Path, target: Path, seconds: int) -> None:
    import av

    with av.open(str(target), "w") as made:
        stream: Any = made.add_stream("libx264", rate=RATE, options={"preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.codec_context.thread_count = 0
        for number, picture in enumerate(_shown(source, seconds)):
            picture.pts, picture.time_base = number, Fraction(1, RATE)
            made.mux(stream.encode(picture))
        made.mux(stream.encode())


def _shown(source: Path, seconds: int) -> Iterator["VideoFrame"]:
    """What is to be seen at each moment: the source's frames as often as they are due there, again
    and again."""
    import av

    shown, began = 0, Fraction(0)
    while True:
        with av.open(str(source)) as given:
            old = given.streams.video[0]
            step = 1 / Fraction(old.average_rate or RATE)
            for number, frame in enumerate(given.decode(old), 1):
                picture, second = None, -1
                while shown < (began + number * step) * RATE:
                    if shown == seconds * RATE:
                        return
                    if picture is None or second != shown // RATE:
                        second = shown // RATE
                        picture = _marked(frame, second + 1)
                    yield picture
                    shown += 1
        began += number * step


def _marked(frame: "VideoFrame", number: int) -> "VideoFrame":
    import av

    pixels = frame.to_ndarray(format="rgb24", width=WIDTH, height=HEIGHT)
    pixels[:24, :24] = _mark(number)
    return av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(format="yuv420p")
