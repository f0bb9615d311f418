"""Folders that are committed whole, and files that stand in several folders."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def built_whole(target: Path) -> Iterator[Path]:
    """Yields a folder to fill, which becomes `target` if the block ends without an error.

    Until then the old `target` stays; if the block raises, it stays for good. The new folder lies
    beside `target` under a hidden name. Leftovers of a killed build are cleared first, and a target
    that it had moved aside is put back; so build one target in one process at a time.
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
        # Whatever prevented the link, a copy works, or its error names the real problem.
        shutil.copyfile(source, target)


def symlink_or_copy(source: Path, target: Path) -> None:
    """Make `target` a symbolic link to `source`, an absolute path, or a copy of it where the file
    system has no such links."""
    try:
        target.symlink_to(source)
    except OSError:
        shutil.copyfile(source, target)  # or its error names the real problem


def files_below(folder: Path) -> Iterator[tuple[str, Path]]:
    """The files in the folder and in those below it, in order, each with its path from there; none
    of those that are hidden or links. A folder that is not there has none."""
    return _files_below(folder, "")


def _files_below(folder: Path, inside: str) -> Iterator[tuple[str, Path]]:
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.name.startswith(".") or path.is_symlink():
            continue
        if path.is_dir():
            yield from _files_below(path, f"{inside}{path.name}/")
        elif path.is_file():
            yield f"{inside}{path.name}", path


INFO = "info.json"
"""The description of a video. Every folder of frames holds it beside the frames: a stage that makes
frames of a video, or of other frames, passes it on. So a later stage reads only frames, and the
video, which is large, may be deleted once it is decoded."""


def carry_info(source: Path, target: Path) -> None:
    """Copy the description of the video from `source` to `target`, if there is one."""
    if (source / INFO).is_file():
        link_or_copy(source / INFO, target / INFO)


def _clear(scratch: Path, target: Path) -> None:
    if (scratch / "old").is_dir() and not target.exists():
        (scratch / "old").rename(target)
    shutil.rmtree(scratch, ignore_errors=True)
