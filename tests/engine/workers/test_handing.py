"""Handing over parts from the loop, a thread and a process: one by one, each taken or gone."""

import errno
import os
import re
import shutil
import signal
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio import wait_all_tasks_blocked

from engine import Cancelled, Ending, Item, Parts, Permanent, Stage, Transient, checkpoint, deadline
from engine.contract.errors import Fault, StopRun, Withdrawn
from engine.contract.parts import MadePart, Positions
from engine.ledger.outputs.drafts import Draft, FolderOutputs
from engine.ledger.outputs.folders import output_mark
from engine.ledger.outputs.mark import content_of
from engine.workers.base import StageFactory, Worker
from engine.workers.loop import LoopWorker
from engine.workers.process import ProcessWorker
from engine.workers.result import Result
from engine.workers.thread import ThreadWorker
from tests.engine.toys import engine_threads, leftovers, note, until

pytestmark = pytest.mark.anyio

KINDS = ["loop", "thread", "process"]

TIMEOUT = 0.6


@pytest.fixture(autouse=True)
def short_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.workers.thread.GRACE", 0.2)


class Slicer(Stage):
    """Does what the words of its item's source say; any that is none of these makes a part.

    reuse, again   ask whether the next part stands; begin at 0 again
    expect         say that 7 parts are expected
    return         return something
    swallow        from here on, go on whatever is raised
    open           begin a part, and begin the next one before it ends
    """

    def split(self, item: Item, out: Path, parts: Parts) -> Any:
        (out / "whole").write_text(item.source)
        words = item.source.split()
        for word in words:
            with suppress(*([Exception] if "swallow" in words else [])):
                if word in SIMPLE:
                    SIMPLE[word](self, parts)
                else:
                    self.seen("begun", parts.position)
                    with parts.make({"word": word}) as folder:
                        self.inside(word, folder, parts)
        return 7 if "return" in words else None

    def inside(self, word: str, folder: Path, parts: Parts) -> None:
        (folder / "frames").mkdir()
        (folder / "frames" / "0").write_text(f"{word} {parts.position}")
        if word == "raise":
            raise Permanent("it is damaged here")
        if word == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if word == "open":
            with parts.make() as _:
                pass
        if word == "hang":
            self.seen("hanging", 0)
            while not (self.workdir / "release").exists():
                threading.Event().wait(0.005)
        if word == "patient":
            while True:
                checkpoint()
                threading.Event().wait(0.005)

    def seen(self, what: str, position: int) -> None:
        note(self.workdir / what, str(position))


SIMPLE: dict[str, Callable[[Slicer, Parts], Any]] = {
    "reuse": lambda self, parts: note(self.workdir / "stood", str(parts.reuse())),
    "again": lambda self, parts: parts.begin_again(),
    "expect": lambda self, parts: parts.expect(7),
    "return": lambda self, parts: None,
    "swallow": lambda self, parts: None,
}


class LoopSlicer(Slicer):
    """The same on the loop."""

    async def split(self, item: Item, out: Path, parts: Parts) -> Any:
        (out / "whole").write_text(item.source)
        words = item.source.split()
        for word in words:
            with suppress(*([Exception] if "swallow" in words else [])):
                if word in SIMPLE:
                    SIMPLE[word](self, parts)
                elif word == "with":
                    with parts.make():
                        pass
                else:
                    self.seen("begun", parts.position)
                    async with parts.make({"word": word}) as folder:
                        if word in ("hang", "patient"):
                            await anyio.sleep_forever()
                        self.inside(word, folder, parts)
        return 7 if "return" in words else None


class Hands:
    """The run's side: takes parts, as a run does, unless `answer` raises or waits."""

    def __init__(self, item: Item, standing: Positions, answer: Callable[[int], Any]) -> None:
        self.standing = standing
        self.item = item
        self.taken: list[tuple[int, str, str]] = []
        self.expected: list[tuple[int, int]] = []
        self.asked = anyio.Event()
        self.thread = threading.get_ident()
        self._answer = answer

    async def hand_over(self, part: MadePart, content: str) -> None:
        assert threading.get_ident() == self.thread, "it belongs on the loop"
        self.asked.set()
        await self._answer(part.position)
        assert content == content_of(part.folder, part.parameters.text)
        text = (part.folder / "frames" / "0").read_text()
        self.taken.append((part.position, part.parameters["word"], text))
        folder = self.item.part("slicer", part.position).folder / str(len(self.taken))
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copytree(part.folder, folder, dirs_exist_ok=True)
        shutil.rmtree(part.folder)

    def expect(self, count: int) -> None:
        assert threading.get_ident() == self.thread, "it belongs on the loop"
        self.expected.append((len(self.taken), count))


async def at_once(position: int) -> None:
    await anyio.lowlevel.checkpoint()


class Bench:
    """A worker of a slicer, and what its attempts hand over."""

    def __init__(self, kind: str, workdir: Path) -> None:
        self.kind = kind
        self.workdir = workdir
        self.hands: Hands | None = None

    @asynccontextmanager
    async def worker(self, within: float = 60) -> AsyncIterator[Worker]:
        stage = LoopSlicer if self.kind == "loop" else Slicer
        factory = StageFactory(stage, stage.Settings(), self.workdir, "slicer")
        made: Worker
        if self.kind == "loop":
            made = LoopWorker(factory(), within)
        elif self.kind == "process":
            made = ProcessWorker(factory, within)
        else:
            made = ThreadWorker(factory, within, "penstock-test")
        try:
            await made.open()
            yield made
        finally:
            await made.close()

    def draft(
        self,
        source: str,
        answer: Callable[[int], Any] = at_once,
        standing: Positions | None = None,
    ) -> Draft:
        item = Item.at(self.workdir, source, "item")
        self.hands = Hands(item, standing or Positions(), answer)
        return Draft(FolderOutputs(synced=False), item, "slicer", "print", handing=self.hands)

    async def attempt(
        self, source: str, answer: Callable[[int], Any] = at_once, *standing: int
    ) -> Result:
        async with self.worker() as worker:
            return await worker.process(self.draft(source, answer, Positions(standing)))

    @property
    def taken(self) -> list[tuple[int, str, str]]:
        assert self.hands is not None
        return self.hands.taken

    def seen(self, what: str) -> list[str]:
        file = self.workdir / what
        return file.read_text().split() if file.exists() else []


@pytest.fixture(params=KINDS)
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Bench:
    return Bench(request.param, tmp_path)


def ending_of(result: Result) -> Ending:
    assert result.ending is not None
    return result.ending


async def test_parts_are_handed_over_in_order_and_counted(bench: Bench) -> None:
    result = await bench.attempt("a b c")
    assert result == Result(parts=3)
    assert bench.taken == [(0, "a", "a 0"), (1, "b", "b 1"), (2, "c", "c 2")]
    mark = output_mark(Item.at(bench.workdir, "", "item"), "slicer")
    assert mark is not None
    assert (mark.parts, dict(mark.sizes)) == (3, {"whole": 5})
    assert leftovers(bench.workdir) == []


async def test_the_next_part_is_not_begun_before_the_last_one_is_taken(bench: Bench) -> None:
    begun = []

    async def slowly(position: int) -> None:
        await wait_all_tasks_blocked()
        begun.append(bench.seen("begun"))

    await bench.attempt("a b c", slowly)
    assert begun == [["0"], ["0", "1"], ["0", "1", "2"]]


async def test_what_stands_need_not_be_made_unless_the_stage_begins_again(bench: Bench) -> None:
    async with bench.worker() as worker:
        draft = bench.draft("reuse a reuse reuse b", standing=Positions([0, 2]))
        assert await worker.process(draft) == Result(parts=4)
        assert bench.seen("stood") == ["True", "True", "False"]
        assert bench.taken == [(1, "a", "a 1"), (3, "b", "b 3")]

        draft = bench.draft("reuse a again reuse b", standing=Positions([0]))
        assert await worker.process(draft) == Result(parts=1)
        assert bench.seen("stood")[3:] == ["True", "False"]
        assert bench.taken == [(1, "a", "a 1"), (0, "b", "b 0")]

        assert await worker.process(bench.draft("reuse")) == Result(parts=0)
        assert bench.taken == []


async def test_how_many_parts_are_expected_is_told_before_the_next_one(bench: Bench) -> None:
    assert await bench.attempt("expect a b expect c") == Result(parts=3)
    assert bench.hands is not None
    assert bench.hands.expected == [(0, 7), (2, 7)]


# What goes wrong


def raising(error: Exception) -> Callable[[int], Any]:
    async def answer(position: int) -> None:
        if position == 1:
            raise error

    return answer


async def test_no_part_is_made_once_none_is_wanted(bench: Bench) -> None:
    error = Withdrawn("the item has failed")
    async with bench.worker() as worker:
        for more in ("", " swallow"):
            ending = ending_of(await worker.process(bench.draft(f"a b c d{more}", raising(error))))
            assert isinstance(ending, Withdrawn)
            assert ending.reason == "the item has failed"
            assert [position for position, *_ in bench.taken] == [0]
            assert leftovers(bench.workdir) == []
    assert not Item.at(bench.workdir, "", "item").has_output("slicer")


ERRORS: list[tuple[Exception, type[Exception], str]] = [
    (Transient("later", kind="slow"), Transient, "later"),
    (OSError(errno.EIO, "it is broken", "disk"), Fault, r"OSError: \[Errno 5\] it is broken"),
    (OSError(errno.ENOSPC, "no space", "disk"), StopRun, "the disk is full while writing disk"),
    (StopRun("enough"), StopRun, "enough"),
    (ValueError("a bug"), Fault, "ValueError: a bug"),
]


async def test_what_the_run_raises_is_raised_in_the_stage(bench: Bench) -> None:
    async with bench.worker() as worker:
        for error, kind, text in ERRORS:
            result = await worker.process(bench.draft("a b swallow c", raising(error)))
            told = result.ending or result.stop
            assert type(told) is kind
            assert re.search(text, str(told))
            slow = "slow" if kind is Transient else "unexpected"
            assert result.ending is None or result.ending.kind == slow
            assert leftovers(bench.workdir) == []


async def test_a_part_whose_block_raises_leaves_nothing(bench: Bench) -> None:
    async with bench.worker() as worker:
        ending = ending_of(await worker.process(bench.draft("a raise")))
        assert ending.reason == "it is damaged here"
        assert [position for position, *_ in bench.taken] == [0]
        assert leftovers(bench.workdir) == []

        assert await worker.process(bench.draft("raise b swallow")) == Result(parts=1)
        assert bench.taken == [(0, "b", "b 0")], "the stage went on"
        assert leftovers(bench.workdir) == []


async def test_a_stage_that_splits_wrongly_is_told(bench: Bench) -> None:
    async with bench.worker() as worker:
        for source, reason in (
            ("a return", "TypeError: split() returned 7; it returns None"),
            ("a open", "RuntimeError: part 1 was begun before the block of the one before it had"),
        ):
            ending = ending_of(await worker.process(bench.draft(source)))
            assert ending.kind == "unexpected"
            assert ending.reason.startswith(reason)
            assert leftovers(bench.workdir) == []


async def test_an_async_stage_needs_an_async_block(tmp_path: Path) -> None:
    bench = Bench("loop", tmp_path)
    ending = ending_of(await bench.attempt("with"))
    assert "`async def split` makes its parts with `async with`" in ending.reason
    assert leftovers(tmp_path) == []


async def test_a_process_that_dies_in_the_middle_of_a_part_leaves_nothing(tmp_path: Path) -> None:
    bench = Bench("process", tmp_path)
    ending = ending_of(await bench.attempt("a die"))
    assert ending.kind == "crashed"
    assert [position for position, *_ in bench.taken] == [0]
    assert leftovers(tmp_path) == []


# Time


@pytest.mark.alone
async def test_the_time_limit_stands_still_while_a_part_is_taken(bench: Bench) -> None:
    async def slowly(position: int) -> None:
        await anyio.sleep(TIMEOUT + 0.1)

    async with bench.worker(TIMEOUT) as worker:
        result = await worker.process(bench.draft("a", slowly))
        assert result == Result(parts=1)
        assert result.processor is None or result.processor.used < TIMEOUT / 2, "waiting costs none"

        ending = ending_of(await worker.process(bench.draft("a patient")))
        assert ending.kind == "timeout"
        assert [position for position, *_ in bench.taken] == [0]
        assert leftovers(bench.workdir) == []


class Hasty(Slicer):
    """Has a deadline of its own."""

    def split(self, item: Item, out: Path, parts: Parts) -> None:
        with deadline(TIMEOUT, Transient("it was slow", kind="slow")):
            super().split(item, out, parts)
            checkpoint()


@pytest.mark.alone
@pytest.mark.parametrize("kind", ["thread", "process"])
async def test_a_deadline_of_the_stage_stands_still_too(kind: str, tmp_path: Path) -> None:
    async def slowly(position: int) -> None:
        await anyio.sleep(TIMEOUT + 1.1)  # SLACK is 1

    factory = StageFactory(Hasty, Hasty.Settings(), tmp_path, "slicer")
    worker = ThreadWorker(factory, 60, "t") if kind == "thread" else ProcessWorker(factory, 60)
    try:
        await worker.open()
        assert await worker.process(Bench(kind, tmp_path).draft("a", slowly)) == Result(parts=1)
    finally:
        await worker.close()


async def test_a_thread_that_hangs_in_a_part_leaves_nothing(tmp_path: Path) -> None:
    bench = Bench("thread", tmp_path)
    async with bench.worker(TIMEOUT) as worker:
        ending = ending_of(await worker.process(bench.draft("a hang b")))
        assert ending.kind == "timeout"
        assert worker.broken
        assert leftovers(tmp_path) == []
    (tmp_path / "release").touch()
    assert engine_threads() == []
    assert leftovers(tmp_path) == []
    assert [position for position, *_ in bench.taken] == [0]
    assert bench.seen("begun") == ["0", "1"]


@pytest.mark.alone
async def test_who_waits_is_released_when_the_run_is_cancelled(bench: Bench) -> None:
    async def never(position: int) -> None:
        await anyio.sleep_forever()

    async with anyio.create_task_group() as tasks:

        async def serve() -> None:
            async with bench.worker() as worker:
                await worker.process(bench.draft("a b swallow", never))

        tasks.start_soon(serve)
        await until(lambda: bench.hands)
        assert bench.hands is not None
        await bench.hands.asked.wait()
        began = anyio.current_time()
        tasks.cancel_scope.cancel()
    assert anyio.current_time() - began < 2
    assert engine_threads() == []
    assert bench.taken == []
    assert leftovers(bench.workdir) == []


class Witness(Slicer):
    """Says what it is told when it is not wanted any more."""

    def split(self, item: Item, out: Path, parts: Parts) -> None:
        try:
            super().split(item, out, parts)
        except Cancelled:
            note(self.workdir / "told", "cancelled")
            raise


async def test_a_thread_that_waits_is_told_that_it_is_cancelled(tmp_path: Path) -> None:
    waiting = anyio.Event()

    async def never(position: int) -> None:
        waiting.set()
        await anyio.sleep_forever()

    worker = ThreadWorker(StageFactory(Witness, Witness.Settings(), tmp_path), 60, "penstock-test")
    async with anyio.create_task_group() as tasks:

        async def serve() -> None:
            try:
                await worker.open()
                await worker.process(Bench("thread", tmp_path).draft("a", never))
            finally:
                await worker.close()

        tasks.start_soon(serve)
        await waiting.wait()
        tasks.cancel_scope.cancel()
    assert engine_threads() == []
    assert (tmp_path / "told").read_text() == "cancelled\n"
