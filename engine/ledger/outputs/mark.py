"""The mark of a finished output: its fingerprint, the items it produced, its files' sizes.

An output without a mark, or one that differs from its mark, is no output: it is made again.
"""

import hashlib
import json
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from engine.contract.item import MARK

STAND_IN = "~"


def stand_in_of(fingerprint: str) -> str:
    """The fingerprint of an output in the place of the one with this fingerprint: no run takes it
    for that one, and what is made of it has another fingerprint too."""
    return fingerprint + STAND_IN


def is_stand_in(fingerprint: str) -> bool:
    """Whether it is that of a stand-in, or of what parts with some came to at a step."""
    return fingerprint.partition(":")[0].endswith(STAND_IN)


@dataclass(frozen=True, slots=True)
class OutputMark:
    """A finished output's own record: its fingerprint, the number of items that it produced, and
    the size in bytes of every file by its path inside the output. `parts` is the number of parts
    that the item was split into, None where it was not.

    Marks of older versions hold no sizes, and are trusted.
    """

    fingerprint: str
    expanded: int | None
    sizes: Mapping[str, int]
    parts: int | None = None

    def holds(self, folder: Path) -> bool:
        """Whether every file of the output in `folder` is there with its recorded size.

        So remains of a power cut, or a person's edits, under the name of a whole output are not
        taken for one.
        """
        try:
            return all(_is_file_of(f"{folder}/{name}", size) for name, size in self.sizes.items())
        except (OSError, ValueError):
            return False


def _is_file_of(path: str, size: int) -> bool:
    found = os.lstat(path)
    return found.st_size == size and stat.S_ISREG(found.st_mode)


def write_mark(
    folder: Path, fingerprint: str, expanded: int | None, parts: int | None = None
) -> None:
    """Mark `folder`, once every file is in it. Raises OSError."""
    sizes = dict(sorted(_sizes(str(folder))))
    mark = {"fingerprint": fingerprint, "expanded": expanded, "files": sizes}
    text = json.dumps(mark if parts is None else {**mark, "parts": parts})
    descriptor = os.open(folder / MARK, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666)
    with os.fdopen(descriptor, "w") as file:
        file.write(f"{text}\n")


def content_of(folder: Path, parameters: str) -> str:
    """The content of a part: a digest of its parameters and of every file in `folder` but the mark,
    by its path inside. Raises OSError."""
    digest = hashlib.blake2b(parameters.encode(), digest_size=16)
    for name, size in sorted(one for one in _sizes(str(folder)) if one[0] != MARK):
        digest.update(f"\0{name}\0{size}\0".encode("utf-8", "surrogateescape"))
        with open(f"{folder}/{name}", "rb") as file:  # noqa: PTH123
            while chunk := file.read(1 << 20):
                digest.update(chunk)
    return digest.hexdigest()


def _sizes(folder: str, prefix: str = "") -> Iterator[tuple[str, int]]:
    """The path inside `folder` and the size in bytes of every file in it.

    The target of a link does not belong to the output: a local file may change or go.
    """
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _sizes(entry.path, f"{prefix}{entry.name}/")
            elif entry.is_file(follow_symlinks=False):
                yield f"{prefix}{entry.name}", entry.stat(follow_symlinks=False).st_size


def read_mark(folder: Path) -> OutputMark | None:
    """The mark of the output `folder`; None where there is none, or it cannot be read.

    Links are not followed.
    """
    try:
        if not stat.S_ISDIR(os.lstat(folder).st_mode):
            return None
        with os.fdopen(os.open(folder / MARK, os.O_RDONLY | os.O_NOFOLLOW)) as file:
            mark = json.load(file)
        fingerprint, expanded, sizes = mark["fingerprint"], mark["expanded"], mark.get("files", {})
        parts = mark.get("parts")
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None
    known = isinstance(fingerprint, str) and isinstance(expanded, int | None)
    known = known and isinstance(parts, int | None) and isinstance(sizes, dict)
    return OutputMark(fingerprint, expanded, sizes, parts) if known else None
