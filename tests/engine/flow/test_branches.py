"""Branches: offered side by side, and not begun once another branch has failed or dropped the item.

Every pipeline here is a fork: a comes after x, and so does b, with c after it.
"""

from collections import defaultdict
from pathlib import Path
from typing import Any

import anyio
import pytest

from engine import Drop, Item, Step, Throttled, Transient
from engine.contract.item import item_id
from engine.ledger.schema import FILE
from engine.ledger.writer import Ledger
from engine.telemetry.events import AttemptEnded, Event, ItemEnded
from tests.engine import toys
from tests.engine.toys import LoopToy, executions, line, outcomes, query, run, run_within, toy


class Signs:
    """What has happened, to be waited for by its name; made anew for every test."""

    def __init__(self) -> None:
        self._events: dict[str, anyio.Event] = defaultdict(anyio.Event)

    def give(self, name: str) -> None:
        self._events[name].set()

    async def wait(self, name: str) -> None:
        await self._events[name].wait()

    def __call__(self, event: Event) -> None:
        if isinstance(event, AttemptEnded):
            self.give(f"{event.stage} {event.outcome} {event.item}")
        if isinstance(event, ItemEnded):
            self.give(f"end {event.item}")


def fork(signs: Signs, a: Any, b: Any, **more: Any) -> Any:
    """x, then a beside b and c; `a` and `b` are awaited with an item, and may raise."""

    def step(name: str, after: str, act: Any) -> Step:
        class Acting(LoopToy):
            async def process(self, item: Item, out: Path) -> Any:
                toys.note(self.workdir / "executions", f"{self.name} {item.id}")
                await act(item)
                (out / "value.json").write_text("{}")

        return toy(name, after, base=Acting, **more)

    return line(toy("x", base=LoopToy), step("a", "x", a), step("b", "x", b), toy("c", "b"))


BAD, SLOW = item_id("bad"), item_id("slow")


def test_a_full_inbox_keeps_an_item_from_no_other_branch(fast: Path) -> None:
    signs = Signs()

    async def a(item: Item) -> None:
        await signs.wait(f"b done {item_id('v3')}")  # a holds v1 and v2, and has no room for v3

    async def b(item: Item) -> None:
        pass

    sources = ["v1", "v2", "v3", "v4"]
    report = run_within(20, fork(signs, a, b), fast, sources, "stages.a.queue=1", listen=signs)
    assert report.items["done"] == 4


async def at_once(item: Item) -> None:
    if item.source == "bad":
        raise Drop("told to")


def busy_with_the_slow(signs: Signs) -> Any:
    async def b(item: Item) -> None:
        if item.source == "slow":
            await signs.wait(f"end {BAD}")

    return b


@pytest.mark.parametrize("queue", [1, 8])
def test_what_waits_in_another_inbox_is_not_begun(fast: Path, queue: int) -> None:
    """With room for one, the stage before is blocked by the next item, and let go."""
    signs = Signs()
    pipeline = fork(signs, at_once, busy_with_the_slow(signs))
    sources, small = ["slow", "v1", "bad"], f"stages.b.queue={queue}"
    report = run_within(20, pipeline, fast, sources, small, listen=signs)
    assert (report.items["done"], report.items["dropped"]) == (2, 1)
    found = outcomes(fast)
    assert ("b", BAD) not in found
    assert ("b", BAD) not in executions(fast)
    assert found["a", BAD] == ("dropped", "drop")
    before = executions(fast)
    assert run(pipeline, fast, sources, listen=signs).items["dropped"] == 1
    assert executions(fast) == before


@pytest.mark.parametrize("key", [None, "one.test"])
def test_what_waits_for_a_retry_or_a_gate_is_withdrawn(fast: Path, key: str | None) -> None:
    signs = Signs()

    async def a(item: Item) -> None:
        await signs.wait(f"b throttled {BAD}")
        raise Drop("told to")

    async def b(item: Item) -> None:
        raise Throttled("in an hour", after=3600, key=key)

    report = run_within(20, fork(signs, a, b), fast, ["bad"], listen=signs)
    assert report.items["dropped"] == 1
    assert ("b", BAD) not in outcomes(fast)
    assert report.pools["b"].held == 0
    assert toys.leftovers(fast) == []


def test_what_is_in_hand_is_brought_to_its_end_and_not_tried_again(fast: Path) -> None:
    for error in (None, Transient("broke off")):
        signs, workdir = Signs(), fast / str(error)

        async def a(item: Item, signs: Signs = signs) -> None:
            await signs.wait("b has begun")
            raise Transient("told to")

        async def b(item: Item, signs: Signs = signs, error: Exception | None = error) -> None:
            signs.give("b has begun")
            await signs.wait(f"a failed {BAD}")
            if error is not None:
                raise error

        once = "stages.a.attempts=1"
        report = run_within(20, fork(signs, a, b), workdir, ["bad"], once, listen=signs)
        assert report.items["failed"] == 1
        assert outcomes(workdir).get(("b", BAD)) == (("done", None) if error is None else None)
        assert ("c", BAD) not in outcomes(workdir)
        how = query(workdir, "SELECT outcome, message FROM attempts WHERE stage = 'b'")
        assert how == [("done", None) if error is None else ("interrupted", "broke off")]


def test_a_retry_of_what_failed_begins_the_other_branches_too(fast: Path) -> None:
    signs = Signs()
    works = False

    async def a(item: Item) -> None:
        if item.source == "bad" and not works:
            raise Transient("told to")

    pipeline = fork(signs, a, busy_with_the_slow(signs))
    report = run_within(20, pipeline, fast, ["slow", "bad"], "stages.a.attempts=1", listen=signs)
    assert report.items["failed"] == 1
    assert ("b", BAD) not in outcomes(fast)
    ledger = Ledger(fast / FILE)
    assert len(ledger.retrying.reset({"a": [], "b": ["c"]})) == 1
    ledger.close()
    works = True
    assert run_within(20, pipeline, fast, ["slow", "bad"], listen=signs).items["done"] == 2
    assert [outcomes(fast)[stage, BAD] for stage in "abc"] == [("done", None)] * 3
