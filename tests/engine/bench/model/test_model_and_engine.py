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

from engine import SOURCE, Drop, Item, Permanent, Pipeline, Stage, Step, Transient
from engine.bench.model.pool import ModelEntry, ModelItem
from engine.bench.model.recorded import RecordedItem, Recording, Service, Visit
from engine.bench.model.run import ModelRun
from engine.config.limits import KeyLimits
from engine.config.setting_text import toml_value
from engine.flow.run import opened_run
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

BRANCHES: Sequence[str] = ["", "bc", "ab"]
"""The stages of each of GRAPHS that have another branch beside them."""

GRAPHS: Sequence[Mapping[str, Sequence[str]]] = [
    tandem("a", "b", "c"),
    {"a": (), "b": ("a",), "c": ("a",), "d": ("b", "c")},
    {"a": (), "b": (), "c": ("a", "b")},
]


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
def cases(draw: st.DrawFn) -> Case:
    graph, branches = draw(st.sampled_from([*zip(GRAPHS, BRANCHES, strict=True)]))
    items = [f"i{number}" for number in range(draw(st.integers(1, 10)))]
    chance = random.Random(draw(st.integers(0, 2**32)))
    works = {}
    for item in items:
        for stage in graph:
            tries = draw(st.sampled_from([1, 1, 1, 2, 3]))
            ending = draw(st.sampled_from(["done"] * 8 + ["dropped", "failed"]))
            if stage in branches:
                ending = "done"  # the model takes nothing back from other branches
            scale = draw(st.sampled_from([0.003, 0.01, 0.1]))
            seconds = tuple(scale * chance.uniform(0.1, 1) for _ in range(tries))
            works[item, stage] = Work(seconds, ending)
    gated = draw(st.sampled_from(["", "", *graph]))
    workers = {stage: draw(st.integers(1, 4)) for stage in graph}
    rate = 1 / chance.uniform(0.01, 0.05) if gated and draw(st.booleans()) else 0.0
    hosts = "g" if rate else "gh"  # two that begin together would open together
    keys = {(item, gated): draw(st.sampled_from(hosts)) for item in items} if gated else {}
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
    )


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

    async def process(self, item: Item, out: Path) -> None:
        key = (item.source, self.name)
        work, tried = self.case.works[key], self.tried.get(key, 0)
        self.tried[key] = tried + 1
        began = anyio.current_time()
        await anyio.sleep(work.seconds[tried])
        self.attempts.append(Attempt(*key, began, anyio.current_time()))
        if tried + 1 < len(work.seconds):
            raise Transient("once more")
        if work.ending == "dropped":
            raise Drop("that is all")
        if work.ending == "failed":
            raise Permanent("that is all")

    def gate(self, item: Item) -> str | None:
        return self.case.keys.get((item.source, self.name))


def by_the_engine(case: Case, workdir: Path) -> list[Attempt]:
    noted: list[Attempt] = []
    about = {"case": case, "attempts": noted, "tried": {}}
    steps = [
        Step(type(name.upper(), (Recorded,), {**about, "name": name}), list(before) or SOURCE)
        for name, before in case.graph.items()
    ]
    pipeline = Pipeline("replayed", "Takes as long as it is told to.", steps)
    given = [f"stages.{name}.workers={count}" for name, count in case.workers.items()]
    given += [f"stages.{name}.queue={count}" for name, count in case.queues.items()]
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
    items = []
    for item in case.items:
        visits: dict[str, Visit] = {}
        for stage, before in case.graph.items():
            if all(name in visits and visits[name].outcome == "done" for name in before):
                work = case.works[item, stage]
                services = [
                    Service(seconds, pause=BACKOFF * 2 ** (number - 1) if number else 0.0)
                    for number, seconds in enumerate(work.seconds)
                ]
                outcome: Any = work.ending
                visits[stage] = Visit(services, outcome, case.keys.get((item, stage)))
        items.append(RecordedItem(item, visits))
    capacities = Capacities(case.rate, case.concurrency, case.own)
    return recording(case.graph, items, capacities=capacities)


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
    """Attempts of the engine's and of the model's that are not the same, in their order."""
    with toys.fast_folder() as workdir:
        (workdir / "items").mkdir()
        real = sorted(by_the_engine(case, workdir), key=lambda one: one.ended)
    model = sorted(by_the_model(case), key=lambda one: one.ended)
    assert len(real) == len(model)
    return [
        (one, other)
        for one, other in zip(real, model, strict=True)
        if one[:2] != other[:2] or one[2:] != pytest.approx(other[2:], abs=CLOSE)
    ]


@given(cases())
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_every_attempt_is_made_when_the_engine_makes_it(case: Case) -> None:
    assert differences(case) == []
