"""One stage at work: waits outside its workers, gates, batches, workers that come, go and break."""

import math
import shutil
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from engine import Ending, Item, PenstockError, Stage, Step, Throttled, Transient
from engine.contract.item import item_id
from engine.flow.run import Run
from engine.gates import hosts as limits
from engine.gates import retry
from engine.ledger.reader import LedgerReader
from engine.page.page import render_file
from engine.telemetry.events import AttemptEnded, AttemptStarted, Event, PoolResized, WorkerReplaced
from engine.telemetry.statistics import Hold
from engine.workers.base import StageOpenError
from tests.engine import toys
from tests.engine.toys import (
    GatedLoopToy,
    GatedToy,
    LoopObedient,
    LoopToy,
    Obedient,
    Toy,
    engine_threads,
    executions,
    line,
    outcomes,
    query,
    run,
    run_within,
    toy,
    until,
)


def order(events: list[Event], outcome: str = "done") -> list[str]:
    """The ids of items in the order in which their attempts ended so."""
    return [e.item for e in events if isinstance(e, AttemptEnded) and e.outcome == outcome]


# Attempts


def test_an_item_that_waits_for_its_retry_does_not_stop_the_others(fast: Path) -> None:
    events: list[Event] = []
    pipeline = line(toy("a", does={"bad": ["transient", 1]}))
    run(pipeline, fast, ["bad", "v1", "v2", "v3"], "limits.backoff=0.2", listen=events.append)
    assert order(events)[-1] == item_id("bad")
    assert executions(fast)["a", item_id("bad")] == 2


def test_every_attempt_has_an_empty_folder_and_keeps_only_what_is_partial(fast: Path) -> None:
    class Messy(Toy):
        def act(self, item: Item, out: Path) -> None:
            assert list(out.iterdir()) == []
            partial = item.partial(self.name)
            with (partial / "bytes").open("a") as file:
                file.write("x")
            (out / f"try {toys.tries(self, item)}").touch()
            super().act(item, out)
            (out / "bytes").write_text((partial / "bytes").read_text())

    run(line(toy("a", base=Messy, does={"v": ["transient", 2]})), fast, ["v"])
    paths = {Path(path).name for path in toys.tree(fast)}
    assert paths == {".penstock.json", "value.json", "bytes", "try 2"}
    assert (fast / "items" / item_id("v") / "a" / "bytes").read_text() == "xxx"


def test_each_attempt_may_take_the_timeout(fast: Path) -> None:
    class Slow(LoopToy):
        async def process(self, item: Item, out: Path) -> None:
            self.act(item, out)
            if toys.tries(self, item) < 3:
                await anyio.sleep_forever()

    report = run(line(toy("a", base=Slow)), fast, ["v"], "stages.a.timeout=0.05")
    assert report.items["done"] == 1
    attempts = query(fast, "SELECT attempt, outcome, kind FROM attempts ORDER BY id")
    assert attempts == [(1, "retried", "timeout"), (2, "retried", "timeout"), (3, "done", None)]


def test_attempts_are_as_many_as_were_said(fast: Path) -> None:
    run(line(toy("a", does={"v": ["bug", -1]})), fast, ["v"], "stages.a.attempts=4")
    assert executions(fast)["a", item_id("v")] == 4
    assert outcomes(fast)["a", item_id("v")] == ("failed", "unexpected")
    (trace,) = query(fast, "SELECT traceback FROM attempts WHERE outcome = 'failed'")[0]
    assert "ValueError: told to" in trace


def test_waits_grow_between_attempts(fast: Path) -> None:
    times: list[float] = []

    def listen(event: Event) -> None:
        if isinstance(event, AttemptStarted | AttemptEnded):
            times.append(time.monotonic())

    pipeline = line(toy("a", base=LoopToy, does={"v": ["transient", 3]}))
    run(pipeline, fast, ["v"], "limits.backoff=0.04", "stages.a.attempts=4", listen=listen)
    waits = [start - end for end, start in zip(times[1::2], times[2::2], strict=False)]
    for wait, mean in zip(waits, (0.04, 0.08, 0.16), strict=True):
        assert mean * 0.5 <= wait, "at least half of it, whatever the jitter"


@pytest.mark.parametrize("kind", ["thread", "loop"])
def test_a_stage_that_does_away_with_its_folder_fails_alone(fast: Path, kind: str) -> None:
    class Careless(LoopToy if kind == "loop" else Toy):  # type: ignore[misc]
        def act(self, item: Item, out: Path) -> None:
            super().act(item, out)
            if item.source == "bad":
                shutil.rmtree(out)

    report = run(line(toy("a", base=Careless)), fast, ["v1", "bad", "v2"])
    assert report.items["done"] == 2
    assert outcomes(fast)["a", item_id("bad")] == ("failed", "unexpected")


def test_a_place_where_nothing_can_be_written_fails_the_item_alone(fast: Path) -> None:
    (fast / "items").mkdir()
    (fast / "items" / item_id("bad")).write_text("a file is in the way")
    report = run(line(toy("a")), fast, ["v1", "bad", "v2"])
    assert (report.items["done"], report.items["failed"]) == (2, 1)


def test_reasons_may_be_anything(fast: Path) -> None:
    class Odd(Toy):
        def act(self, item: Item, out: Path) -> None:
            raise Transient(ValueError(f"cannot read {item.source}"))  # type: ignore[arg-type]

    source = b"caf\xe9".decode("utf-8", "surrogateescape")
    report = run(line(toy("a", base=Odd)), fast, [source], "stages.a.attempts=1")
    assert report.failures[0].example_reason == "cannot read caf"
    assert report.failures[0].example_item == source


# Gates


class Inside:
    """How many are at work at once, by key."""

    def __init__(self) -> None:
        self.now: Counter[str] = Counter()
        self.most: Counter[str] = Counter()
        self.starts: dict[str, list[float]] = {}
        self._lock = threading.Lock()

    @contextmanager
    def __call__(self, key: str) -> Iterator[None]:
        with self._lock:
            self.now[key] += 1
            self.most[key] = max(self.most[key], self.now[key])
            self.starts.setdefault(key, []).append(time.monotonic())
        try:
            yield
        finally:
            with self._lock:
                self.now[key] -= 1


class Counted(GatedToy):
    inside: Inside

    def act(self, item: Item, out: Path) -> None:
        with self.inside(self.gate(item) or ""):
            time.sleep(0.002)
            super().act(item, out)


def test_what_goes_to_one_host_is_bounded_over_all_stages_and_workers(fast: Path) -> None:
    inside = Inside()
    steps = [toy(n, *after, base=Counted, inside=inside) for n, *after in ("a", "ba", "cb")]
    sources = [f"v{n}@{'one' if n % 3 else 'two'}" for n in range(24)]
    workers = [f"stages.{name}.workers=4" for name in "abc"]
    report = run(line(*steps), fast, sources, "limits.concurrency=2", *workers)
    assert report.items["done"] == 24
    assert inside.most["one"] == 2
    assert inside.most["two"] <= 2


def test_starts_to_one_host_are_spaced_over_all_stages(fast: Path) -> None:
    inside = Inside()
    steps = [toy("a", base=Counted, inside=inside), toy("b", "a", base=Counted, inside=inside)]
    sources = [f"v{n}@one" for n in range(6)]
    run(line(*steps), fast, sources, "limits.rate=100", "stages.a.workers=3")
    starts = sorted(inside.starts["one"])
    assert len(starts) == 12
    assert starts[-1] - starts[0] >= 11 * 0.01 - 0.005


def test_two_stages_that_share_a_host_do_not_wait_for_each_other_for_ever(fast: Path) -> None:
    """The first's workers wait for room in the second, whose items all wait for the gate."""
    base = GatedLoopToy
    pipeline = line(toy("a", base=base), toy("b", "a", base=base), toy("c", "b", base=base))
    tight = [f"stages.{name}.queue=1" for name in "abc"]
    sources = [f"v{n}@one" for n in range(40)]
    report = run_within(30, pipeline, fast, sources, "limits.concurrency=1", *tight)
    assert report.items["done"] == 40


def test_a_batch_that_waits_for_room_holds_no_gate(fast: Path) -> None:
    """Three in the second stage sleep, which fills it, and then want the gate. Meanwhile a batch
    ends in the first of which one has to wait for room, and another has been in that gate."""

    class Gathers(GatedLoopToy):
        async def process(self, item: Item, out: Path) -> Any:
            if item.source == "w0":
                await until((fast / "items" / item_id("y@one")).exists)
            return self.act(item, out)

    class Sleeps(LoopToy):
        def gate(self, item: Item) -> str | None:
            return "one"

        def act(self, item: Item, out: Path) -> Any:
            super().act(item, out)
            if item.source.startswith("w") and toys.tries(self, item) == 1:
                raise Throttled("slow down", after=0.1, key="other")

    pipeline = line(toy("z"), toy("a", "z", base=Gathers), toy("b", "a", base=Sleeps))
    tight = ["stages.a.queue=4", "stages.a.batch=2", "stages.b.queue=2", "limits.concurrency=1"]
    report = run_within(20, pipeline, fast, ["w0", "w1", "w2", "x", "y@one"], *tight)
    assert report.items["done"] == 5


def test_many_that_wait_for_one_host_do_not_all_wake_for_each_other(fast: Path) -> None:
    asked = 0

    class Counts(GatedLoopToy):
        def gate(self, item: Item) -> str | None:
            nonlocal asked
            asked += 1
            return "one"

    settings = ["limits.concurrency=1", "stages.a.workers=4"]
    report = run(line(toy("a", base=Counts)), fast, [f"v{n}" for n in range(100)], *settings)
    assert report.items["done"] == 100
    assert asked <= 400


def test_throttling_closes_the_gate_for_its_host_and_costs_no_attempt(fast: Path) -> None:
    events: list[Event] = []
    does = {"v0@one": ["throttled", 2, 0.4]}
    pipeline = line(toy("a", base=GatedToy, does=does))
    sources = ["v0@one", "v1@one", "v2@two", "v3", "v4@two"]
    report = run(pipeline, fast, sources, "stages.a.attempts=1", listen=events.append)
    assert report.items["done"] == 5
    done = [next(s for s in sources if item_id(s) == id_) for id_ in order(events)]
    assert set(done[:3]) == {"v2@two", "v3", "v4@two"}, "other hosts are not held"
    assert set(done[3:]) == {"v0@one", "v1@one"}


def test_a_host_that_throttles_for_ever_ends_the_patience(fast: Path) -> None:
    does = {f"v{n}@one": ["throttled", -1, 0.01] for n in range(3)}
    pipeline = line(toy("a", base=GatedToy, does=does))
    report = run(pipeline, fast, [*does, "v"], "stages.a.patience=0.1")
    assert (report.items["failed"], report.items["done"]) == (3, 1)
    assert {kind for _, kind in outcomes(fast).values()} == {"throttled", None}


def test_patience_counts_the_wait_for_a_gate_that_others_keep_closed(
    fast: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Were it counted from an item's own first refusal, a list would take its sum, not once."""
    monkeypatch.setattr(limits, "FIRST_PAUSE", 0.02)
    does = {f"v{n}@one": ["throttled", -1, 0.02] for n in range(12)}
    pipeline = line(toy("a", base=GatedLoopToy, does=does))
    report = run(pipeline, fast, list(does), "stages.a.patience=0.3")
    assert report.items["failed"] == 12
    assert sum(executions(fast).values()) < 40


def test_patience_does_not_count_a_wait_that_is_nobodys_refusal(fast: Path) -> None:
    """Twelve wait for one slot, far longer than the patience, and two are turned away now and then.

    What they wait for each other is not held against them.
    """

    class Slow(GatedLoopToy):
        async def process(self, item: Item, out: Path) -> Any:
            await anyio.sleep(0.02)
            return self.act(item, out)

    does = {f"v{n}@one": ["throttled", 1, 0.01] for n in (0, 6)}
    pipeline = line(toy("a", base=Slow, does=does))
    settings = ["stages.a.patience=0.1", "limits.concurrency=1"]
    report = run(pipeline, fast, [f"v{n}@one" for n in range(12)], *settings)
    assert report.items["done"] == 12


def test_what_is_refused_alone_ends_soon_and_what_is_refused_like_all_does_not(
    fast: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "FIRST_PAUSE", 0.05)
    monkeypatch.setattr(retry, "LONE_PATIENCE", 0.15)
    gone: toys.Does = {"gone@one": ["throttled", -1, math.nan]}
    pipeline = line(toy("a", base=GatedToy, does=gone, item_failures={"throttled"}))
    served = [f"v{n}@one" for n in range(3)]
    report = run_within(60, pipeline, fast, [*served, "gone@one"], "limits.failure_budget=0.1")
    assert (report.outcome, report.items["done"], report.items["failed"]) == ("done", 3, 1)
    assert executions(fast)["a", item_id("gone@one")] == 3
    [(message,)] = query(fast, "SELECT reason FROM stages WHERE outcome = 'failed'")
    assert message == "slow down; others there went well, so it is not waited for any longer"

    busy: toys.Does = {"busy@two": ["throttled", 4, math.nan]}
    pipeline = line(toy("a", base=GatedToy, does=busy, item_failures={"throttled"}))
    assert run_within(60, pipeline, fast, [*served, *busy]).items["done"] == 4


def test_what_is_held_back_is_told_while_the_run_goes_on_and_after_it(fast: Path) -> None:
    does: toys.Does = {"a@one": ["throttled", -1, 1800], "b@one": ["throttled", -1, 1800]}
    told: list[Hold] = []

    def prepare(run: Run) -> list[Any]:
        async def look() -> None:
            await toys.until(lambda: sum(held.items for held in run.snapshot()[0].holds) == 3)
            await toys.until(lambda: run.snapshot()[0].done == 1)
            told.extend(run.snapshot()[0].holds)
            with LedgerReader(fast) as reader:
                await toys.until(lambda: reader.holds())
            run.drain("interrupted", "enough")

        return [look]

    pipeline = line(toy("a", base=GatedToy, does=does))
    settings = ["stages.a.workers=2", "limits.concurrency=2"]
    report = run(pipeline, fast, [*does, "c@one", "free"], *settings, prepare=prepare)
    assert report.items["done"] == 1
    assert [(held.key, held.reason, held.items) for held in told] == [("one", "slow down", 3)]
    assert 1700 < told[0].seconds <= 1800
    [after] = report.holds
    assert (after.key, after.reason) == ("one", "slow down")
    assert 1700 < after.seconds <= 1800
    assert 'id="held"' in render_file(pipeline, fast, running=True)


def test_a_refusal_without_a_gate_holds_back_its_item_alone(fast: Path) -> None:
    does = {"bad": ["throttled", 2, 0.01], "never": ["throttled", -1, 0.0]}
    pipeline = line(toy("a", does=does))
    report = run_within(30, pipeline, fast, ["bad", "never", "v"], "stages.a.patience=0.1")
    assert (report.items["done"], report.items["failed"]) == (2, 1)


@pytest.mark.parametrize("after", [math.nan, math.inf, -1.0])
def test_a_wait_that_no_clock_knows_holds_back_its_host_alone(
    fast: Path, monkeypatch: pytest.MonkeyPatch, after: float
) -> None:
    monkeypatch.setattr(limits, "FIRST_PAUSE", 0.02)
    does = {"gated@one": ["throttled", 1, after], "free": ["throttled", 1, after]}
    pipeline = line(toy("a", base=GatedToy, does=does))
    assert run_within(30, pipeline, fast, [*does, "v@two"]).items["done"] == 3


def test_a_gate_that_cannot_be_told_fails_the_item_alone(fast: Path) -> None:
    class Unsure(Toy):
        def gate(self, item: Item) -> str | None:
            if item.source == "bad":
                raise ValueError("not a URL")
            return None

    report = run(line(toy("a", base=Unsure)), fast, ["v1", "bad", "v2"])
    assert report.items["done"] == 2
    assert outcomes(fast)["a", item_id("bad")] == ("failed", "unexpected")


def test_a_host_that_is_held_back_does_not_hold_back_the_source(fast: Path) -> None:
    events: list[Event] = []
    does = {"v0@one": ["throttled", 1, 0.3]}
    sources = [f"v{n}@one" for n in range(60)] + ["other"]
    pipeline = line(toy("a", base=GatedLoopToy, does=does))
    run(pipeline, fast, sources, "stages.a.queue=2", listen=events.append)
    assert order(events)[0] == item_id("other")


# Batches


class Batched(Toy):
    batches: list[list[str]]

    def process_batch(self, items: list[Item], outs: list[Path]) -> list[Ending | None]:
        self.batches.append([item.source for item in items])
        if any("poison" in item.source for item in items):
            raise ValueError("one of them is poison")
        return super().process_batch(items, outs)

    def act(self, item: Item, out: Path) -> Any:
        if item.source.startswith("poison"):
            raise ValueError("it is me")
        while item.source == "first" and len(list(self.workdir.glob("items/*/a"))) < 50:
            time.sleep(0.001)  # the others gather meanwhile
        return super().act(item, out)


def batched(does: toys.Does | None = None) -> tuple[list[list[str]], Step]:
    batches: list[list[str]] = []
    return batches, toy("b", "a", base=Batched, does=does, batches=batches)


class Together(LoopToy):
    """Lets all items go at once, so that they wait together for what is next."""

    many: int
    seen: set[str]

    async def process(self, item: Item, out: Path) -> Any:
        self.seen.add(item.id)
        await until(lambda: len(self.seen) >= self.many)
        return self.act(item, out)


def held(many: int) -> Step:
    return toy("a", base=Together, many=many, seen=set())


def test_what_waits_is_handed_over_together_and_answered_one_by_one(fast: Path) -> None:
    does = {"v1": ["drop"], "v2": ["permanent"], "v3": ["transient", 1]}
    batches, step = batched(does)
    sources = [f"v{n}" for n in range(9)]
    wide = ["stages.a.workers=9", "stages.b.queue=9", "stages.b.batch=4"]
    report = run(line(held(9), step), fast, sources, *wide)
    assert (report.items["done"], report.items["dropped"], report.items["failed"]) == (7, 1, 1)
    assert max(len(batch) for batch in batches) <= 4
    assert sum(len(batch) for batch in batches) >= 6
    assert len(executions(fast)) == 18


def test_a_batch_that_fails_is_blamed_on_the_items_that_fail_alone(fast: Path) -> None:
    again = [f"again {n}" for n in range(20)]
    batches, step = batched({source: ["transient", 1] for source in again})
    poison = [f"poison {n}" for n in range(9)]
    others = again + [f"v{n}" for n in range(20)]
    mixed = [source for pair in zip(poison, others, strict=False) for source in pair]
    sources = ["first", *mixed, *others[9:]]
    wide = ["stages.a.queue=50", "stages.b.queue=50", "stages.b.batch=4", "limits.backoff=0.001"]
    report = run(line(toy("a"), step), fast, sources, *wide)
    assert (report.items["done"], report.items["failed"]) == (41, 9)
    assert {id_ for (_, id_), (o, _) in outcomes(fast).items() if o == "failed"} == {
        item_id(source) for source in poison
    }
    together = Counter(source for batch in batches for source in batch)
    assert set(together) & set(poison)
    assert all(together[source] <= 1 for source in poison), "after that each is alone"


def test_a_batch_that_is_turned_away_waits_and_is_not_split(fast: Path) -> None:
    class Busy(Batched):
        def process_batch(self, items: list[Item], outs: list[Path]) -> list[Ending | None]:
            first = not self.batches
            answers = super().process_batch(items, outs)
            if first:
                raise Throttled("slow down", after=0.01)
            return answers

    batches: list[list[str]] = []
    step = toy("b", "a", base=Busy, batches=batches)
    wide = ["stages.a.workers=6", "stages.b.queue=6", "stages.b.batch=6", "stages.b.attempts=1"]
    report = run(line(held(6), step), fast, [f"v{n}" for n in range(6)], *wide)
    assert report.items["done"] == 6


def test_answers_that_do_not_fit_are_a_bug_of_the_stage(fast: Path) -> None:
    class Short(Batched):
        def process_batch(self, items: list[Item], outs: list[Path]) -> list[Ending | None]:
            return []

    wide = ["stages.a.workers=3", "stages.b.queue=3", "stages.b.batch=3", "stages.b.attempts=1"]
    step = toy("b", "a", base=Short, batches=[])
    report = run(line(held(3), step), fast, ["v1", "v2", "v3"], *wide)
    assert report.items["done"] == 3, "alone they pass"


# Workers


class Opened(Toy):
    opens: list[int]

    def open(self) -> None:
        self.opens.append(threading.get_ident())

    def act(self, item: Item, out: Path) -> Any:
        assert self.opens[-1] == threading.get_ident() or len(self.opens) > 1
        return super().act(item, out)


def test_the_one_worker_of_a_stage_that_owns_the_gpu_opens_once(fast: Path) -> None:
    opens: list[int] = []
    pipeline = line(toy("a"), toy("b", "a", base=Opened, opens=opens, max_workers=1))
    report = run(pipeline, fast, [f"v{n}" for n in range(20)], "stages.a.workers=4")
    assert report.items["done"] == 20
    assert len(opens) == 1


def test_more_workers_than_a_stage_can_use_are_refused(fast: Path) -> None:
    refused: list[str] = []

    def prepare(run: Run) -> list[Any]:
        for workers in (2, 0):
            with pytest.raises(ValueError, match="stage 'a' takes 1 to 1 workers"):
                run.pools["a"].resize(workers)
            refused.append(run.pools["a"].name)
        return []

    run(line(toy("a", max_workers=1)), fast, ["v"], prepare=prepare)
    assert refused == ["a", "a"]


class Steady(LoopToy):
    """Everyone at work waits until the test lets them go."""

    at_work = 0

    async def process(self, item: Item, out: Path) -> Any:
        type(self).at_work += 1
        try:
            await anyio.sleep(0.003)
        finally:
            type(self).at_work -= 1
        return self.act(item, out)


def test_pools_are_resized_while_they_work(fast: Path) -> None:
    step = toy("a", base=Steady)
    stage: Any = step.stage
    seen: list[int] = []
    events: list[Event] = []

    def prepare(run: Run) -> list[Any]:
        pool = run.pools["a"]

        async def resize() -> None:
            for workers in (5, 2, 4, 1, 3):
                pool.resize(workers)
                with anyio.fail_after(10):
                    await until(lambda n=workers: pool.statistics().workers == n >= stage.at_work)
                    looks = most = 0
                    while looks < 20 or most < workers:
                        looks, most = looks + 1, max(most, stage.at_work)
                        assert stage.at_work <= workers
                        assert pool.statistics().workers == workers
                        await anyio.sleep(0.001)
                seen.append(workers)
            run.drain("interrupted", "seen enough")

        return [resize]

    source = (f"v{n}" for n in range(10**6))
    report = run(line(step), fast, source, prepare=prepare, listen=events.append)
    assert report.outcome == "interrupted"
    assert seen == [5, 2, 4, 1, 3]
    resized = [(e.before, e.after) for e in events if isinstance(e, PoolResized)]
    assert resized == [(1, 5), (5, 2), (2, 4), (4, 1), (1, 3)]


def test_threads_that_are_let_go_take_nobody_with_them(fast: Path) -> None:
    """A thread takes a moment to close; those at work meanwhile are not too many."""

    class Slow(Toy):
        def act(self, item: Item, out: Path) -> Any:
            time.sleep(0.002)
            return super().act(item, out)

        def close(self) -> None:
            time.sleep(0.05)

    def prepare(run: Run) -> list[Any]:
        pool = run.pools["a"]

        async def resize() -> None:
            await until(lambda: pool.statistics().workers == 6)
            pool.resize(4)
            fewest = 6
            for _ in range(60):
                fewest = min(fewest, pool.statistics().workers)
                await anyio.sleep(0.002)
            assert fewest == 4
            run.drain("interrupted", "seen enough")

        return [resize]

    source = (f"v{n}" for n in range(10**6))
    report = run(line(toy("a", base=Slow)), fast, source, "stages.a.workers=6", prepare=prepare)
    assert report.outcome == "interrupted"
    assert engine_threads() == []


def steps_of(base: type[Stage]) -> Step:
    return Step(base, "source")


@pytest.mark.parametrize("placement", ["thread", "process"])
def test_a_worker_that_hangs_is_replaced_and_the_run_goes_on(
    tmp_path: Path, placement: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.workers.thread.GRACE", 0.1)
    events: list[Event] = []
    sources = ["done 1", "hang release", "done 2", "done 3"]
    calm = [f"stages.obedient.placement={placement}", "stages.obedient.timeout=1"]
    calm.append("stages.obedient.attempts=1")
    report = run(line(steps_of(Obedient)), tmp_path, sources, *calm, listen=events.append)
    (tmp_path / "release").touch()
    assert (report.items["done"], report.items["failed"]) == (3, 1)
    assert outcomes(tmp_path)["obedient", item_id("hang release")] == ("failed", "timeout")
    assert sum(isinstance(event, WorkerReplaced) for event in events) == 1
    assert toys.leftovers(tmp_path) == []


def test_a_worker_process_that_dies_costs_its_item_an_attempt(tmp_path: Path) -> None:
    events: list[Event] = []
    sources = ["done 1", "kill SIGSEGV", "done 2", "throttled", "drop"]
    settings = ["stages.obedient.placement=process", "stages.obedient.attempts=2"]
    settings.append("stages.obedient.patience=0")
    report = run(line(steps_of(Obedient)), tmp_path, sources, *settings, listen=events.append)
    assert (report.items["done"], report.items["dropped"], report.items["failed"]) == (2, 1, 2)
    assert outcomes(tmp_path)["obedient", item_id("kill SIGSEGV")] == ("failed", "crashed")
    assert outcomes(tmp_path)["obedient", item_id("throttled")] == ("failed", "throttled")
    assert outcomes(tmp_path)["obedient", item_id("drop")] == ("dropped", "empty")
    assert sum(isinstance(event, WorkerReplaced) for event in events) == 2


@pytest.mark.parametrize("kind", ["thread", "process", "loop"])
@pytest.mark.parametrize("broken", ["told", "bug", "exit"])
def test_a_stage_that_cannot_start_stops_the_run_with_one_line(
    tmp_path: Path, kind: str, broken: str
) -> None:
    stage = LoopObedient if kind == "loop" else Obedient
    settings = [f"stages.{stage.name}.broken={broken}", "stages.a.workers=2"]
    if kind == "process":
        settings.append("stages.obedient.placement=process")
    pipeline = line(toy("a"), Step(stage, "a"))
    with pytest.raises(PenstockError) as refusal:
        run_within(30, pipeline, tmp_path, (f"v{n}" for n in range(10**6)), *settings)
    assert "\n" not in str(refusal.value)
    if broken == "told":
        assert str(refusal.value) == "there is no such model; give another"
    else:
        assert isinstance(refusal.value, StageOpenError)
        assert str(refusal.value).startswith(f"stage '{stage.name}' could not start: ")
    assert engine_threads() == []


@pytest.mark.alone
def test_what_a_pool_measures_adds_up(fast: Path) -> None:
    class Slow(LoopToy):
        async def process(self, item: Item, out: Path) -> Any:
            await anyio.sleep(0.05)
            return self.act(item, out)

    pipeline = line(toy("a", base=LoopToy), toy("b", "a", base=Slow), toy("c", "b", base=LoopToy))
    report = run(pipeline, fast, [f"v{n}" for n in range(20)], "stages.b.queue=1")
    a, b, c = (report.pools[name] for name in "abc")
    for pool in (a, b, c):
        assert pool.busy + pool.starved + pool.blocked <= pool.worker_seconds
        assert pool.attempts == pool.done == 20
        assert pool.workers == 1, "also once they have gone home"
    assert b.busy >= 20 * 0.05
    assert a.blocked > a.busy, "the one before the slow one waits for room"
    assert c.starved > c.busy, "the one after it waits for items"
