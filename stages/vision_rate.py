"""How often a paid server is asked: calls in flight, requests and tokens a minute, and pauses."""

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio

_FIRST_GUESS = 1.0
_LONGEST_GUESS = 60.0
"""Seconds: the first and the longest pause after a refusal that does not say how long to wait."""

_LONGEST_PAUSE = 3600.0
"""Seconds: a server may name any year. After so long it is asked whether it still means it."""


class Closed(Exception):
    """The server asked for a pause of `seconds` more, which is longer than a call will wait."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"paused for {seconds:.0f} s more")
        self.seconds = seconds


class Gate:
    """What every call of the pool passes.

    At most `concurrency` calls are in flight. `requests_per_minute` and `tokens_per_minute` are
    spread evenly over the minute (a minute's requests in one burst are what servers refuse); None
    is no limit. Half a second's requests may go at once, which keeps clear of servers that count by
    the second. Tokens are taken at what a call is expected to cost, which starts as
    `expected_tokens` and becomes what calls did cost, and each call's difference is settled with
    the next one.
    """

    def __init__(
        self,
        concurrency: int,
        requests_per_minute: float | None,
        tokens_per_minute: float | None,
        expected_tokens: float,
    ) -> None:
        from aiolimiter import AsyncLimiter

        self._slots = anyio.Semaphore(concurrency)
        self._requests = None
        if requests_per_minute is not None:
            burst = max(1.0, requests_per_minute / 120)
            self._requests = AsyncLimiter(burst, 60 * burst / requests_per_minute)
        self._first_guess = min(_FIRST_GUESS, 60 / (requests_per_minute or 60))
        self._tokens = None
        if tokens_per_minute is not None:
            # The bucket holds one call at least, or none would ever pass.
            burst = max(min(expected_tokens, tokens_per_minute), tokens_per_minute / 12)
            self._tokens = AsyncLimiter(burst, 60 * burst / tokens_per_minute)
        self._expected = expected_tokens
        self._owed = 0.0
        self._calls = 0
        self._opens = 0.0
        self._refusals = 0

    @asynccontextmanager
    async def turn(self, patience: float) -> AsyncIterator[float]:
        """Waits until a call may be made; it is made inside. Gives the tokens it was charged.

        Raises Closed instead of waiting for the end of a pause that is more than `patience` seconds
        away.
        """
        async with self._slots:
            await self._open(patience)
            if self._requests is not None:
                await self._requests.acquire()
            charged = self._expected
            if self._tokens is not None:
                await self._take_tokens(charged)
            # Another call may have been told to slow down while this one waited.
            await self._open(patience)
            yield charged

    def answered(self, tokens: int | None, charged: float) -> None:
        """A call got its answer and cost `tokens`, where the server said; it was charged others."""
        self._refusals = max(0, self._refusals - 1)
        if tokens is None:
            return
        self._owed += tokens - charged
        self._calls += 1
        self._expected += (tokens - self._expected) / self._calls

    def pause(self, seconds: float | None) -> float:
        """Holds back every call for so long, an hour at most, or for a guess where it is None or 0.

        The guess begins at the time between two requests, a second where no rate is known. Each
        refusal doubles it and each answer halves it: a server that refuses at random is hardly
        slowed down for, one that refuses more than it answers is left alone ever longer.

        Returns how long that is from now.
        """
        now = anyio.current_time()
        if not seconds:
            if now < self._opens:  # an answer to a call from before the pause: no news
                return self._opens - now
            guess = self._first_guess * 2.0**self._refusals
            seconds = min(_LONGEST_GUESS, guess) * random.uniform(0.75, 1.0)
            self._refusals += guess < _LONGEST_GUESS
        self._opens = max(self._opens, now + min(seconds, _LONGEST_PAUSE))
        return self._opens - now

    async def _open(self, patience: float) -> None:
        while (left := self._opens - anyio.current_time()) > 0:
            if left > patience:
                raise Closed(left)
            await anyio.sleep(left)

    async def _take_tokens(self, charged: float) -> None:
        assert self._tokens is not None
        due = charged + self._owed
        self._owed = 0.0
        while due > 0:
            part = min(due, self._tokens.max_rate)
            await self._tokens.acquire(part)
            due -= part
        # Negative where earlier calls were charged too much: the rest is left to the next ones.
        self._owed += due
