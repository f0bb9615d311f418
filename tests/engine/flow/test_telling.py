"""Sources are told how their jobs ended, and listeners how items did: after the ledger has it."""

import sqlite3
import threading
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine import Item, Job, Source, StopRun, UsageError
from engine.contract.item import item_id
from engine.flow.opening import opened_run, run_pipeline
from engine.flow.report import RunReport
from engine.flow.run import Run
from engine.ledger.schema import FILE
from engine.ledger.writer import Ledger
from engine.sources.source import JoinedSources, ListSource
from engine.telemetry.events import Event, Events, ItemEnded, RunEnded, Stopping
from tests.engine import toys
from tests.engine.toys import Does, Toy, configured, engine_threads, line, run, run_within, toy


class Told(Source):
    """Gives these; remembers what it is told, what the ledger said then, and in which thread."""

    def __init__(self, given: Iterable[Any], workdir: Path | None = None) -> None:
        self.given = given
        self.workdir = workdir
        self.told: list[tuple[str, str]] = []
        self.ledger: list[tuple[str, str]] = []
        self.threads: set[str] = set()
        self.read = 0

    def items(self) -> Iterator[Job]:
        for one in self.given:
            self.read += 1
            yield Job.of(one)

    def ended(self, job: Job, outcome: str) -> None:
        self._hear(job, outcome)

    def lost(self, job: Job) -> None:
        self._hear(job, "lost")

    def _hear(self, job: Job, outcome: str) -> None:
        self.told.append((job.source, outcome))
        self.threads.add(threading.current_thread().name)
        if self.workdir is not None:
            known = outcome != "lost"
            found = in_ledger(self.workdir, item_id(job.source)) if known else "lost"
            self.ledger.append((job.source, found))


def in_ledger(workdir: Path, item: str) -> str:
    """How the item ended, as another connection has it now."""
    with closing(sqlite3.connect(workdir / FILE)) as db:
        row = db.execute("SELECT outcome FROM items WHERE id = ?", (item,)).fetchone()
    return str(row[0])


def chain(does: Does | None = None, base: type[Toy] = Toy) -> Any:
    return line(toy("a", does=does, base=base), toy("b", "a"))


LISTS: Does = {
    "channel": ["expand", ["playlist", "v1"]],
    "playlist": ["expand", ["v2", "v3"]],
    "bad": ["permanent"],
    "dull": ["drop"],
}


def test_a_source_is_told_once_the_ledger_has_it(fast: Path) -> None:
    source = Told(["v", "bad", "dull", "channel", ("own", "w")])
    run(chain(LISTS), fast, source)
    expected = {"v": "done", "bad": "failed", "dull": "dropped", "channel": "done", "w": "done"}
    assert sorted(source.told) == sorted(expected.items())
    assert source.threads == {"penstock-source-told"}
    assert engine_threads() == []


def test_what_the_ledger_says_when_a_source_is_told(fast: Path) -> None:
    source = Told([f"v{n}" for n in range(50)] + ["bad", "dull", "channel"], fast)
    run(chain(LISTS), fast, source)
    assert source.ledger == source.told
    assert len(source.told) == 53


def test_what_earlier_runs_had_done_is_told_at_once(fast: Path) -> None:
    run(chain(LISTS), fast, ["v", "bad", "channel"])
    source = Told(["v", "bad", "channel", "new"], fast)
    report = run(chain(LISTS), fast, source)
    assert sorted(source.told) == [
        ("bad", "failed"), ("channel", "done"), ("new", "done"), ("v", "done"),
    ]  # fmt: skip
    assert report.items["reused"] == 7


def test_jobs_that_name_one_item_are_each_told(fast: Path) -> None:
    same = Job("v", handle=3)
    source = Told([same, "w", same, Job("v", handle=4), "channel", "v1", "v2"])
    run(chain(LISTS), fast, source)
    assert sorted(source.told) == [
        (name, "done") for name in ("channel", "v", "v", "v", "v1", "v2", "w")
    ]
    late = Told(lazily(source_ended := threading.Event(), ["v"], ["v"]))
    run(chain(), fast, Hears(late, source_ended))
    assert late.told == [("v", "done"), ("v", "done")], "also once the item has ended"


def lazily(event: threading.Event, *parts: Sequence[Any]) -> Iterator[Any]:
    """The parts, each but the first only after the event."""
    for number, part in enumerate(parts):
        if number:
            event.wait()
        yield from part


class Hears(Source):
    """Sets an event when the source within hears of an end."""

    def __init__(self, source: Source, event: threading.Event) -> None:
        self.source = source
        self.event = event

    def items(self) -> Any:
        return self.source.items()

    def ended(self, job: Job, outcome: Any) -> None:
        self.source.ended(job, outcome)
        self.event.set()

    def lost(self, job: Job) -> None:
        self.source.lost(job)


def test_a_list_ends_after_what_it_held(fast: Path) -> None:
    order: list[str] = []
    names = {item_id(name): name for name in ("channel", "playlist", "v1", "v2", "v3")}

    def listen(event: Event) -> None:
        if isinstance(event, ItemEnded):
            order.append(names[event.item])

    for overrides in ([], [], ["stages.b.value=1"]):  # done, then known, then its items done again
        order.clear()
        source = Told(["channel"])
        run(chain(LISTS), fast, source, *overrides, listen=listen)
        assert sorted(order) == sorted(names.values())
        assert order[-1] == "channel"
        assert order.index("playlist") > max(order.index("v2"), order.index("v3"))
        assert source.told == [("channel", "done")]


def test_lists_that_hold_one_another_end(fast: Path) -> None:
    does: Does = {
        "one": ["expand", ["two", "one", "v"]],
        "two": ["expand", ["one", "three"]],
        "three": ["expand", ["two", "two"]],
    }
    for again in range(2):
        source = Told(["one", "three", "two"])
        report = run_within(20, chain(does), fast, source)
        assert sorted(source.told) == [("one", "done"), ("three", "done"), ("two", "done")]
        assert report.items["reused"] == (4 if again else 0)


def test_what_is_left_is_lost(fast: Path) -> None:
    class Tells(Told):
        def ended(self, job: Job, outcome: str) -> None:
            super().ended(job, outcome)
            if job.source == "v":
                v_is_told.set()

    class Stops(Toy):
        def process(self, item: Item, out: Path) -> Any:
            if item.source == "stops":
                assert v_is_told.wait(20)
                raise StopRun("told to")
            return self.act(item, out)

    v_is_told = threading.Event()
    source = Tells(["v", "channel", "stops", *(f"w{n}" for n in range(100))])
    report = run(chain(LISTS, base=Stops), fast, source, "stages.a.workers=1")
    assert report.outcome == "stopped"
    told = dict(source.told)
    assert told["v"] == "done"
    assert told["stops"] == "lost"
    assert len(told) == len(source.told) < 103
    left = Told(["v", "channel", "stops"])
    run(chain(LISTS), fast, left)
    assert sorted(left.told) == [("channel", "done"), ("stops", "done"), ("v", "done")]


def test_other_parameters_in_one_run_are_lost_and_said(
    fast: Path, caplog: pytest.LogCaptureFixture
) -> None:
    jobs = [Job("v", parameters={"a": 1}), Job("v", parameters={"a": 1}), Job("v"), "w"]
    source = Told(jobs)
    run(chain(), fast, source)
    assert sorted(source.told) == [("v", "done"), ("v", "done"), ("v", "lost"), ("w", "done")]
    assert "v is in this run already, with other parameters" in caplog.text


def test_a_source_that_cannot_be_told_stops_the_run(
    fast: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(Told):
        def ended(self, job: Job, outcome: str) -> None:
            super().ended(job, outcome)
            if job.source == "v0":
                raise ConnectionError("the queue\nis gone")

        def lost(self, job: Job) -> None:
            super().lost(job)
            raise ConnectionError("still gone")

    source = Broken([f"v{n}" for n in range(2000)])
    stopping: list[Event] = []
    report = run(chain(), fast, source, listen=stopping.append)
    assert report.exit_code == 3
    why = "the source could not be told how a job ended: ConnectionError: the queue is gone"
    assert report.why == why
    assert [event.why for event in stopping if isinstance(event, Stopping)] == [why]
    ended = {name for name, outcome in source.told if outcome == "done"}
    assert len(ended) == sum(report.items[how] for how in ("done", "dropped", "failed"))
    assert len(source.told) == len(dict(source.told))
    assert "still gone" in caplog.text or len(ended) == 2000


def test_a_source_may_be_told_on_the_event_loop(fast: Path) -> None:
    class Loop(Source):
        def __init__(self) -> None:
            self.told: list[tuple[str, str]] = []

        async def items(self) -> AsyncGenerator[Job, None]:
            for name in ("v", "bad"):
                await anyio.lowlevel.checkpoint()
                yield Job(name)

        async def ended(self, job: Job, outcome: str) -> None:
            await anyio.lowlevel.checkpoint()
            assert threading.current_thread() is threading.main_thread()
            self.told.append((job.source, outcome))

    source = Loop()
    run(chain(LISTS), fast, source)
    assert sorted(source.told) == [("bad", "failed"), ("v", "done")]


def test_no_more_is_read_than_can_be_told(fast: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.sources.jobs.MOST_DUE", 3)
    read = 0
    go_on = threading.Event()

    def numbers() -> Iterator[str]:
        nonlocal read
        for number in range(200):
            read = number
            yield f"v{number}"

    class Slow(Told):
        def ended(self, job: Job, outcome: str) -> None:
            go_on.wait()
            super().ended(job, outcome)

    source = Slow(numbers())

    def prepare(run: Run) -> Sequence[Any]:
        async def let_go() -> None:
            before = -1
            while before != read or not read:  # until it stands still
                before = read
                await anyio.sleep(0.1)
            assert read < 100
            go_on.set()

        return [let_go]

    run(chain(), fast, source, prepare=prepare)
    assert len(source.told) == 200


def test_a_source_that_blocks_when_the_run_ends_may_still_let_go(fast: Path) -> None:
    class Queue(Told):
        def __init__(self) -> None:
            super().__init__([])
            self.come, self.heard = threading.Event(), threading.Event()

        def items(self) -> Iterator[Job]:
            yield Job("v")
            self.come.wait()
            yield Job("late")

        def lost(self, job: Job) -> None:
            super().lost(job)
            self.heard.set()

    source = Queue()

    def prepare(run: Run) -> Sequence[Any]:
        async def stop() -> None:
            await toys.until(lambda: source.told)
            run.drain("interrupted", "told to")

        return [stop]

    report = run(chain(), fast, source, prepare=prepare)
    assert report.exit_code == 130
    assert source.told == [("v", "done")]
    source.come.set()
    assert source.heard.wait(5)
    assert source.told == [("v", "done"), ("late", "lost")]
    assert engine_threads() == []


def test_joined_sources_are_read_in_turn_and_told_of_their_own(fast: Path) -> None:
    first, second = Told(["v", "bad", "v"]), Told([Job("v", handle=7), "w"])

    async def on_the_loop() -> AsyncGenerator[str, None]:
        yield "z"

    run(chain(LISTS), fast, JoinedSources(first, ["x", ("own", "y")], on_the_loop(), second))
    assert sorted(first.told) == [("bad", "failed"), ("v", "done"), ("v", "done")]
    assert sorted(second.told) == [("v", "done"), ("w", "done")]
    found = {source for (source,) in toys.query(fast, "SELECT source FROM items")}
    assert found == {"v", "bad", "x", "y", "z", "w"}


def test_a_source_that_breaks_ends_the_run_and_is_told_of_what_it_gave(fast: Path) -> None:
    def broken() -> Iterator[str]:
        yield from ("v", "w", "x")
        raise UsageError("the table is gone; make it anew")

    source = Told(broken(), fast)
    with pytest.raises(UsageError, match="the table is gone"):
        run(chain(), fast, source)
    assert sorted(name for name, _ in source.told) == ["v", "w", "x"]
    assert source.ledger == source.told
    assert engine_threads() == []


def test_one_string_is_no_list() -> None:
    with pytest.raises(TypeError, match=r"'clip\.mp4' is one source: give a list"):
        ListSource("clip.mp4")


def test_an_end_that_the_ledger_lost_is_not_told(
    fast: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    apply = Ledger.apply

    def full(self: Ledger, change: Any, run: int) -> None:
        if change.item.source == "v7" and change.outcome is not None:
            error = sqlite3.OperationalError("database or disk is full")
            error.sqlite_errorcode = sqlite3.SQLITE_FULL
            raise error
        apply(self, change, run)

    monkeypatch.setattr(Ledger, "apply", full)
    source = Told([f"v{n}" for n in range(30)], fast)
    ended: list[str] = []

    def listen(event: Event) -> None:
        if isinstance(event, ItemEnded):
            ended.append(event.item)

    report = run_quietly(fast, source, listen)
    assert report.outcome == "stopped"
    assert item_id("v7") not in ended
    told = dict(source.told)
    assert told["v7"] == "lost"
    assert source.ledger == source.told, "nor is anything else that it lost"


def run_quietly(workdir: Path, source: Source, listen: Callable[[Event], None]) -> RunReport:
    pipeline, events = chain(), Events()
    events.subscribe(listen)
    return run_pipeline(pipeline, configured(pipeline), workdir, source, events=events)


NAMES = [f"v{number}" for number in range(6)]
WORDS = st.one_of(
    st.sampled_from([["drop"], ["permanent"], ["bug", -1], ["transient", 1]]),
    st.tuples(st.just("expand"), st.lists(st.sampled_from(NAMES), max_size=4)).map(list),
)


@given(
    does=st.dictionaries(st.sampled_from(NAMES), WORDS, max_size=6),
    jobs=st.lists(st.sampled_from(NAMES), min_size=1, max_size=8),
    drained=st.none() | st.integers(0, 30),
    keep=st.booleans(),
)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_whatever_happens_the_ledger_has_what_is_told(
    does: Does, jobs: list[str], drained: int | None, keep: bool
) -> None:
    """Twice over one folder: the first run is drained at some moment, perhaps."""
    options = [f"stages.a.keep={'true' if keep else 'false'}", "stages.a.attempts=2"]
    with toys.fast_folder() as workdir:
        for moment in (drained, None):
            source, watch = Told(jobs, workdir), Watch(workdir, moment)
            report = run_within(
                20, chain(does), workdir, source, *options, listen=watch, also=watch.prepare
            )
            assert watch.wrong == []
            assert len(watch.ended) == len(set(watch.ended))
            assert len(watch.ended) == sum(report.items[how] for how in watch.HOW)
            assert source.ledger == source.told
            if report.outcome == "done":
                assert sorted(name for name, _ in source.told) == sorted(jobs)
                assert "lost" not in dict(source.told).values()
                assert len(watch.ended) == len(toys.query(workdir, "SELECT id FROM items"))


@given(
    does=st.dictionaries(st.sampled_from(NAMES), WORDS, max_size=6),
    jobs=st.lists(st.sampled_from(NAMES), min_size=1, max_size=8),
    moment=st.integers(0, 30),
)
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_run_that_is_cancelled_lets_go_of_what_it_has_not_ended(
    does: Does, jobs: list[str], moment: int
) -> None:
    with toys.fast_folder() as workdir:
        source, events = Told(jobs, workdir), Events()

        async def main() -> None:
            pipeline = chain(does)
            opened = opened_run(pipeline, configured(pipeline), workdir, source, events)
            with anyio.fail_after(20), anyio.CancelScope() as scope:
                events.subscribe(Countdown(moment, scope.cancel))
                async with opened as run:
                    await run.execute()

        anyio.run(main)
        assert source.ledger == source.told
        assert len(source.told) == source.read
        assert engine_threads() == []


class Countdown:
    """Does something at one event."""

    def __init__(self, moment: int, what: Callable[[], object]) -> None:
        self.left = moment
        self.what = what

    def __call__(self, event: Event) -> None:
        if self.left == 0:
            self.what()
        self.left -= 1


def test_a_source_that_does_not_answer_holds_up_no_run_that_is_given_up(
    fast: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("engine.sources.jobs.LETTING_GO", 0.05)
    asked, go_on = threading.Event(), threading.Event()

    class Mute(Told):
        def ended(self, job: Job, outcome: str) -> None:
            asked.set()
            go_on.wait()

    async def main() -> None:
        pipeline = chain()
        opened = opened_run(pipeline, configured(pipeline), fast, Mute(["v", "w"]), Events())
        with anyio.fail_after(10), anyio.CancelScope() as scope:
            async with opened as run, anyio.create_task_group() as tasks:
                tasks.start_soon(run.execute)
                await toys.until(asked.is_set)
                scope.cancel()

    anyio.run(main)
    go_on.set()
    assert "the source does not answer; jobs that it is not told of: 1" in caplog.text
    assert engine_threads() == []


class Watch:
    """Asks the ledger at every end of an item, and drains the run at one event."""

    HOW = ("done", "dropped", "failed")

    def __init__(self, workdir: Path, moment: int | None) -> None:
        self.workdir = workdir
        self.moment = moment
        self.events = 0
        self.ended: list[str] = []
        self.wrong: list[Event] = []
        self.over = False

    def prepare(self, run: Run) -> None:
        self.run = run

    def __call__(self, event: Event) -> None:
        if self.events == self.moment:
            self.run.drain("interrupted", "at random")
        self.events += 1
        self.over |= isinstance(event, RunEnded)
        if isinstance(event, ItemEnded):
            self.ended.append(event.item)
            if self.over or in_ledger(self.workdir, event.item) != event.outcome:
                self.wrong.append(event)
