"""Holds back the source, and further parts of items, while the disk is nearly full."""

import shutil
from collections.abc import Callable
from pathlib import Path

import anyio

from engine.contract.errors import StopRun
from engine.gates.leftovers import kept_between_attempts
from engine.telemetry.events import DiskLow, DiskRecovered, Events
from engine.telemetry.text import size

DISK_CHECK_INTERVAL = 2.0
"""Seconds between two checks of a disk that is too full."""


class DiskGate:
    """Holds back new items, and parts, while less than `watermark` bytes are free on the disk of
    `folder`."""

    def __init__(self, folder: Path, watermark: int, events: Events) -> None:
        self._folder = folder
        self._watermark = watermark
        self._events = events

    def free(self) -> int:
        """Free bytes now."""
        return shutil.disk_usage(self._folder).free

    async def wait_for_room(
        self,
        anything_in_flight: Callable[[], bool],
        is_unwanted: Callable[[], bool] = lambda: False,
    ) -> None:
        """Return when enough is free, or room is not wanted any more. Raises StopRun when it is
        not, and no item is under way whose end could free some."""
        free = self.free() if self._watermark else 0
        if free >= self._watermark:
            return
        self._events.emit(DiskLow(free=free, watermark=self._watermark))
        while (free := self.free()) < self._watermark:
            if is_unwanted():
                return
            if not anything_in_flight():
                raise StopRun(
                    f"the disk of {self._folder} is nearly full: {free / 1e9:.1f} GB free, under "
                    f"limits.free_disk = {self._watermark / 1e9:.1f} GB; free some and run again"
                    f"{_what_may_go(self._folder)}"
                )
            await anyio.sleep(DISK_CHECK_INTERVAL)
        self._events.emit(DiskRecovered(free=free))


def _what_may_go(folder: Path) -> str:
    """The part of the work folder that could be freed, if it is large enough to mention."""
    kept = kept_between_attempts(folder)
    if kept < 100e6:
        return ""
    return f" ({size(kept)} are half-done work for further attempts: {folder}/items/*/.*.partial)"
