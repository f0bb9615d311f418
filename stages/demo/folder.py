"""A demo's folder: its videos and the run over them.

DIR/demo.json    which demo this is, and the port of its server
DIR/videos/      what it is about
DIR/list.txt     what the run is given
DIR/…            the run's work folder
"""

import errno
import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from engine import LOCK_FILES, UsageError, locked
from stages.demo.server import MediaServer
from stages.files.folders import built_whole

STATE = "demo.json"
VIDEOS = "videos"
LIST = "list.txt"


@dataclass(frozen=True, slots=True)
class Footage:
    """The videos of a demo: `make` writes the `count` of them into a folder, and gives each once it
    is there. `planted` is all that is planted, and `port` that of the demo's server, if it is free:
    the same addresses make the same items and data. They lie in `folder`, and are called `what`."""

    planted: object
    count: int
    make: Callable[[Path], Iterator[object]]
    port: int
    folder: str = VIDEOS
    what: str = "videos"

    def identity(self) -> str:
        """Identifies the demo by its planted content and its drawing code."""
        made_of = f"{metadata.version('penstock')} {self.planted}"
        return hashlib.sha256(made_of.encode()).hexdigest()[:16]


def prepare(out: Path, footage: Footage, *, fresh: bool, quiet: bool) -> None:
    """Make the videos, unless an earlier demo did; with `fresh` delete all that the earlier demo
    made first.

    Raises UsageError for a folder with other content, WorkFolderError for one in use.
    """
    if out.is_dir() and any(out.iterdir()) and not (out / STATE).is_file():
        raise UsageError(f"{out} holds something other than a demo; give another folder with --out")
    with locked(out):
        state = _read_state(out)
        if fresh or state.get("demo") != footage.identity():
            _empty(out)
            _write_state(out, footage, None)
        if not (out / footage.folder).is_dir():
            _make_videos(out / footage.folder, footage, quiet)


@contextmanager
def serving(out: Path, footage: Footage) -> Iterator[MediaServer]:
    """The demo's server, on the port of an earlier run, with no routes yet.

    Raises UsageError where that port is taken.
    """
    with _listening(out, _read_state(out)["port"], footage.port) as server:
        _write_state(out, footage, int(server.url("").rpartition(":")[2]))
        yield server


def _listening(out: Path, port: int | None, usual: int) -> MediaServer:
    for wanted in (port,) if port else (usual, 0):
        try:
            return MediaServer(port=wanted)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
    raise UsageError(
        f"port {port} is taken, and the demo in {out} has its server there; free it, or start over "
        "with --fresh"
    )


def _make_videos(folder: Path, footage: Footage, quiet: bool) -> None:
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True, quiet=quiet)
    title = f"Making {footage.count} {footage.what} in {folder}"
    with built_whole(folder) as building:
        if not console.is_terminal:
            console.print(title, soft_wrap=True)
        for _ in track(
            footage.make(building),
            title,
            total=footage.count,
            console=console,
            transient=True,
            disable=not console.is_terminal,
        ):
            pass


def _read_state(out: Path) -> dict[str, Any]:
    try:
        state: dict[str, Any] = json.loads((out / STATE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return state


def _write_state(out: Path, footage: Footage, port: int | None) -> None:
    text = json.dumps({"demo": footage.identity(), "port": port}) + "\n"
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
