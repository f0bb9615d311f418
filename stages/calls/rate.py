"""The pace of requests to a paid server: calls in flight, requests and tokens a minute, pauses."""

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
from anyio.to_thread import run_sync

from engine import Shut
from stages.calls.day_quota import DayQuota
from stages.calls.pace import CallPace, OwnPace, TokenEstimate
from stages.calls.slots import Slots, TimeInside

_FIRST_GUESS = 1.0
_LONGEST_GUESS = 60.0
"""Seconds: the first and the longest pause after a refusal that does not say how long to wait."""

_LONGEST_PAUSE = 3600.0
"""Seconds: a server may name any date. After this long it is asked again."""


_MOSTLY = 0.5
"""The share of the time from which on what calls wait for is what bounds them."""

_IN_A_ROW = 3
"""Faults in a row, without an answer in between, from which the server
rather than a call is at fault."""
_FIRST_KNOCK = 0.5
_LONGEST_KNOCK = 60.0
_LONGEST_STRANGERS_KNOCK = 8.0
"""Seconds between two probes: the first interval, the longest for a server that has answered
before, and the longest for one that never has: its address may be wrong."""


class PausedTooLong(Exception):
    """The server asked for a pause of `seconds` more, which is longer than a call may wait."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"paused for {seconds:.0f} s more")
        self.seconds = seconds


class DaySpent(PausedTooLong):
    """The day's requests have been sent; `most` are allowed."""

    def __init__(self, seconds: float, most: int) -> None:
        super().__init__(seconds)
        self.most = most


class Away(Exception):
    """The server is away: every probe of it failed. The message is that of the last one."""


class CallGate:
    """The gate that every call to one model of a server passes.

    At most `concurrency` calls are in flight, fewer after time-outs: see `Slots`.
    `requests_per_minute` and `tokens_per_minute` are spread evenly over the minute (servers refuse
    a minute's requests in one burst); None is no limit. Half a second's requests may go at once,
    which stays within the limits of servers that count by the second. A call takes its expected
    tokens: by an estimate of its own kind, or by one for all calls, which begins with
    `expected_tokens`. Each call's difference is settled with the next call.

    After several faults in a row, of any calls, the server is `away` (a breaker): then one call at
    a time probes it ("knocks"), at longer and longer intervals, and the others wait. The first
    answer lets all of them go on.
    """

    def __init__(
        self,
        concurrency: int,
        requests_per_minute: float | None,
        tokens_per_minute: float | None,
        expected_tokens: float,
        timeout: float = 60.0,
        pace: CallPace | None = None,
    ) -> None:
        self.slots = Slots(concurrency, timeout)
        self._estimate = TokenEstimate(expected_tokens)
        self._pace = pace or OwnPace()
        self._under_way, self._pacing = TimeInside(), TimeInside()
        self._first_guess = _FIRST_GUESS
        self._day: DayQuota | None = None
        self.tighten(concurrency, requests_per_minute, tokens_per_minute, timeout)
        self._opens = 0.0
        self._refusals = 0
        self.answers = 0
        """Answers so far."""
        self.faults = 0
        """The server's faults so far."""
        self.away = False
        self.knocks = 0
        """Failed probes so far."""
        self._before_it_went = 0
        self._away_since = 0.0
        self._in_a_row = 0
        self._why = ""
        self._knocking = False
        self._next_knock = 0.0
        self._news = anyio.Event()

    def tighten(
        self,
        concurrency: int,
        requests_per_minute: float | None,
        tokens_per_minute: float | None,
        timeout: float,
        day: DayQuota | None = None,
    ) -> None:
        """Keep to these limits as well: the lowest of all count, and the longest `timeout`."""
        self.slots.tighten(concurrency, timeout)
        expected = self._estimate.value
        self._pace.tighten(requests_per_minute, tokens_per_minute, expected, day)
        if requests_per_minute is not None:
            self._first_guess = min(self._first_guess, 60 / requests_per_minute)
        if day is not None and (self._day is None or day.most < self._day.most):
            self._day = day

    @asynccontextmanager
    async def turn(
        self,
        patience: float,
        since: int = 0,
        knocks: int = 1,
        estimate: TokenEstimate | None = None,
    ) -> AsyncIterator[float]:
        """Waits until a call may be made; make it inside the block. Yields the tokens that it was
        charged.

        Inside, until its next await, `away` says whether this call is a probe. Raises PausedTooLong
        instead of waiting for the end of a pause that is more than `patience` seconds away, and
        Away after `knocks` failed probes, not counting the first `since`; DaySpent where the day's
        requests have been sent.
        """
        with self._under_way:
            async with self.slots.slot():
                charged = await self._take(patience, since, knocks, estimate or self._estimate)
                knocking = self.away
                self._knocking |= knocking
                try:
                    yield charged
                finally:
                    if knocking:
                        self._knocking = False
                        self._tell()

    def bound(self, step: str) -> str | None:
        """What calls waited for, in most of the time that there were any: a phrase that names the
        setting of `step`. None where they seldom waited."""
        least = self._under_way.seconds * _MOSTLY
        if not least:
            return None
        if self._pacing.seconds >= least:
            return f"its calls waited for {step}.requests_per_minute, or tokens_per_minute"
        if self.slots.waiting.seconds >= least:
            at_once = f"{self.slots.most} call{'s' if self.slots.most > 1 else ''} at once"
            return f"its calls waited for a turn: {step}.concurrency lets it have {at_once}"
        return None

    def answered(
        self,
        tokens: int | None,
        charged: float,
        seconds: float | None = None,
        estimate: TokenEstimate | None = None,
    ) -> None:
        """A call was answered, within `seconds` if measured, and cost `tokens`, if the server said
        so; it had been charged `charged`, by `estimate`, which learns."""
        self.answers += 1
        self.reached()
        if seconds is not None:
            self.slots.answered(seconds)
        self._refusals = max(0, self._refusals - 1)
        if tokens is None:
            return
        self._pace.settle(tokens - charged)
        (estimate or self._estimate).learn(tokens)

    def reached(self) -> None:
        """The server is there: it answered, even if only to say that the request was wrong."""
        self._in_a_row = 0
        self._before_it_went = self.knocks
        self.away = False
        self._tell()

    def failed(self, why: str, knocked: bool) -> None:
        """A call ended with a fault of the server; `knocked` says whether the call was a probe."""
        self.faults += 1
        self._in_a_row += 1
        if (self.away and knocked) or (not self.away and self._in_a_row >= _IN_A_ROW):
            longest = _LONGEST_KNOCK if self.answers else _LONGEST_STRANGERS_KNOCK
            if self.away:
                self.knocks += 1
            else:
                self._away_since = anyio.current_time()
            pause = _FIRST_KNOCK * 2.0 ** min(self.knocks - self._before_it_went, 30)
            pause = min(longest, pause) * random.uniform(0.75, 1.0)
            self._next_knock = anyio.current_time() + pause
            self.away, self._why = True, why
            self._tell()

    @property
    def away_for(self) -> float:
        """Seconds that the server has been away."""
        return anyio.current_time() - self._away_since if self.away else 0.0

    @property
    def next_knock(self) -> float:
        """Seconds until the next probe of the server that is away."""
        return max(0.0, self._next_knock - anyio.current_time())

    async def pause(self, seconds: float | None) -> float:
        """Holds back every call for `seconds`, an hour at most, or for a guess if None or 0; with a
        shared pace, those of all machines.

        The guess starts at the interval between two requests, a second where no rate is known. Each
        refusal doubles it and each answer halves it: it stays short for a server that refuses at
        random, and grows for one that refuses more than it answers.

        Returns the seconds until the pause ends.
        """
        now = anyio.current_time()
        if not seconds:
            if now < self._opens:  # a refusal of a call from before the pause: nothing new
                return self._opens - now
            guess = self._first_guess * 2.0**self._refusals
            seconds = min(_LONGEST_GUESS, guess) * random.uniform(0.75, 1.0)
            self._refusals += guess < _LONGEST_GUESS
        self._opens = max(self._opens, now + min(seconds, _LONGEST_PAUSE))
        await self._pace.close(self._opens - now)
        return self._opens - now

    async def _take(
        self, patience: float, since: int, knocks: int, estimate: TokenEstimate
    ) -> float:
        """Waits for a call's turn; the tokens that it is charged."""
        while True:
            await self._open(patience, since, knocks)
            with self._pacing:
                taken = await self._pace.take(estimate, patience)
            if isinstance(taken, Shut):
                if taken.spent and self._day is not None:
                    raise DaySpent(taken.seconds, self._day.most)
                self._opens = max(self._opens, anyio.current_time() + taken.seconds)
            elif anyio.current_time() >= self._opens:
                break
            # Else another call was told to slow down meanwhile, here or on another machine.
        await self._open(patience, since, knocks)
        if self._day is not None:
            await _take_of_day(self._day)
        return taken

    async def _open(self, patience: float, since: int, knocks: int) -> None:
        while True:
            now = anyio.current_time()
            if (left := self._opens - now) > 0:
                if left > patience:
                    raise PausedTooLong(left)
                await anyio.sleep(left)
            elif not self.away:
                return
            elif self.knocks - max(since, self._before_it_went) >= knocks:
                raise Away(self._why)
            elif (left := self._next_knock - now) > 0:
                await anyio.sleep(left)
            elif self._knocking:
                await self._news.wait()
            else:
                return

    def _tell(self) -> None:
        self._news.set()
        self._news = anyio.Event()


async def _take_of_day(day: DayQuota) -> None:
    if (left := day.left()) > 0:
        raise DaySpent(left, day.most)
    await run_sync(day.note, day.spend())
