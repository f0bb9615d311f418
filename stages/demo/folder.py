"""The demo's folder: its videos and the crawl of them.

DIR/demo.json    which demo this is, and the port that its videos are served on
DIR/videos/      what is served
DIR/list.txt     what is crawled
DIR/…            the crawl's work folder
"""

import errno
import hashlib
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

from engine import LOCK_FILES, UsageError, locked
from stages.demo.script import PLANTED, listed, make_videos, routes
from stages.demo.server import MediaServer
from stages.files.folders import built_whole

STATE = "demo.json"
VIDEOS = "videos"
LIST = "list.txt"

PORT = 8473
"""The port of the video server, if it is free: the same addresses make the same items and data."""


def prepare(out: Path, *, fresh: bool, quiet: bool) -> None:
    """Make the videos, unless an earlier demo did; with `fresh` delete all that the earlier demo
    made first.

    Raises UsageError for a folder with other content, WorkFolderError for one in use.
    """
    if out.is_dir() and any(out.iterdir()) and not (out / STATE).is_file():
        raise UsageError(f"{out} holds something other than a demo; give another folder with --out")
    with locked(out):
        state = _read_state(out)
        if fresh or state.get("demo") != _identity():
            _empty(out)
            _write_state(out, None)
        if not (out / VIDEOS).is_dir():
            _make_videos(out / VIDEOS, quiet)


@contextmanager
def serve(out: Path) -> Iterator[str]:
    """Serve the videos and write the list of them; yields the common beginning of their addresses.

    Raises UsageError where the port of an earlier demo is taken.
    """
    with _listening(out, _read_state(out)["port"]) as server:
        _write_state(out, int(server.url("").rpartition(":")[2]))
        server.routes.update(routes(out / VIDEOS, server.url))
        (out / LIST).write_text(listed(server.url), encoding="utf-8")
        yield server.url("")


def _listening(out: Path, port: int | None) -> MediaServer:
    for wanted in (port,) if port else (PORT, 0):
        try:
            return MediaServer(port=wanted)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
    raise UsageError(
        f"port {port} is taken, and the demo in {out} has its videos there; free it, or start over "
        "with --fresh"
    )


def _make_videos(folder: Path, quiet: bool) -> None:
    from rich.console import Console
    from rich.progress import track

    count = sum(planted.video is not None for planted in PLANTED)
    console = Console(stderr=True, quiet=quiet)
    title = f"Making {count} videos in {folder}"
    with built_whole(folder) as building:
        if not console.is_terminal:
            console.print(title, soft_wrap=True)
        for _ in track(
            make_videos(building),
            title,
            total=count,
            console=console,
            transient=True,
            disable=not console.is_terminal,
        ):
            pass


def _identity() -> str:
    """Identifies a demo by its planted content and its drawing code."""
    made_of = f"{metadata.version('penstock')} {PLANTED}"
    return hashlib.sha256(made_of.encode()).hexdigest()[:16]


def _read_state(out: Path) -> dict[str, Any]:
    try:
        state: dict[str, Any] = json.loads((out / STATE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return state


def _write_state(out: Path, port: int | None) -> None:
    text = json.dumps({"demo": _identity(), "port": port}) + "\n"
    new = out / f"{STATE}.new"
    new.write_text(text, encoding="utf-8")
    new.replace(out / STATE)


def _empty(out: Path) -> None:
    """Delete everything except the lock files, which this process holds."""
    for path in out.iterdir():
        if path.name in LOCK_FILES:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
