"""The team of a pool: its workers are hired, opened, replaced and let go, and each has a number."""

import os
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest
from anyio import wait_all_tasks_blocked

from engine import Item, PenstockError, StageOptions, UsageError
from engine.ledger.outputs.drafts import Draft, FolderOutputs
from engine.telemetry.events import Event, Events, StepOpened, WorkerReplaced
from engine.workers.base import StageFactory, StageOpenError, Worker
from engine.workers.process import ProcessWorker
from engine.workers.result import Result
from engine.workers.team import Team
from engine.workers.thread import ThreadWorker
from tests.engine.toys import LoopObedient, Obedient, engine_threads, note, until

pytestmark = pytest.mark.anyio


class Bounded(LoopObedient):
    """Says what bounds it, which only who is open can know."""

    def bound(self) -> str | None:
        return "a server that takes few calls"


class Drained(Obedient):
    """Notes that it was told that the run takes nothing new, then fails at it."""

    def drain(self) -> None:
        note(self.workdir / "drained", f"{id(self)}")
        raise ValueError("a bug")


class Bench:
    """A team whose workers wait in `serve` until they are sent away, or the work is over."""

    def __init__(
        self, workdir: Path, stage: type[Obedient] = Obedient, broken: str = "", **options: object
    ) -> None:
        self.workdir = workdir
        self.at_work: dict[int, Worker] = {}
        self.served: list[int] = []
        self.told: list[Event] = []
        self.results: list[Result] = []
        self.are_idle = True
        """Whether `release` finds those who wait."""
        self._given: dict[int, Draft] = {}
        self._over = False
        self._sent_away: dict[int, anyio.Event] = {}
        events = Events()
        events.subscribe(self.told.append)
        factory = StageFactory(stage, stage.Settings(broken=broken), workdir)
        settings = StageOptions.model_validate({"timeout": 0.2, **options})
        self.team = Team(factory, settings, events, self._serve, self._release)

    async def _serve(self, worker: Worker, number: int) -> bool:
        self.served.append(number)
        if self._over:
            return False
        self.at_work[number] = worker
        sent_away = self._sent_away[number] = anyio.Event()
        await sent_away.wait()
        del self.at_work[number]
        if (draft := self._given.pop(number, None)) is not None:
            self.results.append(await worker.process(draft))
        return not self._over

    def _release(self, workers: int) -> None:
        for number in list(self.at_work)[: workers if self.are_idle else 0]:
            self.send_away(number)

    def send_away(self, number: int, draft: Draft | None = None) -> None:
        """Have the worker work on the draft, if there is one, and ask for more."""
        if draft is not None:
            self._given[number] = draft
        self._sent_away[number].set()

    def end(self) -> None:
        self._over = True
        for number in self.at_work:
            self.send_away(number)

    def draft(self, source: str) -> Draft:
        return Draft(FolderOutputs(), Item.at(self.workdir, source), "obedient", "fingerprint")

    def noted(self, file: str) -> int:
        """How often a stage has opened, or closed."""
        path = self.workdir / file
        return len(path.read_text().splitlines()) if path.exists() else 0


Make = Callable[..., Bench]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def make(stage: type[Obedient] = Obedient, broken: str = "", **options: object) -> Bench:
        return Bench(tmp_path, stage, broken, **options)

    return make


async def test_each_worker_has_an_instance_and_a_number(make: Make) -> None:
    bench = make()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(bench.team.run, 3)
        await until(lambda: len(bench.at_work) == 3)
        assert sorted(bench.at_work) == [1, 2, 3]
        assert len(set(map(id, bench.at_work.values()))) == 3
        assert bench.noted("opened") == 3
        assert bench.noted("closed") == 0
        bench.end()
    assert len(bench.team) == 3, "at the end, how many there were"
    assert bench.noted("closed") == 3
    assert bench.team.alive.seconds > 0
    assert engine_threads() == []


async def test_workers_of_an_async_stage_share_one_instance(make: Make) -> None:
    bench = make(Bounded)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(bench.team.run, 3)
        await until(lambda: len(bench.at_work) == 3)
        assert bench.noted("opened") == 1
        assert bench.team.bound() == "a server that takes few calls"
        bench.team.resize(1)
        await until(lambda: len(bench.at_work) == 1)
        assert bench.noted("closed") == 0, "the others use it still"
        bench.end()
    assert bench.noted("closed") == 1


async def test_every_instance_is_told_that_the_run_takes_nothing_new(make: Make) -> None:
    bench = make(Drained)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(bench.team.run, 2)
        await until(lambda: len(bench.at_work) == 2)
        bench.team.drain()
        assert bench.noted("drained") == 2
        bench.team.resize(3)
        await until(lambda: len(bench.at_work) == 3)
        assert bench.noted("drained") == 3, "also one that opens after that"
        bench.end()


async def test_a_stage_with_instances_of_its_own_says_nothing_of_what_bounds_it(make: Make) -> None:
    assert make().team.bound() is None


async def test_a_team_grows_and_shrinks_and_no_number_comes_twice(make: Make) -> None:
    bench = make()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(bench.team.run, 2)
        await until(lambda: len(bench.at_work) == 2)
        bench.team.resize(3)
        await until(lambda: len(bench.at_work) == 3)
        bench.team.resize(1)
        await until(lambda: len(bench.at_work) == 1)
        assert len(bench.team) == 1
        await until(lambda: bench.noted("closed") == 2)
        bench.team.resize(2)
        await until(lambda: len(bench.at_work) == 2)
        assert max(bench.at_work) == 4
        bench.end()
    assert len(set(bench.served)) == 4


async def test_who_is_at_work_goes_when_it_has_finished(make: Make) -> None:
    """A worker that is one too many counts no more once it asks for work, however long it took."""
    bench = make()
    bench.are_idle = False
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(bench.team.run, 2)
        await until(lambda: len(bench.at_work) == 2)
        bench.team.resize(1)
        await wait_all_tasks_blocked()
        assert len(bench.at_work) == len(bench.team) == 2
        bench.send_away(2)
        await until(lambda: len(bench.team) == 1)
        assert list(bench.at_work) == [1]
        bench.end()


async def test_a_worker_that_hung_is_replaced_under_its_number(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.workers.thread.GRACE", 0.05)
    bench = make()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(bench.team.run, 1)
        await until(lambda: bench.at_work)
        hung = bench.at_work[1]
        bench.send_away(1, bench.draft("hang free"))
        await until(lambda: 1 in bench.at_work and bench.at_work[1] is not hung)
        assert hung.broken
        assert bench.told == [
            StepOpened("obedient"),
            WorkerReplaced("obedient", 1, "it died or hung"),
        ]
        bench.send_away(1, bench.draft("done "))
        await until(lambda: len(bench.results) == 2 and bench.at_work)
        late, done = bench.results
        assert late.ending is not None
        assert (late.ending.kind, done) == ("timeout", Result())
        assert len(bench.team) == 1
        (bench.workdir / "free").touch()
        bench.end()
    assert engine_threads() == []


@pytest.mark.parametrize("stage", [Obedient, LoopObedient])
@pytest.mark.parametrize(
    ("broken", "expected"),
    [
        ("told", "there is no such model; give another"),
        ("bug", "stage 'obedient' could not start: ValueError: a bug of two lines"),
    ],
)
async def test_a_stage_that_does_not_open_ends_the_team_with_its_reason(
    make: Make, stage: type[Obedient], broken: str, expected: str
) -> None:
    bench = make(stage, broken)
    with anyio.fail_after(20), pytest.raises((PenstockError, ExceptionGroup)) as raised:
        await bench.team.run(2)
    error: BaseException = raised.value
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, UsageError if broken == "told" else StageOpenError)
    assert str(error).replace("loopobedient", "obedient") == expected
    assert bench.noted("closed") == 0, "what has not opened is not closed"
    assert engine_threads() == []


async def test_what_may_kill_is_tried_in_a_process_that_is_kept(make: Make) -> None:
    bench = make(timeout=30)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(bench.team.run, 1)
        await until(lambda: bench.at_work)
        worker = bench.at_work[1]
        assert isinstance(worker, ThreadWorker)
        apart = await bench.team.apart(worker)
        assert isinstance(apart, ProcessWorker)
        assert await bench.team.apart(worker) is apart
        assert await bench.team.apart(apart) is apart
        killed = await apart.process(bench.draft("kill SIGKILL"))
        assert killed.ending is not None
        assert killed.ending.kind == "crashed"
        another = await bench.team.apart(worker)
        assert another is not apart
        draft = bench.draft("pid")
        assert await another.process(draft) == Result()
        assert (draft.item.output("obedient") / "pid").read_text() != str(os.getpid())
        bench.end()
    await bench.team.close()


async def test_what_no_process_can_import_is_tried_where_it_is(make: Make) -> None:
    class Local(Obedient):
        name = "obedient"

    class LocalLoop(LoopObedient):
        name = "obedient"

    for stage in (Local, LocalLoop):
        bench = make(stage)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(bench.team.run, 1)
            await until(lambda bench=bench: bench.at_work)
            worker = bench.at_work[1]
            assert await bench.team.apart(worker) is worker
            bench.end()
        await bench.team.close()
