"""What the two steps have in common that may call a service: a client, keeping, counting."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Any, ClassVar, TypeVar

import anyio
from anyio.to_thread import run_sync

from engine import Stage, available_cores
from stages.lesson.services.asking import MediaAsker
from stages.lesson.services.counts import MediaCall
from stages.lesson.services.settings import ServiceSettings

T = TypeVar("T")


class ServiceStage(Stage, ABC):
    """The base of steps that may call a service.

    One instance serves the whole pool. Every paid answer is kept under WORKDIR/cache, so that none
    is paid twice, in whichever section or script it is wanted.
    """

    # Twice as many workers as calls: the next sections wait at the gate while answers are kept and
    # read, so that no call's slot stands empty. Sections may have to wait for the few calls a
    # minute, or a day, of a plan; each call has a time limit of its own.
    defaults: ClassVar[dict[str, Any]] = {"workers": 16, "timeout": 86400.0, "patience": 172800.0}

    settings: ServiceSettings
    asker: MediaAsker | None = None
    """None where all is made on this machine."""
    _cores: anyio.CapacityLimiter

    @abstractmethod
    def connect(self) -> MediaAsker | None:
        """The asker of the settings' service. Raises UsageError."""

    async def open(self) -> None:
        """Raises UsageError where the public server's key is missing."""
        self._cores = anyio.CapacityLimiter(available_cores())
        self.asker = self.connect()

    def bound(self) -> str | None:
        return self.asker.bound() if self.asker is not None else None

    def drain(self) -> None:
        if self.asker is not None:
            self.asker.drain()

    async def close(self) -> None:
        if self.asker is not None:
            await self.asker.close()

    async def here(self, work: Callable[..., T], *given: Any) -> T:
        """What it makes of these, in a thread; at most one for each core at a time."""
        return await run_sync(work, *given, limiter=self._cores)

    async def stands_in(self, texts: Iterable[str]) -> bool:
        """Whether nothing may be sent, and an answer to one of these texts is not kept."""
        asker = self.asker
        if asker is None or self.settings.sends:
            return False
        return not await run_sync(all, map(asker.has, texts))

    def count(self, text: str) -> MediaCall:
        """What asking about it would take now."""
        assert self.asker is not None
        key = self.asker.kept.key(text.encode())
        return MediaCall(self.asker.host, key, len(text), self.asker.has(text))
