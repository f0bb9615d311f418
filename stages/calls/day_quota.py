"""Requests a day, counted in a file, so that the next run goes on counting."""

import threading
import time
from collections import deque
from collections.abc import Callable
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from stages.files.json_lines import append_line, read_whole_lines, write_lines

DAY = 86_400.0
"""Seconds."""

DayKind = Literal["24 hours", "Pacific"]
"""What a server means by a day: any 24 hours, or the calendar day in Los Angeles, as Google's."""


class DayQuota:
    """At most `most` requests a day. The file holds the times of those of the last two days, one a
    line; a power cut may lose the latest. One event loop uses it, and `note` in any thread."""

    def __init__(
        self, file: Path, most: int, day: DayKind, clock: Callable[[], float] = time.time
    ) -> None:
        """`clock` gives seconds since 1970."""
        self.file = file
        self.most = most
        self._clock = clock
        self._writing = threading.Lock()
        self._zone = _pacific() if day == "Pacific" else None
        since = clock() - 2 * DAY
        self._sent = deque(sorted(at for at in _times(file) if at > since))
        if self._sent:
            write_lines(file, ({"at": at} for at in self._sent))

    def left(self) -> float:
        """Seconds until a request may be sent; 0: now."""
        now = self._clock()
        begins = now - DAY if self._zone is None else _midnight(now, self._zone)
        while self._sent and self._sent[0] <= begins:
            self._sent.popleft()
        if len(self._sent) < self.most:
            return 0.0
        if self._zone is not None:
            return _midnight(now, self._zone, days=1) - now
        return self._sent[len(self._sent) - self.most] + DAY - now

    def borders(self) -> list[float]:
        """The midnights around now, in seconds since 1970, where a day is one of the calendar: so
        many that a clock that is wrong by hours does no harm."""
        if self._zone is None:
            return []
        return [_midnight(self._clock(), self._zone, days) for days in (-1, 0, 1, 2)]

    def spend(self) -> float:
        """A request is about to be sent; returns its time, for `note`."""
        now = self._clock()
        self._sent.append(now)
        return now

    def note(self, at: float) -> None:
        """Put a request's time into the file. Blocks."""
        with self._writing:
            append_line(self.file, {"at": at})


def _times(file: Path) -> list[float]:
    lines = [line for line in read_whole_lines(file) if isinstance(line, dict)]
    return [line["at"] for line in lines if isinstance(line.get("at"), float)]


def _midnight(now: float, zone: tzinfo, days: int = 0) -> float:
    """The last midnight there, or the one `days` days after it."""
    here = datetime.fromtimestamp(now, zone)
    day = (here + timedelta(days=days)).date()
    return datetime(day.year, day.month, day.day, tzinfo=zone).timestamp()


def _pacific() -> tzinfo | None:
    """None where this machine knows no time zones: any 24 hours then, which allows no more."""
    try:
        return ZoneInfo("America/Los_Angeles")
    except ZoneInfoNotFoundError:
        return None
