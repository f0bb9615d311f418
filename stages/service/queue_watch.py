"""What a worker says of the Redis of its queue while it runs."""

import logging
import re
from collections.abc import Awaitable, Callable

import anyio

log = logging.getLogger("penstock.worker")

LOOK = 2.0
"""Seconds between two looks at whether the server answers, and that it has for an answer."""

AWAY = 3
"""Looks without an answer, one after the other, after which that is said."""

AGAIN = 600.0
"""Seconds after which the same is said again."""

ANOTHERS = "job {} is another worker's by now; what came of it here is not taken"

MEANT = (
    (re.compile(r"(?:Missing lock|Lock mismatch) for job (.+?)\. "), ANOTHERS),
    (re.compile(r"Job (.+) is not in the active state\. "), ANOTHERS),
    (re.compile(r"Missing key for job (.+?)\. "), "job {} was removed; its end is told to nobody"),
)
"""What BullMQ means by its words, which name the command of its own that was refused."""


class QueueWatch:
    """Says once that the server does not answer, and once that it does again; and of errors of the
    queue the same only now and then."""

    def __init__(self, clock: Callable[[], float] = anyio.current_time) -> None:
        self._clock = clock
        self._missed = 0
        self._told: dict[str, float] = {}

    @property
    def _is_away(self) -> bool:
        return self._missed >= AWAY

    async def watch(self, ping: Callable[[], Awaitable[object]]) -> None:
        """Ask again and again, until cancelled."""
        while True:
            await anyio.sleep(LOOK)
            self.seen(await _problem_with(ping))

    def seen(self, problem: str | None) -> None:
        """What came of a look: why there was no answer, None where there was one."""
        if problem is None:
            if self._is_away:
                log.warning("the queue's Redis answers again")
            self._missed = 0
            return
        self._missed += 1
        if self._missed == AWAY:
            log.warning("the queue's Redis does not answer: %s; what is in hand goes on", problem)

    def tell(self, error: object) -> None:
        """Say what went wrong with the queue, unless that is known."""
        told, now = meant(error), self._clock()
        self._told = {one: at for one, at in self._told.items() if now - at < AGAIN}
        if self._is_away or told in self._told:
            log.debug("the queue: %s", told)
            return
        self._told[told] = now
        log.warning("the queue: %s", told)


def meant(error: object) -> str:
    """The error in a line, without what is about the queue's own workings."""
    # What Redis says of a script ends with the script's digest and line.
    told = " ".join(str(error).split()).partition(". script: ")[0]
    for words, ours in MEANT:
        if found := words.match(told):
            return ours.format(found[1])
    return told


async def _problem_with(ping: Callable[[], Awaitable[object]]) -> str | None:
    try:
        with anyio.fail_after(LOOK):
            await ping()
    except TimeoutError:
        return f"nothing within {LOOK:g} s"
    except Exception as error:  # whatever the client makes of it
        return " ".join(str(error).split())
    return None
