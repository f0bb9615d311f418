"""A server that goes away: one call at a time knocks, and the others wait. In virtual time."""

import math
from collections.abc import Callable
from itertools import pairwise

import anyio
import pytest

from stages.calls.rate import Away, CallGate
from tests.virtual_time import run_in_virtual_time


class Outage:
    """A server that is away from 1 s on until `until`, and the calls that come to it."""

    def __init__(self, until: float, answers: bool = True) -> None:
        self.gate = CallGate(8, None, None, expected_tokens=100)
        self.until = until
        self.knocked: list[float] = []
        if answers:
            self.gate.answered(None, 100)

    async def call(self, knocks: int, ended: Callable[[str], None]) -> None:
        since = self.gate.knocks
        while True:
            try:
                async with self.gate.turn(0.0, since, knocks) as charged:
                    knocking = self.gate.away
                    if knocking:
                        self.knocked.append(anyio.current_time())
                    await anyio.sleep(0.1)
                    if anyio.current_time() > self.until:
                        self.gate.answered(10, charged, 0.1)
                        ended("described")
                        return
                    self.gate.failed("gone", knocking)
            except Away as away:
                ended(str(away))
                return
            if knocking:
                await anyio.sleep(self.gate.next_knock + 0.01)

    async def calls(self, count: int, knocks: int) -> list[str]:
        ends: list[str] = []
        async with anyio.create_task_group() as tasks:
            for _ in range(count):
                tasks.start_soon(self.call, knocks, ends.append)
        return ends


def test_one_at_a_time_knocks_at_longer_and_longer_intervals_and_all_go_on_together() -> None:
    async def main() -> None:
        outage = Outage(until=anyio.current_time() + 25)
        assert await outage.calls(20, knocks=100) == ["described"] * 20
        assert (
            anyio.current_time() - outage.until < 17
        )  # the last interval, and two rounds of calls
        waits = [later - first for first, later in pairwise(outage.knocked)]
        assert len(outage.knocked) <= 7
        assert all(later > first for first, later in pairwise(waits))
        assert not outage.gate.away

    run_in_virtual_time(main)


@pytest.mark.parametrize(("answers", "longest"), [(True, 60), (False, 8)])
def test_a_server_that_never_answered_is_knocked_at_more_often(
    answers: bool, longest: float
) -> None:
    async def main() -> None:
        outage = Outage(until=math.inf, answers=answers)
        assert await outage.calls(20, knocks=12) == ["gone"] * 20
        last = outage.knocked[-1] - outage.knocked[-2]
        assert 0.75 * longest < last <= longest + 0.2

    run_in_virtual_time(main)


def test_those_who_come_while_it_is_away_hear_of_as_many_knocks_as_the_others() -> None:
    async def main() -> None:
        outage = Outage(until=math.inf)
        await outage.calls(4, knocks=3)
        before = len(outage.knocked)
        await outage.calls(4, knocks=3)
        assert len(outage.knocked) == before + 3

    run_in_virtual_time(main)


def test_a_fault_now_and_then_holds_nobody_back() -> None:
    async def main() -> None:
        gate = CallGate(8, None, None, expected_tokens=100)
        begin = anyio.current_time()
        for _ in range(50):
            for _ in range(2):
                async with gate.turn(0.0):
                    gate.failed("oops", gate.away)
            async with gate.turn(0.0) as charged:
                gate.answered(10, charged, 0.1)
        assert not gate.away
        assert anyio.current_time() == begin

    run_in_virtual_time(main)
