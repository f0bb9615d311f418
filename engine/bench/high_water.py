"""The peak memory and disk use of a trial, measured from outside while it runs."""

import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil

SHARE = 0.02
"""The share of a core that measuring may take, so that it does not slow the trial."""

MEMORY_EVERY, DISK_EVERY = 0.1, 0.25
"""Seconds between two looks, at least."""


class HighWater:
    """Measures a process and its work folder again and again; keeps the peak of each, in bytes.

    Memory is the resident memory of the process and its descendants; a page that several of them
    share counts once for each. Disk is the space that the folder occupies; a file with several
    names counts once.
    """

    def __init__(self, pid: int, folder: Path) -> None:
        self._memory = _Gauge(lambda: resident(pid), MEMORY_EVERY)
        self._disk = _Gauge(lambda: occupied(folder), DISK_EVERY)

    @property
    def memory(self) -> int:
        return self._memory.highest

    @property
    def disk(self) -> int:
        return self._disk.highest

    @property
    def pause(self) -> float:
        """Seconds until the next measurement is due."""
        due = min(self._memory.due, self._disk.due)
        return max(0.0, due - time.monotonic())

    def look(self) -> None:
        """Take the measurements that are due."""
        self._memory.look()
        self._disk.look()

    def look_at_the_end(self) -> None:
        """Measure the folder once more, after the process has ended."""
        self._disk.due = 0.0
        self._disk.look()


class _Gauge:
    def __init__(self, measure: Callable[[], int], every: float) -> None:
        self._measure = measure
        self._every = every
        self.due = 0.0
        self.highest = 0

    def look(self) -> None:
        began = time.monotonic()
        if began < self.due:
            return
        self.highest = max(self.highest, self._measure())
        ended = time.monotonic()
        self.due = ended + max(self._every, (ended - began) / SHARE)


def family(pid: int) -> list[psutil.Process]:
    """The process and its descendants that still run; empty if the process has ended."""
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def resident(pid: int) -> int:
    """Bytes of resident memory of the process and its descendants."""
    total = 0
    for process in family(pid):
        with suppress(psutil.Error):  # it has ended meanwhile
            total += process.memory_info().rss
    return total


def occupied(folder: Path) -> int:
    """Bytes on disk of everything in the folder."""
    total, seen, open_folders = 0, set(), [folder]
    while open_folders:
        try:
            with os.scandir(open_folders.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        open_folders.append(Path(entry.path))
                    stat = entry.stat(follow_symlinks=False)
                    if stat.st_ino not in seen:
                        seen.add(stat.st_ino)
                        total += stat.st_blocks * 512
        except FileNotFoundError:
            continue  # deleted meanwhile
    return total
