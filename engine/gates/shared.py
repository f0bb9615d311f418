"""Gates that all machines pass: one rate for each key over all of them, kept in Redis.

The rules are those of `shared.lua`, which Redis runs in one step, by its own clock. A process has
one caller in the line of a gate at a time, so machines take turns, however many calls each has.
Nothing is held that has to be given back: a process that is killed leaves a gap of one turn.
"""

import logging
import math
import os
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from importlib.resources import files
from importlib.util import find_spec
from typing import Any
from urllib.parse import urlsplit

import anyio
from anyio.lowlevel import RunVar

from engine.contract.errors import PenstockError, UsageError

log = logging.getLogger("penstock.engine")

PREFIX = "penstock:gate:"
USER, PASSWORD = "REDIS_USERNAME", "REDIS_PASSWORD"

ANSWER_SECONDS = 5.0
FIRST_PAUSE, LONGEST_PAUSE = 0.25, 5.0
"""Seconds between two tries at a Redis that does not answer."""

SAID_AGAIN = 600.0
"""Seconds after which it is said again that Redis does not answer."""

SECOND = 1_000_000
"""Redis counts in microseconds."""

Script = Callable[..., Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class SharedLimits:
    """What a gate lets through: every `spacing` seconds one entry, and every `token_spacing`
    seconds one token, 0 for no limit; what is due within `at_once` seconds, and of tokens within
    `tokens_at_once`, may go together. Of several callers' limits the lowest hold.

    `day` entries a day, 0 for any number: in any 24 hours, or between two of `borders` (seconds
    since 1970), where a day is one of a calendar.
    """

    spacing: float = 0.0
    at_once: float = 0.0
    token_spacing: float = 0.0
    tokens_at_once: float = 0.0
    day: int = 0
    borders: Sequence[float] = ()

    def within_days(self, most: int, borders: Sequence[float]) -> "SharedLimits":
        return replace(self, day=most, borders=borders)


@dataclass(frozen=True, slots=True)
class Shut:
    """The gate is closed for `seconds`; `spent`: because the day's entries have gone in."""

    seconds: float
    spent: bool = False


class GatesAway(PenstockError):
    """Redis has not answered for as long as the caller would wait."""


class SharedGate:
    """The gate of one name, over all machines."""

    def __init__(self, gates: "SharedGates", name: str) -> None:
        self.name = name
        self._gates = gates
        self._line = anyio.Lock()

    async def enter(
        self, limits: SharedLimits, tokens: float = 0.0, patience: float = math.inf
    ) -> Shut | None:
        """Wait for the next turn, and go in with so many tokens; or the reason why not.

        Where Redis does not answer it waits until it does, and raises GatesAway after `patience`
        seconds: nobody goes in without its word.
        """
        asked = [
            *(int(limits.spacing * SECOND), int(limits.at_once * SECOND)),
            *(limits.token_spacing * SECOND, int(limits.tokens_at_once * SECOND), max(0.0, tokens)),
        ]
        day = [limits.day, *limits.borders]
        async with self._line:
            turn = ["0", "0"]
            while True:
                said, *rest = await self._gates.ask(
                    self.name, ["enter", *asked, *turn, *day], patience
                )
                if said == "in":
                    return None
                if said != "wait":
                    return Shut(int(rest[0]) / SECOND, spent=said == "spent")
                turn = rest[1:]
                await anyio.sleep(int(rest[0]) / SECOND)

    async def close(self, seconds: float) -> None:
        """Let nobody in for so long, on any machine. Where Redis does not answer it is tried once
        and said: nobody goes in meanwhile, and each machine finds out by itself afterwards."""
        with suppress(GatesAway):
            await self._gates.ask(self.name, ["close", int(seconds * SECOND)], patience=0.0)


class SharedGates:
    """The gates that a Redis keeps. Used on one event loop."""

    def __init__(self, script: Script, place: str) -> None:
        """`script` runs shared.lua; `place` is the server, for messages."""
        self.place = place
        self._script = script
        self._away_since: float | None = None
        self._said = 0.0

    async def ask(self, name: str, words: Sequence[object], patience: float) -> list[str]:
        """The script's answer. Tries again for `patience` seconds; then raises GatesAway."""
        began, pause = anyio.current_time(), FIRST_PAUSE
        while True:
            try:
                answer = await self.ask_once(name, words)
            except GatesAway as error:
                self._is_away(str(error))
                if anyio.current_time() + pause - began > patience:
                    raise
                await anyio.sleep(pause * random.uniform(0.5, 1.0))
                pause = min(LONGEST_PAUSE, 2 * pause)
            else:
                self._is_back()
                return answer

    async def ask_once(self, name: str, words: Sequence[object]) -> list[str]:
        from redis.exceptions import RedisError

        keys = [f"{PREFIX}{{{name}}}", f"{PREFIX}{{{name}}}:day"]
        try:
            answer = await self._script(keys=keys, args=words)
        except (RedisError, OSError, TimeoutError) as error:
            told = " ".join(str(error).split()) or type(error).__name__
            raise GatesAway(
                f"the Redis that keeps the shared gates, at {self.place}, gives no answer ({told})"
            ) from error
        return [str(part) for part in answer]

    def _is_away(self, why: str) -> None:
        now = anyio.current_time()
        if self._away_since is None:
            self._away_since = now
        elif now < self._said + SAID_AGAIN:
            return
        self._said = now
        log.warning("%s; nothing is sent past them until it does", why)

    def _is_back(self) -> None:
        if self._away_since is not None:
            away = anyio.current_time() - self._away_since
            self._away_since = None
            log.warning("the shared gates' Redis answers again, after %.0f s", away)


_gates: RunVar[SharedGates | None] = RunVar("shared gates")


def shared_gate(name: str) -> SharedGate | None:
    """A gate of this run that all machines pass; None where `limits.shared_gates` names no Redis.

    The name is seen in Redis. Call it on the run's event loop, once for each name: callers of one
    object wait in one line.
    """
    gates = _gates.get(None)
    return None if gates is None else SharedGate(gates, name)


@asynccontextmanager
async def shared_gates_at(address: str | None) -> AsyncIterator[None]:
    """Within the block the gates of this event loop are those of the Redis at `address`; None for
    gates of this process alone. Raises UsageError, in one line, where it cannot be used."""
    if address is None:
        yield
        return
    if find_spec("redis") is None:
        raise UsageError(
            "limits.shared_gates takes the package redis: pip install 'penstock[jobs]'"
        )
    from redis.asyncio import Redis
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff

    place = urlsplit(address).netloc
    client = Redis.from_url(
        address,
        username=os.environ.get(USER) or None,
        password=os.environ.get(PASSWORD) or None,
        decode_responses=True,
        socket_timeout=ANSWER_SECONDS,
        socket_connect_timeout=ANSWER_SECONDS,
        retry=Retry(NoBackoff(), 1),
    )
    async with client:
        code = files("engine.gates").joinpath("shared.lua").read_text(encoding="utf-8")
        gates = SharedGates(client.register_script(code), place)
        await _check(gates)
        token = _gates.set(gates)
        try:
            yield
        finally:
            _gates.reset(token)


async def _check(gates: SharedGates) -> None:
    try:
        await gates.ask_once("check", ["close", 0])
    except GatesAway as error:
        raise UsageError(
            f"limits.shared_gates: {error}; start it, put a password it wants into {PASSWORD}, or "
            "leave the setting out: then each machine keeps to its limits by itself"
        ) from error
