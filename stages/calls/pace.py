"""Requests and tokens a minute: the pace of calls of this process, or of all machines together."""

import math
from typing import TYPE_CHECKING, Protocol

from engine import SharedGate, SharedLimits, Shut
from stages.calls.day_quota import DayQuota

if TYPE_CHECKING:
    from aiolimiter import AsyncLimiter

REQUESTS_AT_ONCE = 0.5
TOKENS_AT_ONCE = 5.0
"""Seconds whose requests, and whose tokens, may go at once."""

LATE_BY, LATE_SHARE = 0.05, 0.01
"""Seconds, and the share of the interval, at most, by which requests go later than a slow rate
allows. Some arrive sooner after the one before than they were sent; a server that counts strictly
refuses these, and a refused one costs the whole interval."""


class TokenEstimate:
    """The tokens that a call of one kind is expected to take: a first guess, then the mean cost of
    the calls so far."""

    def __init__(self, first: float) -> None:
        self.value = first
        self._calls = 0

    def learn(self, tokens: int) -> None:
        self._calls += 1
        self.value += (tokens - self.value) / self._calls


def seconds_between(requests_per_minute: float) -> float:
    """Seconds from one request to the next."""
    interval = 60 / requests_per_minute
    if interval <= REQUESTS_AT_ONCE:
        return interval  # several may go at once: a server that allows that is not so strict
    return interval + min(LATE_BY, LATE_SHARE * interval)


class CallPace(Protocol):
    """Lets calls go one by one. Each takes its expected tokens; the difference to what it cost is
    settled with the next call."""

    def tighten(
        self,
        requests_per_minute: float | None,
        tokens_per_minute: float | None,
        expected_tokens: float,
        day: DayQuota | None,
    ) -> None:
        """Keep to these limits as well; None is no limit."""

    async def take(self, estimate: TokenEstimate, patience: float) -> float | Shut:
        """Wait until a call may go; the tokens that it is charged, or why none may go."""

    def settle(self, tokens: float) -> None:
        """A call took so many tokens more than it was charged."""

    async def close(self, seconds: float) -> None:
        """The server asked for this pause."""


class OwnPace:
    """The pace of one process."""

    def __init__(self) -> None:
        self._requests: AsyncLimiter | None = None
        self._tokens: AsyncLimiter | None = None
        self._rates = [math.inf, math.inf]
        self._owed = 0.0

    def tighten(
        self,
        requests_per_minute: float | None,
        tokens_per_minute: float | None,
        expected_tokens: float,
        day: DayQuota | None,
    ) -> None:
        from aiolimiter import AsyncLimiter

        if requests_per_minute is not None and requests_per_minute < self._rates[0]:
            self._rates[0] = requests_per_minute
            burst = max(1.0, requests_per_minute * REQUESTS_AT_ONCE / 60)
            self._requests = AsyncLimiter(burst, burst * seconds_between(requests_per_minute))
        if tokens_per_minute is not None and tokens_per_minute < self._rates[1]:
            self._rates[1] = tokens_per_minute
            # The bucket has room for one call at least: larger ones would wait in several parts.
            expected = min(expected_tokens, tokens_per_minute)
            burst = max(expected, tokens_per_minute * TOKENS_AT_ONCE / 60)
            self._tokens = AsyncLimiter(burst, 60 * burst / tokens_per_minute)

    async def take(self, estimate: TokenEstimate, patience: float) -> float | Shut:
        if self._requests is not None:
            await self._requests.acquire()
        charged = estimate.value
        if self._tokens is not None:
            due = charged + self._owed
            self._owed = 0.0
            while due > 0:
                part = min(due, self._tokens.max_rate)
                await self._tokens.acquire(part)
                due -= part
            # Negative where calls were charged too much: the next ones get the rest back.
            self._owed += due
        return charged

    def settle(self, tokens: float) -> None:
        self._owed += tokens

    async def close(self, seconds: float) -> None:
        """The gate itself holds its calls back."""


class SharedPace:
    """The pace of all machines together. A day's requests are counted over all of them too."""

    def __init__(self, gate: SharedGate) -> None:
        self._gate = gate
        self._spacing = [0.0, 0.0]
        self._day: DayQuota | None = None
        self._owed = 0.0

    def tighten(
        self,
        requests_per_minute: float | None,
        tokens_per_minute: float | None,
        expected_tokens: float,
        day: DayQuota | None,
    ) -> None:
        if requests_per_minute is not None:
            self._spacing[0] = max(self._spacing[0], seconds_between(requests_per_minute))
        if tokens_per_minute is not None:
            self._spacing[1] = max(self._spacing[1], 60 / tokens_per_minute)
        if day is not None and (self._day is None or day.most < self._day.most):
            self._day = day

    async def take(self, estimate: TokenEstimate, patience: float) -> float | Shut:
        """Raises GatesAway where Redis has not answered for `patience` seconds."""
        charged = estimate.value
        due, self._owed = charged + self._owed, 0.0
        requests, tokens = self._spacing
        limits = SharedLimits(requests, REQUESTS_AT_ONCE, tokens, TOKENS_AT_ONCE)
        if self._day is not None:
            limits = limits.within_days(self._day.most, self._day.borders())
        shut: Shut | None = Shut(0.0)
        try:
            shut = await self._gate.enter(limits, due, patience)
        finally:
            self._owed += min(due, 0.0) if shut is None else due - charged
        return charged if shut is None else shut

    def settle(self, tokens: float) -> None:
        self._owed += tokens

    async def close(self, seconds: float) -> None:
        await self._gate.close(seconds)
