"""The mark of a finished output: what made it, how many items came out of it, its files' sizes.

An output without a mark, or one that is not what its mark says, is no output: it is made again.
"""

import json
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from engine.contract.item import MARK


@dataclass(frozen=True, slots=True)
class OutputMark:
    """What a finished output says of itself: what made it, how many items came out of it, and the
    size in bytes of every file by its path inside the output.

    Marks of before there were sizes in them have none, and are believed.
    """

    fingerprint: str
    expanded: int | None
    sizes: Mapping[str, int]

    def holds(self, folder: Path) -> bool:
        """Whether every file of the output in `folder` is there with the size it had.

        What a power cut or a person left behind under a whole output's name is not taken for one.
        """
        try:
            return all(_is_file_of(f"{folder}/{name}", size) for name, size in self.sizes.items())
        except (OSError, ValueError):
            return False


def _is_file_of(path: str, size: int) -> bool:
    found = os.lstat(path)
    return found.st_size == size and stat.S_ISREG(found.st_mode)


def write_mark(folder: Path, fingerprint: str, expanded: int | None) -> None:
    """Mark `folder`, in which every file stands by now. Raises OSError."""
    sizes = dict(sorted(_sizes(str(folder))))
    text = json.dumps({"fingerprint": fingerprint, "expanded": expanded, "files": sizes})
    descriptor = os.open(folder / MARK, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666)
    with os.fdopen(descriptor, "w") as file:
        file.write(f"{text}\n")


def _sizes(folder: str, prefix: str = "") -> Iterator[tuple[str, int]]:
    """The path inside `folder` and the size in bytes of every file in it.

    What a link leads to is not the output's own: a local file may be changed, or gone.
    """
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _sizes(entry.path, f"{prefix}{entry.name}/")
            elif entry.is_file(follow_symlinks=False):
                yield f"{prefix}{entry.name}", entry.stat(follow_symlinks=False).st_size


def read_mark(folder: Path) -> OutputMark | None:
    """The mark of the output `folder`; None where there is none that can be read.

    Links are not followed.
    """
    try:
        if not stat.S_ISDIR(os.lstat(folder).st_mode):
            return None
        with os.fdopen(os.open(folder / MARK, os.O_RDONLY | os.O_NOFOLLOW)) as file:
            mark = json.load(file)
        fingerprint, expanded, sizes = mark["fingerprint"], mark["expanded"], mark.get("files", {})
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None
    known = isinstance(fingerprint, str) and isinstance(expanded, int | None)
    return OutputMark(fingerprint, expanded, sizes) if known and isinstance(sizes, dict) else None
