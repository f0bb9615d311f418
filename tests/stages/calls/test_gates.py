"""One gate over the steps of a run, and requests a day."""

from datetime import datetime
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import anyio
import pytest

from engine.gates.shared import shared_gates_at
from stages.calls.day_quota import DAY, DayKind, DayQuota
from stages.calls.gates import Limits, share_gate
from stages.calls.pace import TokenEstimate
from stages.calls.rate import CallGate, DaySpent, PausedTooLong
from tests.stages.service.redis_server import redis_server
from tests.virtual_time import run_in_virtual_time

SERVER = "https://vision.example/v1"


def test_steps_with_one_server_key_and_model_share_a_gate_at_the_lowest_rates() -> None:
    async def main() -> None:
        fast = share_gate(Limits(8, 600, None, 60), server=SERVER, key="k", model="eye")
        slow = share_gate(Limits(2, 60, None, 90), server=SERVER + "/x", key="k", model="eye")
        other = share_gate(Limits(4, None, None, 60), server=SERVER, key="else", model="eye")
        assert fast.thing is slow.thing
        assert other.thing is not fast.thing
        assert (fast.thing.slots.limit, fast.thing.slots.timeout) == (2, 90)
        begin = anyio.current_time()
        for loan in (fast, slow, fast, slow, fast):
            async with loan.thing.turn(0):
                pass
        assert anyio.current_time() - begin == pytest.approx(4, abs=0.1)
        fast.give_back()
        slow.give_back()
        anew = share_gate(Limits(8, None, None, 60), server=SERVER, key="k", model="eye")
        assert anew.thing.slots.limit == 8
        anew.give_back()
        other.give_back()

    run_in_virtual_time(main)


@pytest.mark.parametrize(
    ("per_minute", "least", "most"), [(6, 10.02, 10.06), (60, 1.005, 1.02), (600, 0.099, 0.101)]
)
def test_calls_that_go_one_by_one_never_arrive_too_soon(
    per_minute: float, least: float, most: float
) -> None:
    """A strict server refuses the call that comes some milliseconds before its time."""

    async def main() -> None:
        gate = CallGate(1, per_minute, None, expected_tokens=0)
        sent = []
        for _ in range(12):
            async with gate.turn(0):
                sent.append(anyio.current_time())
        intervals = [b - a for a, b in pairwise(sent[6:])]
        assert least <= min(intervals)
        assert max(intervals) <= most

    run_in_virtual_time(main)


@pytest.mark.parametrize(
    ("concurrency", "per_minute", "told"),
    [
        (2, None, "its calls waited for a turn: stages.image.concurrency lets it have 2 calls"),
        (2, 30, "its calls waited for stages.image.requests_per_minute"),
        (6, None, None),
    ],
)
def test_what_calls_waited_for_most_of_the_time_is_named(
    concurrency: int, per_minute: float | None, told: str | None
) -> None:
    async def main() -> None:
        gate = CallGate(concurrency, per_minute, None, expected_tokens=0)
        assert gate.bound("stages.image") is None

        async def call() -> None:
            async with gate.turn(0):
                await anyio.sleep(2)

        async with anyio.create_task_group() as tasks:
            for _ in range(6):
                tasks.start_soon(call)
        found = gate.bound("stages.image")
        assert (found or "").startswith(told or "")
        assert (found is None) == (told is None)

    run_in_virtual_time(main)


def test_each_kind_of_call_is_charged_what_its_own_calls_cost() -> None:
    async def main() -> None:
        gate = CallGate(1, None, 60_000, expected_tokens=0)
        large, small = TokenEstimate(3000), TokenEstimate(100)
        async with gate.turn(0, estimate=large) as charged:
            assert charged == 3000
            gate.answered(5000, charged, estimate=large)
        async with gate.turn(0, estimate=small) as charged:
            assert charged == 100
            gate.answered(200, charged, estimate=small)
        assert (large.value, small.value) == (5000, 200)

    run_in_virtual_time(main)


PACIFIC = ZoneInfo("America/Los_Angeles")


@pytest.mark.parametrize(
    ("day", "again"),
    [("24 hours", 2 * 3600), ("Pacific", 3 * 3600)],
)
def test_requests_of_a_day_are_counted_over_runs(
    tmp_path: Path, day: DayKind, again: float
) -> None:
    now = datetime(2026, 11, 25, 21, tzinfo=PACIFIC).timestamp()
    file = tmp_path / "requests.jsonl"
    first = DayQuota(file, 3, day, lambda: now - DAY + again)
    for _ in range(2):
        first.note(first.spend())
    with file.open("a") as torn:
        torn.write('{"at": 17')  # a crash
    later = DayQuota(file, 3, day, lambda: now)
    yesterdays = 0 if day == "Pacific" else 2
    for _ in range(3 - yesterdays):
        assert later.left() == 0
        later.note(later.spend())
    assert later.left() == pytest.approx(again)
    after = DayQuota(file, 3, day, lambda: now + again + 1)
    assert after.left() == 0


def test_a_day_that_is_spent_is_no_wait_inside_the_gate(tmp_path: Path) -> None:
    async def main() -> None:
        gate = CallGate(2, None, None, expected_tokens=100)
        gate.tighten(2, None, None, 60, DayQuota(tmp_path / "requests.jsonl", 1, "24 hours"))
        async with gate.turn(0):
            pass
        with pytest.raises(DaySpent) as told:
            async with gate.turn(0):
                pass
        assert told.value.seconds == pytest.approx(DAY, abs=60)

    anyio.run(main)


def test_machines_share_the_pace_the_pauses_and_the_day(tmp_path: Path) -> None:
    pytest.importorskip("redis")

    async def main(address: str) -> None:
        async with shared_gates_at(address):
            one, other = _of_a_machine(), _of_a_machine()
            began = anyio.current_time()
            for gate in (one, other, one):
                async with gate.turn(0):
                    gate.answered(200, 100)
            assert anyio.current_time() - began >= 2 * 0.49
            await one.pause(30)
            with pytest.raises(PausedTooLong):
                async with other.turn(patience=5):
                    pass

    with redis_server(tmp_path) as address:
        anyio.run(main, address)
        names = _names_in(address)
    assert [name for name in names if "vision.example eye" in name]
    assert not [name for name in names if "sk-secret" in name]


def _of_a_machine() -> CallGate:
    """What `share_gate` makes on each machine, here on one event loop."""
    loan = share_gate(Limits(8, 120, None, 60), server=SERVER, key="sk-secret", model="eye")
    loan.give_back()  # so that the next one is made anew
    return loan.thing


def _names_in(address: str) -> list[str]:
    from redis import Redis

    with Redis.from_url(address, decode_responses=True) as client:
        names = [str(name) for name in client.keys("*")]
        assert all(client.ttl(name) > 0 for name in names), "nothing is kept for ever"
    return names
