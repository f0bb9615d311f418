"""What happens with each job that is under way, kept so that a client which comes late, or comes
back, is told what it has missed."""

import secrets
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import anyio

KEPT = 500
"""The latest news of one job that are kept. A client that is further behind gets the job's state
instead of what it has missed."""

RUN = secrets.token_hex(4)
"""Stands before the numbers of news: those of an earlier server are not taken for this one's."""


@dataclass(frozen=True, slots=True)
class News:
    number: int
    kind: str
    told: Mapping[str, Any]

    @property
    def id(self) -> str:
        return f"{RUN}-{self.number}"


@dataclass(slots=True, eq=False)
class JobFeed:
    """The news of one job. To be used on one event loop. There is no queue for a client: each reads
    on from the number that it has come to, however slowly."""

    kept: deque[News] = field(default_factory=lambda: deque(maxlen=KEPT))
    latest: int = 0
    step: str | None = None
    parts: int = 0
    path: Mapping[str, Any] | None = None
    is_over: bool = False
    _changed: anyio.Event = field(default_factory=anyio.Event)

    def tell(self, kind: str, told: Mapping[str, Any]) -> None:
        self.latest += 1
        self.kept.append(News(self.latest, kind, told))
        self._change()

    def end(self) -> None:
        """There is no more to come."""
        self.is_over = True
        self._change()

    def since(self, number: int) -> list[News] | None:
        """The news after that number; None where some of them are not kept any more."""
        if number > self.latest or number < self.latest - len(self.kept):
            return None
        return [news for news in self.kept if news.number > number]

    async def more(self, number: int) -> None:
        """Return when there are news after that number, or no more are to come."""
        while self.latest <= number and not self.is_over:
            await self._changed.wait()

    def _change(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()


def number_in(last_event_id: str) -> int | None:
    """The number of the news that a client has seen last; None where it is not of this server."""
    run, _, number = last_event_id.partition("-")
    is_ours = run == RUN and number.isascii() and number.isdigit() and len(number) < 16
    return int(number) if is_ours else None
