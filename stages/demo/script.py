"""The planted content of the demo: videos, copies of them, and failures on the way.

Everything that is expected of the crawl follows from these tables and from the clips.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from stages.demo.clips import Clip, Shot
from stages.demo.folder import LIST, VIDEOS, Footage, serving
from stages.demo.server import BareStatus, File, FirstThen, Route, feed, page
from stages.demo.shapes import IMAGE_SIZE, WEIGHTS
from stages.demo.videos import (
    H264,
    H264_COARSE,
    MPEG4,
    MPEG4_COARSE,
    VP9,
    VP9_COARSE,
    Encoding,
    cut_short,
    write_clip,
    write_copy,
)

WANTED = ("circle", "star")
"""The kinds of shape that make a frame worth keeping; frames with only other kinds are left out."""

SETTINGS = (
    f"stages.filter.weights={WEIGHTS}",
    f"stages.filter.classes={json.dumps(WANTED)}",
    f"stages.filter.image_size={IMAGE_SIZE}",
    "stages.filter.confidence=0.5",
    # A proxy that the environment names cannot reach this machine's own server.
    'stages.download.proxy=""',
    "limits.backoff=0.5",
)
"""The arguments of `--set` for `penstock crawl`."""

Box = tuple[float, float, float, float]
"""x1, y1, x2, y2."""

CUT = 0.6
"""The share of the truncated file that is there."""

TYPES = {
    ".avi": "video/x-msvideo",
    ".m3u8": "application/vnd.apple.mpegurl",
    ".mkv": "video/x-matroska",
    ".mp4": "video/mp4",
    ".ts": "video/mp2t",
    ".webm": "video/webm",
}


@dataclass(frozen=True, slots=True)
class DemoVideo:
    """A video file of the demo. `of` is the file that it is a worse copy of."""

    file: str
    clip: Clip
    encoding: Encoding
    width: int
    height: int
    of: str | None = None

    def boxes(self, seconds: float, width: float, height: float) -> list[tuple[str, Box]]:
        """Kind and box of each wanted shape at that moment, in pixels of a frame of this size."""
        across, down = width / self.clip.width, height / self.clip.height
        boxes = []
        for shape in self.clip.shapes_at(seconds):
            if shape.kind in WANTED:
                x1, y1, x2, y2 = shape.box(self.clip.width, self.clip.height)
                boxes.append((shape.kind, (x1 * across, y1 * down, x2 * across, y2 * down)))
        return boxes

    def sight(self, seconds: float) -> "Sight | None":
        """The sight that a frame of that moment shows; None where it shows no wanted shape."""
        if not 0 <= seconds < self.clip.seconds or not self.boxes(seconds, 1, 1):
            return None
        return Sight(self.clip.name, self.clip.shot_at(seconds))

    @property
    def sampled(self) -> list[tuple[int, "Sight"]]:
        """The sampled frames, one a second, that show a wanted shape: their
        second and their sight."""
        sights = [(second, self.sight(second)) for second in range(self.clip.seconds)]
        return [(second, sight) for second, sight in sights if sight is not None]


@dataclass(frozen=True, slots=True)
class Sight:
    """A shot of a clip: two frames are near-duplicates if they show the
    same sight, and only then."""

    clip: str
    shot: int


def _original(
    file: str, encoding: Encoding, width: int, height: int, fps: int, *shots: Shot
) -> DemoVideo:
    clip = Clip(Path(file).stem, width, height, fps, shots)
    return DemoVideo(file, clip, encoding, width, height)


def _copy(file: str, of: DemoVideo, encoding: Encoding, width: int, height: int) -> DemoVideo:
    return DemoVideo(file, of.clip, encoding, width, height, of.file)


STAR, CIRCLE, BOTH = Shot("star"), Shot("circle"), Shot("circle star")
SQUARE, TRIANGLE, BARE = Shot("square"), Shot("triangle"), Shot("")
MIXED = Shot("square star triangle")

REGATTA = _original("regatta.mp4", H264, 480, 270, 12, STAR, BOTH, SQUARE, CIRCLE, MIXED)
COMET = _original("comet.webm", VP9, 448, 252, 10, BOTH, STAR, STAR, MIXED)
LANTERN = _original("lantern.avi", MPEG4, 416, 234, 12, CIRCLE, MIXED, CIRCLE, BOTH)
PARADE = _original("parade.mkv", H264, 384, 288, 15, MIXED, BOTH, CIRCLE, STAR, BOTH, TRIANGLE)
STILLS = _original(
    "stills.mp4", H264, 480, 270, 10, Shot("star square", held=3), Shot("circle", held=3)
)
SCENERY = _original("scenery.mp4", H264, 384, 216, 12, BARE, SQUARE, TRIANGLE, BARE)
FERRY = _original("ferry.m3u8", H264, 448, 252, 12, CIRCLE, SQUARE, BOTH, STAR, MIXED)
KITE = _original("kite.mp4", H264, 480, 270, 15, STAR, STAR, BOTH)
GONDOLA = _original("gondola.webm", VP9, 384, 216, 12, MIXED, CIRCLE, BOTH)
BEACON = _original("beacon.mp4", H264, 352, 198, 10, CIRCLE, BOTH, BARE, STAR)
TRAM = _original("tram.mkv", H264, 480, 270, 12, BOTH, TRIANGLE, STAR)
SWALLOW = _original("swallow.mp4", H264, 416, 234, 15, STAR, MIXED, CIRCLE)
REGATTA_SMALL = _copy("regatta-small.mp4", REGATTA, H264_COARSE, 320, 180)
REGATTA_AGAIN = _copy("regatta-again.avi", REGATTA_SMALL, MPEG4_COARSE, 288, 162)
COMET_AGAIN = _copy("comet-again.mp4", COMET, H264_COARSE, 448, 252)
LANTERN_TINY = _copy("lantern-tiny.webm", LANTERN, VP9_COARSE, 256, 144)


@dataclass(frozen=True, slots=True)
class Planted:
    """One address that the crawl meets, and its expected ending.

    `video` is the video at the address, `kind` the class of a drop or failure, `videos` the number
    of videos that a page or a feed leads to, and `page` the page that leads here: an address
    without one is on the list.
    """

    path: str
    what: str
    video: DemoVideo | None = None
    outcome: Literal["done", "dropped", "failed"] = "done"
    kind: str | None = None
    videos: int | None = None
    page: str | None = None


def _video(video: DemoVideo, remark: str = "", page: str | None = None) -> Planted:
    size = f"{video.width}x{video.height}"
    if video.of is not None:
        what = f"copy of {video.clip.name}, {size}"
    else:
        what = f"{video.encoding.name}, {remark or size}"
    return Planted(f"/{video.file}", what, video, page=page)


PLANTED: Sequence[Planted] = (
    _video(REGATTA),
    _video(COMET),
    _video(LANTERN, "429 at first"),
    _video(PARADE, "cut off once"),
    _video(STILLS, "stands still"),
    Planted("/scenery.mp4", "H.264, nothing wanted", SCENERY, "dropped", "nothing_wanted"),
    _video(FERRY, "an HLS stream"),
    Planted("/watch.html", f"a page with {SWALLOW.file}", SWALLOW),
    Planted("/gallery.html", "a page with two videos", videos=2),
    _video(KITE, page="/gallery.html"),
    _video(GONDOLA, page="/gallery.html"),
    Planted("/feed.xml", "an RSS feed", videos=2),
    _video(BEACON, page="/feed.xml"),
    _video(TRAM, page="/feed.xml"),
    _video(REGATTA_SMALL),
    _video(REGATTA_AGAIN),
    _video(COMET_AGAIN),
    _video(LANTERN_TINY),
    Planted("/gone.mp4", "a dead link: 404", outcome="failed", kind="not_found"),
    Planted("/cut.mp4", "a truncated file", outcome="failed", kind="not_video"),
)

TWICE = "/regatta.mp4?utm_source=demo"
"""Also on the list: an address that differs from another only by a tracking parameter."""


def make_videos(folder: Path) -> Iterator[DemoVideo]:
    """Write every file into `folder`; gives each video once it is there."""
    for video in (planted.video for planted in PLANTED if planted.video is not None):
        path = folder / video.file
        if video.of is None:
            write_clip(video.clip, video.encoding, path)
        else:
            write_copy(folder / video.of, (video.width, video.height), video.encoding, path)
        yield video
    cut_short(folder / REGATTA.file, CUT, folder / "cut.mp4")


def routes(folder: Path, address: Callable[[str], str]) -> Mapping[str, Route]:
    """The server's routes, by path; `address` turns a path into an address."""
    led_to = {
        listing: [address(planted.path) for planted in PLANTED if planted.page == listing]
        for listing in ("/gallery.html", "/feed.xml")
    }
    files: dict[str, Route] = {
        f"/{path.name}": File(path, TYPES[path.suffix]) for path in sorted(folder.iterdir())
    }
    lantern, parade = f"/{LANTERN.file}", f"/{PARADE.file}"
    return files | {
        lantern: FirstThen(BareStatus(429, retry_after=1), 1, files[lantern]),
        parade: FirstThen(File(folder / PARADE.file, TYPES[".mkv"], cut=0.5), 1, files[parade]),
        "/watch.html": page([f"/{SWALLOW.file}"], "A swallow"),
        "/gallery.html": page(led_to["/gallery.html"], "Gallery"),
        "/feed.xml": feed(led_to["/feed.xml"], "Feed"),
    }


def listed(address: Callable[[str], str]) -> str:
    """The list of addresses to crawl, as text."""
    paths = [planted.path for planted in PLANTED if planted.page is None] + [TWICE]
    return "".join(f"{line}\n" for line in ("# What `penstock demo` crawls.", *map(address, paths)))


FOOTAGE = Footage(
    PLANTED,
    sum(planted.video is not None for planted in PLANTED),
    make_videos,
    port=8473,
)


@contextmanager
def serve(out: Path) -> Iterator[str]:
    """Serve the videos and write the list of them; yields the common beginning of their addresses.

    Raises UsageError where the port of an earlier demo is taken.
    """
    with serving(out, FOOTAGE) as server:
        server.routes.update(routes(out / VIDEOS, server.url))
        (out / LIST).write_text(listed(server.url), encoding="utf-8")
        yield server.url("")
