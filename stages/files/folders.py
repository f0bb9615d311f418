"""Folders that are whole or not there, and files that stand in several of them."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def built_whole(target: Path) -> Iterator[Path]:
    """Fill the folder that this yields, and it becomes `target` when the block ends well.

    Until then, and for ever if the block raises, whatever stood at `target` stays. The folder lies
    beside `target` under a hidden name. What a killed build left is cleared first, and what stood
    at `target` before it is put back, so build one target in one process at a time.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{target.name}.scratch-"
    for left in sorted(target.parent.glob(f"{prefix}*")):
        _clear(left, target)
    scratch = Path(tempfile.mkdtemp(prefix=prefix, dir=target.parent))
    try:
        new = scratch / "new"
        new.mkdir()
        yield new
        os.sync()
        if target.exists():
            target.rename(scratch / "old")
        new.rename(target)
    finally:
        _clear(scratch, target)


def link_or_copy(source: Path, target: Path) -> None:
    """Make `target` a hard link to `source`, or a copy where the file system has no such links."""
    try:
        os.link(source, target)
    except OSError:
        # Whatever kept the link from being made, a copy will do, or say what is really wrong.
        shutil.copyfile(source, target)


def symlink_or_copy(source: Path, target: Path) -> None:
    """Make `target` a symbolic link to `source`, an absolute path, or a copy of it where the file
    system has no such links."""
    try:
        target.symlink_to(source)
    except OSError:
        shutil.copyfile(source, target)  # or say what is really wrong


INFO = "info.json"
"""What is known of a video. A folder of frames holds it beside them: whoever makes frames of a
video, or of other frames, hands it on. So a stage that needs it reads frames alone, and the video,
which is large, may be deleted as soon as it has been decoded."""


def carry_info(source: Path, target: Path) -> None:
    """Have the folder `target` hold what `source` knows of the video, if it knows anything."""
    if (source / INFO).is_file():
        link_or_copy(source / INFO, target / INFO)


def _clear(scratch: Path, target: Path) -> None:
    if (scratch / "old").is_dir() and not target.exists():
        (scratch / "old").rename(target)
    shutil.rmtree(scratch, ignore_errors=True)
