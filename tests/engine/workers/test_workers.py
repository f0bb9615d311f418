"""Workers: one contract for the loop, a thread and a process; and what each does with the hung."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import psutil
import pytest
from anyio import to_thread

from engine import ConfigError, Item, PenstockError, StopRun, Throttled, UsageError
from engine.contract.errors import BatchFault, Fault
from engine.ledger.outputs.drafts import Draft, FolderOutputs
from engine.telemetry.processor_time import SCHEDULER
from engine.workers.base import StageFactory, StageOpenError, Worker
from engine.workers.loop import LoopWorker
from engine.workers.process import ProcessWorker
from engine.workers.result import Result
from engine.workers.thread import ThreadWorker
from tests.engine.toys import LoopObedient, Obedient, engine_threads, leftovers, note, until

pytestmark = pytest.mark.anyio

KINDS = ["loop", "thread", "process"]
OFF_LOOP = ["thread", "process"]


@pytest.fixture(autouse=True)
def short_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.workers.thread.GRACE", 0.2)


Make = Callable[..., Worker]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def make(kind: str, timeout: float = 30, broken: str = "") -> Worker:
        stage = LoopObedient if kind == "loop" else Obedient
        factory = StageFactory(stage, stage.Settings(broken=broken), tmp_path)
        if kind == "loop":
            return LoopWorker(factory(), timeout)
        if kind == "process":
            return ProcessWorker(factory, timeout)
        return ThreadWorker(factory, timeout, "penstock-test")

    return make


@asynccontextmanager
async def opened(worker: Worker) -> AsyncIterator[Worker]:
    try:
        await worker.open()
        yield worker
    finally:
        await worker.close()


class Work:
    """Drafts of outputs, of items whose source says what a stage does with them."""

    def __init__(self, workdir: Path) -> None:
        self.workdir = workdir

    def __call__(self, source: str) -> Draft:
        item = Item.at(self.workdir, source)
        return Draft(FolderOutputs(), item, "obedient", "fingerprint")

    def wrote(self, source: str, name: str) -> str:
        """What stands in this file of the output."""
        return (Item.at(self.workdir, source).output("obedient") / name).read_text()


@pytest.fixture
def work(tmp_path: Path) -> Work:
    return Work(tmp_path)


# What all workers have in common


@pytest.mark.parametrize("kind", KINDS)
async def test_what_a_stage_does_comes_back_as_a_result(kind: str, make: Make, work: Work) -> None:
    async with opened(make(kind)) as worker:
        assert await worker.process(work("done ")) == Result()
        assert work.wrote("done ", "hello") == "hello"
        for word, name, ending_kind, reason in (
            ("drop", "Drop", "empty", "nothing to do"),
            ("permanent", "Permanent", "http-404", "it is gone"),
            ("bug", "Fault", "unexpected", "ValueError: a bug of two lines"),
            ("group", "Permanent", "permanent", "it is gone"),
            ("nonsense", "Fault", "unexpected", "TypeError: process() returned 7; it returns None"),
            ("exit", "Fault", "unexpected", "SystemExit: a library gave up"),
        ):
            ending = (await worker.process(work(word))).ending
            assert ending is not None
            assert type(ending).__name__ == name
            assert ending.kind == ending_kind
            assert ending.reason.startswith(reason)
        assert isinstance(ending, Fault)
        assert ending.traceback is not None
        assert "toys.py" in ending.traceback
        assert not worker.broken


@pytest.mark.alone
@pytest.mark.parametrize("kind", OFF_LOOP)
async def test_an_attempt_tells_what_it_cost_the_processor(
    kind: str, make: Make, work: Work
) -> None:
    async with opened(make(kind)) as worker:
        costs = [(await worker.process(work(f"burn {seconds}"))).processor for seconds in (0, 0.2)]
        slept = (await worker.process(work("sleep 0.05"))).processor
        [one, other] = await worker.process_batch([work("burn 0.1"), work("burn 0.1")])
    idle, busy = costs
    assert idle is not None and busy is not None and slept is not None
    assert idle.used < 0.1 < 0.199 < busy.used < 0.4
    assert slept.used < 0.05
    assert one.processor == other.processor
    assert one.processor is not None and 0.099 < one.processor.used < 0.2
    if os.access(SCHEDULER, os.R_OK):
        assert busy.delayed is not None and busy.delayed >= 0


@pytest.mark.parametrize("kind", KINDS)
async def test_throttled_keeps_its_figures(kind: str, make: Make, work: Work) -> None:
    async with opened(make(kind)) as worker:
        ending = (await worker.process(work("throttled"))).ending
        assert isinstance(ending, Throttled)
        assert (ending.after, ending.key, ending.kind) == (12.5, "example.org", "throttled")


@pytest.mark.parametrize("kind", KINDS)
async def test_an_ending_of_a_stages_own_counts_as_what_it_is(
    kind: str, make: Make, work: Work
) -> None:
    async with opened(make(kind)) as worker:
        ending = (await worker.process(work("own"))).ending
        assert ending is not None
        assert (ending.kind, ending.reason) == ("too-long", "too long")


@pytest.mark.parametrize("kind", KINDS)
async def test_a_full_disk_stops_the_run(kind: str, make: Make, work: Work) -> None:
    async with opened(make(kind)) as worker:
        stop = (await worker.process(work("full"))).stop
        assert isinstance(stop, StopRun)
        assert "the disk is full while writing" in str(stop)


@pytest.mark.parametrize("kind", KINDS)
async def test_items_come_out(kind: str, make: Make, work: Work) -> None:
    async with opened(make(kind)) as worker:
        draft = work("items one two")
        produced = (await worker.process(draft)).produced
        assert produced is not None
        assert list(produced) == [draft.item.child("one"), draft.item.child("two")]
        assert draft.folder is not None, "what is written about them is not whole before"


@pytest.mark.parametrize("kind", KINDS)
async def test_a_batch_has_an_answer_for_each(kind: str, make: Make, work: Work) -> None:
    async with opened(make(kind)) as worker:
        drafts = [work(word) for word in ("done 1", "drop", "done 2")]
        results = await worker.process_batch(drafts)
        kinds = [result.ending and result.ending.kind for result in results]
        assert kinds == [None, "empty", None]
        assert work.wrote("done 2", "hello") == "hello2"
        assert leftovers(work.workdir) == []


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("word", ["bug", "exit", "full"])
async def test_what_breaks_a_batch_is_nobodys_fault(
    kind: str, word: str, make: Make, work: Work
) -> None:
    async with opened(make(kind)) as worker:
        for result in await worker.process_batch([work("done"), work(word)]):
            assert isinstance(result.stop if word == "full" else result.ending, PenstockError)
            assert result.stop is not None or isinstance(result.ending, BatchFault)
        assert leftovers(work.workdir) == []
        assert (await worker.process(work("done"))).ending is None, "it can still be used"


@pytest.mark.parametrize("kind", OFF_LOOP)
@pytest.mark.parametrize(
    ("broken", "error", "text"),
    [
        ("told", PenstockError, "there is no such model; give another"),
        ("bug", (StageOpenError, ValueError), "a bug"),
        ("exit", (StageOpenError, RuntimeError), "a library gave up|exited with code"),
    ],
)
async def test_a_stage_that_cannot_start_says_why(
    kind: str, broken: str, error: type[Exception], text: str, make: Make
) -> None:
    with pytest.raises(error, match=text):
        async with opened(make(kind, broken=broken)):
            pytest.fail("it opened")


@pytest.mark.parametrize("kind", OFF_LOOP)
async def test_a_stage_is_opened_and_closed_once_where_it_runs(
    kind: str, make: Make, work: Work, tmp_path: Path
) -> None:
    async with opened(make(kind)) as worker:
        await worker.process(work("pid"))
        await worker.process(work("pid"))
        pid = work.wrote("pid", "pid")
    assert (pid == str(os.getpid())) == (kind == "thread")
    assert (tmp_path / "opened").read_text() == f"{pid}\n"
    assert (tmp_path / "closed").read_text() == f"{pid}\n"
    assert engine_threads() == []


class Particular(Obedient):
    """Does not open, for a reason that its user has to hear of."""

    def open(self) -> None:
        raise ConfigError("no such device")

    def close(self) -> None:
        note(self.workdir / "closed", "although it had not opened")


@pytest.mark.parametrize("kind", ["thread", "process"])
async def test_why_a_stage_cannot_open_is_said_as_it_was(kind: str, tmp_path: Path) -> None:
    factory = StageFactory(Particular, Particular.Settings(), tmp_path)
    made = ThreadWorker(factory, 30, "t") if kind == "thread" else ProcessWorker(factory, 30)
    with pytest.raises(ConfigError, match=r"^no such device$"):
        async with opened(made):
            pytest.fail("it opened")
    assert not (tmp_path / "closed").exists()


class SlowToOpen(Obedient):
    """Opens once it is told to."""

    opening: threading.Event
    told: threading.Event

    def open(self) -> None:
        self.opening.set()
        self.told.wait()
        super().open()

    def close(self) -> None:
        note(self.workdir / "closed", threading.current_thread().name)


@pytest.mark.parametrize("in_time", [True, False])
async def test_a_stage_that_opens_after_the_run_was_cancelled_is_closed(
    in_time: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("engine.workers.thread.HASTE", 60 if in_time else 0.01)
    monkeypatch.setattr(SlowToOpen, "opening", threading.Event(), raising=False)
    monkeypatch.setattr(SlowToOpen, "told", threading.Event(), raising=False)
    factory = StageFactory(SlowToOpen, SlowToOpen.Settings(), tmp_path)
    async with anyio.create_task_group() as tasks:

        async def serve() -> None:
            async with opened(ThreadWorker(factory, 30, "penstock-test")):
                pytest.fail("it opened")

        tasks.start_soon(serve)
        await to_thread.run_sync(SlowToOpen.opening.wait)
        tasks.cancel_scope.cancel()
        if in_time:
            SlowToOpen.told.set()
    assert (tmp_path / "closed").exists() == in_time, "the run waits for as long as HASTE"
    SlowToOpen.told.set()
    assert engine_threads() == []
    assert (tmp_path / "closed").read_text() == "penstock-test\n"


# Time


async def hanging(tmp_path: Path) -> int:
    """Wait until the stage hangs; returns what process that is in."""
    file = tmp_path / "hanging"
    await until(lambda: file.exists() and file.read_text())
    return int(file.read_text())


async def test_a_coroutine_that_hangs_is_given_up_at_once(make: Make, work: Work) -> None:
    class Sleeper(LoopObedient):
        async def process(self, item: Item, out: Path) -> None:
            await anyio.sleep_forever()

    async with opened(LoopWorker(Sleeper(Sleeper.Settings(), work.workdir), 0.02)) as worker:
        ending = (await worker.process(work("done"))).ending
    assert isinstance(ending, Fault)
    assert (ending.kind, ending.reason) == ("timeout", "gave up after 0.02 seconds")
    assert not worker.broken


async def test_a_thread_that_checks_is_given_up_and_used_again(
    make: Make, work: Work, tmp_path: Path
) -> None:
    async with opened(make("thread", timeout=0.1)) as worker:
        ending = (await worker.process(work("patient"))).ending
        assert ending is not None
        assert ending.kind == "timeout"
        assert not worker.broken
        assert (await worker.process(work("pid"))).ending is None
    assert (tmp_path / "closed").exists()


async def test_a_thread_that_hangs_is_given_up_and_left(
    make: Make, work: Work, tmp_path: Path
) -> None:
    async with opened(make("thread", timeout=0.05)) as worker:
        ending = (await worker.process(work("hang release"))).ending
        assert ending is not None
        assert ending.kind == "timeout"
        assert worker.broken
    assert not (tmp_path / "closed").exists()
    (tmp_path / "release").touch()
    assert engine_threads() == []


async def test_a_batch_in_a_thread_can_hang_too(make: Make, work: Work, tmp_path: Path) -> None:
    async with opened(make("thread", timeout=0.05)) as worker:
        results = await worker.process_batch([work("hang release"), work("done")])
        assert [result.ending and result.ending.kind for result in results] == ["unexpected"] * 2
        assert all(isinstance(result.ending, BatchFault) for result in results)
        assert worker.broken
    (tmp_path / "release").touch()


async def test_a_process_that_hangs_is_killed_with_all_it_started(
    make: Make, work: Work, tmp_path: Path
) -> None:
    async with opened(make("process", timeout=1)) as worker:
        ending = (await worker.process(work("family"))).ending
        assert ending is not None
        assert ending.kind == "timeout"
        assert worker.broken
        assert await has_gone(await hanging(tmp_path))


@pytest.mark.alone
@pytest.mark.parametrize("kind", OFF_LOOP)
@pytest.mark.parametrize("word", ["hang release", "patient"])
async def test_cancelling_is_prompt_whatever_the_stage_does(
    kind: str, word: str, make: Make, work: Work, tmp_path: Path
) -> None:
    async with anyio.create_task_group() as tasks:

        async def serve() -> None:
            async with opened(make(kind)) as worker:
                await worker.process(work(word))

        tasks.start_soon(serve)
        await hanging(tmp_path)
        began = anyio.current_time()
        tasks.cancel_scope.cancel()
    assert anyio.current_time() - began < 2
    (tmp_path / "release").touch()
    assert engine_threads() == []


async def test_a_stray_cancellation_is_a_bug_of_the_stage_and_ends_nothing_else(
    work: Work,
) -> None:
    class Careless(LoopObedient):
        async def process(self, item: Item, out: Path) -> None:
            raise anyio.get_cancelled_exc_class()("awaited what somebody else cancelled")

    async with opened(LoopWorker(Careless(Careless.Settings(), work.workdir), 5)) as worker:
        ending = (await worker.process(work("done"))).ending
    assert ending is not None
    assert ending.kind == "unexpected"


# Processes


async def has_gone(pid: int) -> bool:
    def gone() -> bool:
        try:
            return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return True

    with anyio.move_on_after(5):
        await until(gone)
        return True
    return False


@pytest.mark.parametrize("name", ["SIGKILL", "SIGSEGV"])
async def test_a_process_that_dies_costs_an_attempt_and_is_named(
    name: str, make: Make, work: Work
) -> None:
    async with opened(make("process")) as worker:
        ending = (await worker.process(work(f"kill {name}"))).ending
        assert isinstance(ending, Fault)
        assert ending.kind == "crashed"
        assert ending.reason.startswith(f"the worker process was killed by {name}")
        assert worker.broken


async def test_what_a_stage_prints_and_reads_does_not_disturb(make: Make, work: Work) -> None:
    async with opened(make("process", timeout=10)) as worker:
        assert await worker.process(work("print")) == Result()
        assert await worker.process(work("read")) == Result()
        assert work.wrote("read", "read") == "", "its standard input is empty"
        assert await worker.process(work("done")) == Result()


async def test_a_process_ends_when_its_run_is_killed(tmp_path: Path) -> None:
    script = f"""
        import anyio
        from pathlib import Path
        from engine import Item
        from engine.ledger.outputs.drafts import Draft, FolderOutputs
        from engine.workers.process import ProcessWorker
        from engine.workers.base import StageFactory
        from tests.engine.toys import Obedient

        async def main():
            folder = Path({str(tmp_path)!r})
            worker = ProcessWorker(StageFactory(Obedient, Obedient.Settings(), folder), 1000)
            await worker.open()
            item = Item.at(folder, "hang")
            await worker.process(Draft(FolderOutputs(), item, "obedient", "fingerprint"))

        anyio.run(main)
    """
    command = [sys.executable, "-c", textwrap.dedent(script)]
    run = subprocess.Popen(command)  # noqa: ASYNC220 - it is killed, not awaited
    child = await hanging(tmp_path)
    assert child != run.pid
    run.send_signal(signal.SIGKILL)
    run.wait()
    assert await has_gone(child)


@pytest.mark.alone
async def test_a_process_answers_fast_enough_to_be_used(make: Make, work: Work) -> None:
    async with opened(make("process")) as worker:
        seconds = []
        for _ in range(10):
            began = time.perf_counter()
            for _ in range(10):
                await worker.process(work("done"))
            seconds.append(time.perf_counter() - began)
    assert min(seconds) < 0.2, "20 ms an item would show each time, on a busy machine or not"


async def test_open_is_told_what_a_person_did_wrong(make: Make) -> None:
    with pytest.raises(PenstockError) as refusal:
        async with opened(make("process", broken="told")):
            pytest.fail("it opened")
    assert not isinstance(refusal.value, StageOpenError)
    assert isinstance(UsageError("x"), PenstockError)


async def test_threads_are_named_for_who_looks(make: Make) -> None:
    async with opened(make("thread")):
        assert "penstock-test" in {thread.name for thread in threading.enumerate()}


async def test_what_was_given_up_does_not_become_an_output(
    make: Make, work: Work, tmp_path: Path
) -> None:
    async with opened(make("thread", timeout=0.05)) as worker:
        draft = work("hang release")
        await worker.process(draft)
        (tmp_path / "release").touch()
    assert engine_threads() == [], "its thread has come to the end of the attempt"
    assert not draft.item.has_output("obedient")
    assert leftovers(tmp_path) == []


async def test_who_commits_is_waited_for(make: Make, work: Work, tmp_path: Path) -> None:
    class Slow(FolderOutputs):
        def commit(self, *arguments: Any) -> None:
            (tmp_path / "hanging").write_text("1")
            while not (tmp_path / "release").exists():
                time.sleep(0.005)
            super().commit(*arguments)

    draft = Draft(Slow(synced=False), work("done").item, "obedient", "fingerprint")
    async with anyio.create_task_group() as tasks:

        async def serve() -> None:
            async with opened(make("thread", timeout=0.05)) as worker:
                assert await worker.process(draft) == Result()
                assert not worker.broken

        tasks.start_soon(serve)
        await hanging(tmp_path)
        await anyio.sleep(0.1)  # past the timeout: what is being committed is no attempt any more
        (tmp_path / "release").touch()
    assert draft.item.has_output("obedient")
