"""The model of the engine against the engine: the same attempts at the same times.

A whole run, with its ledger and its folders, is done on a clock that jumps, and the same work is
replayed on the model. What the two share (`InboxState`, `GateState`) cannot differ; this holds what
is written twice, because one waits and the other plans events: who is given to whom, when a worker
is free again, joins, retries, lines for a gate. Times are all different, so that what happens at
one moment follows from one event.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, TypeVar

import anyio
import anyio.to_thread
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine import SOURCE, Drop, Item, Parts, Permanent, Pipeline, Stage, Step, Transient
from engine.bench.model.journey import ModelItem
from engine.bench.model.pool import ModelEntry
from engine.bench.model.recorded import RecordedItem, Recording, Service, Visit
from engine.bench.model.run import ModelRun
from engine.config.limits import KeyLimits
from engine.config.setting_text import toml_value
from engine.flow.opening import opened_run
from engine.gates.capacity import Capacities
from engine.ledger.group_commit import GroupCommit
from engine.telemetry.events import Events
from tests.engine import toys
from tests.engine.bench.recordings import recording, tandem
from tests.virtual_time import run_in_virtual_time

T = TypeVar("T")

BACKOFF = 0.037
"""Seconds before the second attempt; the run's own chance is held at its middle."""

TICK = 1e-9
"""Seconds that pass where nothing happens; far less than lies between two events of a case."""

BETWEEN = 1e-6
"""Seconds between two items of the source. An item comes back from a gate in a few steps of the
engine's, and in none of the model's: the source must not come in between."""

CLOSE = 1e-5

GRAPHS: Sequence[Mapping[str, Sequence[str]]] = [
    tandem("a", "b", "c"),
    {"a": (), "b": ("a",), "c": ("a",), "d": ("b", "c")},
    {"a": (), "b": (), "c": ("a", "b")},
]

IN_PARTS: Sequence[tuple[Mapping[str, Sequence[str]], Mapping[str, str]]] = [
    (tandem("a", "s", "f", "g"), {"f": "s"}),
    (tandem("s", "f", "h", "g"), {"f": "s", "h": "s"}),
    ({"a": (), "s": ("a",), "b": ("a",), "f": ("s",), "g": ("f", "b")}, {"f": "s"}),
    ({"a": (), "s": ("a",), "b": ("a",), "f": ("s", "b"), "g": ("f",)}, {"f": "s"}),
    (
        {"s": (), "f": ("s",), "b": ("f",), "h": ("f", "b"), "g": ("h",)},
        {"f": "s", "h": "s"},
    ),
    (
        {"s": (), "t": ("s",), "f": ("t",), "h": ("f",), "g": ("h",)},
        {"t": "s", "f": "t", "h": "s"},
    ),
]
"""Graphs with the level of each stage that stands at parts: s, and below it t, make them."""

SPLITS = "st"


class Work(NamedTuple):
    """What one item comes to in one stage: the seconds of its attempts, and how the last ends."""

    seconds: tuple[float, ...]
    ending: str = "done"


@dataclass(frozen=True)
class Case:
    """A pipeline at work: `works` by item and stage. `keys` name the gate of each item's visits to
    a stage, where there are any."""

    graph: Mapping[str, Sequence[str]]
    works: Mapping[tuple[str, str], Work]
    items: Sequence[str]
    workers: Mapping[str, int]
    queues: Mapping[str, int]
    keys: Mapping[tuple[str, str], str]
    rate: float = 0.0
    concurrency: int = 0
    own: Mapping[str, KeyLimits] = field(default_factory=dict)
    resizes: Sequence["Resize"] = ()
    each: Mapping[str, str] = field(default_factory=dict)
    parts: Mapping[str, int] = field(default_factory=dict)
    """Number of parts of each item, and part, that is split. A part's name is its item's, with its
    position behind it."""
    most_failed: float = 0


class Resize(NamedTuple):
    """After so many more seconds the stage is to have so many workers."""

    after: float
    stage: str
    workers: int


class Attempt(NamedTuple):
    item: str
    stage: str
    began: float
    ended: float


@st.composite
def cases(draw: st.DrawFn, *, in_parts: bool = False) -> Case:
    graph, each = (
        draw(st.sampled_from(IN_PARTS)) if in_parts else (draw(st.sampled_from(GRAPHS)), {})
    )
    items = [f"i{number}" for number in range(draw(st.integers(1, 4 if in_parts else 10)))]
    chance = random.Random(draw(st.integers(0, 2**32)))
    named, parts = list(items), {}
    for name in named:
        if in_parts and name.count("/") < len(set(each.values())):
            parts[name] = draw(st.integers(0, 5))
            named += [f"{name}/{position}" for position in range(parts[name])]
    works = {}
    for name in named:
        for stage in graph:
            if len(path_of(stage, each)) != name.count("/"):
                continue
            tries = draw(st.sampled_from([1, 1, 1, 2, 3]))
            good = 8 if "/" not in name else 20
            ending = draw(st.sampled_from(["done"] * good + ["dropped", "failed"]))
            scale = draw(st.sampled_from([0.003, 0.01, 0.1]))
            seconds = tuple(scale * chance.uniform(0.1, 1) for _ in range(tries))
            works[name, stage] = Work(seconds, ending)
    gated = draw(st.sampled_from(["", "", *(stage for stage in graph if stage not in SPLITS)]))
    workers = {stage: draw(st.integers(1, 4)) for stage in graph}
    rate = 1 / chance.uniform(0.01, 0.05) if gated and draw(st.booleans()) else 0.0
    hosts = "g" if rate else "gh"  # two that begin together would open together
    visiting = [name for name, stage in works if stage == gated]
    keys = {(name, gated): draw(st.sampled_from(hosts)) for name in visiting}
    return Case(
        graph,
        works,
        items,
        workers=workers,
        queues={stage: draw(st.integers(1, 3)) for stage in graph},
        keys=keys,
        rate=rate,
        resizes=list(resizes_of(workers, draw(st.integers(0, 3)), chance)),
        concurrency=draw(st.integers(0, 2)) if keys else 0,
        own={"h": KeyLimits(concurrency=draw(st.integers(0, 3)))} if draw(st.booleans()) else {},
        each=each,
        parts=parts,
        most_failed=draw(st.sampled_from([0, 1, 0.4])),
    )


def path_of(stage: str, each: Mapping[str, str]) -> list[str]:
    """The splitting stages that the stage's level lies below, from the innermost on."""
    return [each[stage], *path_of(each[stage], each)] if stage in each else []


def resizes_of(workers: Mapping[str, int], many: int, chance: random.Random) -> Iterator[Resize]:
    """Some go, or one more comes: of several it could not be told who is the first to take."""
    now = dict(workers)
    for _ in range(many):
        stage = chance.choice(list(now))
        now[stage] = chance.choice([now[stage] + 1, chance.randint(1, now[stage])])
        yield Resize(chance.uniform(0.001, 0.1), stage, now[stage])


# The engine


class Recorded(Stage):
    """Takes as long as the case says, and notes when."""

    case: ClassVar[Case]
    attempts: ClassVar[list[Attempt]]
    tried: ClassVar[dict[tuple[str, str], int]]

    def next_try(self, item: Item) -> tuple[Work, int]:
        key = (name_of(item), self.name)
        tried = self.tried.get(key, 0)
        self.tried[key] = tried + 1
        return self.case.works[key], tried

    @contextmanager
    def noted(self, item: Item) -> Iterator[None]:
        began = anyio.current_time()
        try:
            yield
        finally:
            ended = anyio.current_time()
            self.attempts.append(Attempt(name_of(item), self.name, began, ended))

    def gate(self, item: Item) -> str | None:
        return self.case.keys.get((name_of(item), self.name))

    @staticmethod
    def end(work: Work, tried: int) -> None:
        if tried + 1 < len(work.seconds):
            raise Transient("once more")
        if work.ending == "dropped":
            raise Drop("that is all")
        if work.ending == "failed":
            raise Permanent("that is all")


class RecordedWork(Recorded):
    async def process(self, item: Item, out: Path) -> None:
        work, tried = self.next_try(item)
        with self.noted(item):
            await anyio.sleep(work.seconds[tried])
        self.end(work, tried)


class RecordedSplit(Recorded):
    """Hands over its parts evenly over the seconds of all its attempts."""

    gate = Stage.gate

    async def split(self, item: Item, out: Path, parts: Parts) -> None:
        work, tried = self.next_try(item)
        many, total = self.case.parts[name_of(item)], sum(work.seconds)
        passed, is_last = sum(work.seconds[:tried]), tried + 1 == len(work.seconds)
        end = passed + work.seconds[tried]
        with self.noted(item):
            for position in range(many):
                due = total * (position + 1) / many
                if parts.reuse() or (due > end and not is_last):
                    continue
                await anyio.sleep(min(due, end) - passed)
                passed = min(due, end)
                async with parts.make():
                    pass
            await anyio.sleep(max(0.0, end - passed))
        self.end(work, tried)


def name_of(item: Item) -> str:
    return f"{name_of(item.parent)}/{item.position}" if item.parent is not None else item.source


def by_the_engine(case: Case, workdir: Path) -> list[Attempt]:
    noted: list[Attempt] = []
    about = {"case": case, "attempts": noted, "tried": {}}
    steps = []
    for name, before in case.graph.items():
        base = RecordedSplit if name in case.each.values() else RecordedWork
        stage = type(name.upper(), (base,), {**about, "name": name})
        steps.append(Step(stage, list(before) or SOURCE, each=case.each.get(name, "")))
    pipeline = Pipeline("replayed", "Takes as long as it is told to.", steps)
    given = [f"stages.{name}.workers={count}" for name, count in case.workers.items()]
    given += [f"stages.{name}.queue={count}" for name, count in case.queues.items()]
    given += [f"stages.{name}.most_failed={case.most_failed}" for name in {*case.each.values()}]
    given += [f"limits.backoff={BACKOFF}", f"limits.rate={case.rate}"]
    given += [f"limits.concurrency={case.concurrency}", "limits.sync=false"]
    own = {key: limits.model_dump(exclude_none=True) for key, limits in case.own.items()}
    given.append(f"limits.keys={toml_value(own)}")
    config = toys.configured(pipeline, *given)

    async def source() -> AsyncIterator[str]:
        for item in case.items:
            await anyio.sleep(BETWEEN)
            yield item

    async def main() -> None:
        given: Any = source()
        async with opened_run(pipeline, config, workdir, given, Events()) as run:

            async def resize() -> None:
                for after, stage, workers in case.resizes:
                    await anyio.sleep(after)
                    run.pools[stage].resize(workers)

            await run.execute([resize])

    with without_threads():
        run_in_virtual_time(main, TICK)
    return noted


@contextmanager
def without_threads() -> Iterator[None]:
    """What a run does in threads it does at once: to the clock that jumps they would take ages."""

    async def at_once(function: Callable[..., T], *arguments: Any, **options: Any) -> T:
        return function(*arguments)

    def write(commit: GroupCommit, work: Callable[[Any], T]) -> T:
        commit.ledger.begin()
        value = work(commit.ledger)
        commit.ledger.commit()
        return value

    async def write_and_wait(commit: GroupCommit, work: Callable[[Any], T]) -> T:
        return write(commit, work)

    def at_once_after(commit: GroupCommit, then: Callable[[], None]) -> None:
        asyncio.get_running_loop().call_soon(then)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(anyio.to_thread, "run_sync", at_once)
        patch.setattr(GroupCommit, "do", write_and_wait)
        patch.setattr(GroupCommit, "note", write)
        patch.setattr(GroupCommit, "after", at_once_after)
        patch.setattr(random, "random", lambda: 0.5)
        yield


# The model


def recorded(case: Case) -> Recording:
    items = [recorded_item(case, item) for item in case.items]
    capacities = Capacities(case.rate, case.concurrency, case.own)
    most_failed = dict.fromkeys(case.each.values(), case.most_failed)
    return recording(
        case.graph, items, capacities=capacities, each=case.each, most_failed=most_failed
    )


def recorded_item(
    case: Case, name: str, level: str = "", above: Mapping[str, Visit] | None = None
) -> RecordedItem:
    """The item, or part, with the visits that it may come to if nothing else fails; `above` has
    those of what it is a part of."""
    above = above or {}
    known: dict[str, Visit] = dict(above)
    visits: dict[str, Visit] = {}
    for stage, before in case.graph.items():
        needed = [other for other in before if other not in path_of(stage, case.each)]
        needed = [case.each[other] if is_below(case, other, level) else other for other in needed]
        reached = all(one in known and (one in above or is_done(known[one])) for one in needed)
        if case.each.get(stage, "") != level or not reached:
            continue
        work = case.works[name, stage]
        services = [
            Service(seconds, pause=BACKOFF * 2 ** (number - 1) if number else 0.0)
            for number, seconds in enumerate(work.seconds)
        ]
        outcome: Any = work.ending
        visits[stage] = known[stage] = Visit(services, outcome, case.keys.get((name, stage)))
    parts = {
        split: [
            recorded_item(case, f"{name}/{position}", split, known)
            for position in range(case.parts[name])
        ]
        for split in visits
        if split in case.each.values()
    }
    return RecordedItem(name, visits, parts=parts)


def is_done(visit: Visit) -> bool:
    return visit.outcome == "done"


def is_below(case: Case, stage: str, level: str) -> bool:
    """Whether the stage stands at the parts of what stands at `level`."""
    each = case.each.get(stage)
    return each is not None and case.each.get(each, "") == level


def by_the_model(case: Case) -> list[Attempt]:
    noted: list[Attempt] = []
    made, stages = recorded(case), list(case.graph)

    def listen(entry: ModelEntry, now: float) -> None:
        noted.append(Attempt(entry.journey.plan.item, stages[entry.stage], entry.since, now))

    run = ModelRun(made, case.workers, case.queues, made.cores, {}, listen=listen)
    run.pause = BETWEEN
    run.begin(ModelItem(item, run.numbers) for item in made.items)
    for after, stage, workers in case.resizes:
        run.advance(run.now + after)
        run.resize(stage, workers)
    run.advance()
    return noted


def differences(case: Case) -> list[tuple[Attempt | None, Attempt | None]]:
    """Attempts of the engine's and of the model's that are not the same, by item and stage."""
    with toys.fast_folder() as workdir:
        (workdir / "items").mkdir()
        real = sorted(by_the_engine(case, workdir))
    model = sorted(by_the_model(case))
    assert len(real) == len(model)
    return [
        (one, other)
        for one, other in zip(real, model, strict=True)
        if one[:2] != other[:2] or one[2:] != pytest.approx(other[2:], abs=CLOSE)
    ]


@given(cases())
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_every_attempt_is_made_when_the_engine_makes_it(case: Case) -> None:
    assert differences(case) == []


@given(cases(in_parts=True))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_every_attempt_at_a_part_is_made_when_the_engine_makes_it(case: Case) -> None:
    assert differences(case) == []


@pytest.mark.slow
@pytest.mark.timeout(600)
@given(cases() | cases(in_parts=True))
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_many_attempts_are_made_when_the_engine_makes_them(case: Case) -> None:
    assert differences(case) == []
