"""How the parts of a splitting stage get from its code to the run, wherever that code runs.

Each worker has a `PartsTaker` of its own: `ThreadTaker` here, `LoopTaker` here, `PipeTaker` in
workers/process_child.py. What they have in common is `FolderTaker`.
"""

import asyncio
import threading
import time
from abc import abstractmethod
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from anyio import to_thread

from engine.contract.deadline import postpone_deadlines
from engine.contract.item import Item
from engine.contract.parts import MadePart, Parts, PartsTaker, Positions
from engine.contract.stage import Cancellation, Cancelled, Stage
from engine.ledger.bell import bell
from engine.ledger.outputs.drafts import Handing
from engine.ledger.outputs.folders import remove_scratch
from engine.ledger.outputs.mark import content_of
from engine.workers.call_thread import Call
from engine.workers.result import Result, result_of, result_of_split
from engine.workers.time_limit import TimeLimit

T = TypeVar("T")

PART = "-part"
"""The ending of a part's scratch folder: it stands beside the attempt's own, with its name."""


class FolderTaker(PartsTaker):
    """Keeps the scratch folder of the part in the making, and the error that ended the handing
    over: a stage that goes on all the same gets it again, and its attempt ends with it."""

    def __init__(self, out: Path) -> None:
        """`out` is the scratch folder of the attempt."""
        self._out = out
        self._making: Path | None = None
        self._error: Exception | None = None

    def scratch(self, position: int) -> Path:
        self._check()
        if self._making is not None:
            raise RuntimeError(
                f"part {position} was begun before the block of the one before it had ended; make "
                "one part after the other"
            )
        self._making = _fresh_folder(self._out)
        return self._making

    def drop(self, folder: Path) -> None:
        self._making = None
        remove_scratch(folder)

    def take(self, part: MadePart) -> None:
        with self._taking(part):
            content = content_of(part.folder, part.parameters.text)
            began = time.monotonic()
            self._hand_over(part, content)
            postpone_deadlines(time.monotonic() - began)

    async def atake(self, part: MadePart) -> None:
        with self._taking(part):
            raise TypeError("a `def split` makes its parts with `with`, not with `async with`")

    @abstractmethod
    def _hand_over(self, part: MadePart, content: str) -> None:
        """Have the run take the part, and wait until it has. Raises its exceptions."""

    @abstractmethod
    def expect(self, count: int) -> None: ...

    def outcome(self, result: Result) -> Result:
        """The result of the attempt, once the stage's code has ended with `result`."""
        if self._making is not None:
            self.drop(self._making)
            if result.ending is None and result.stop is None:
                return result_of(RuntimeError("split() returned before the block of its last part"))
        return result if self._error is None else result_of(self._error)

    @contextmanager
    def _taking(self, part: MadePart) -> Iterator[None]:
        """Remove the part's folder if it is not taken, and keep the reason."""
        try:
            self._check()
            yield
        except BaseException as error:
            remove_scratch(part.folder)
            if isinstance(error, Exception):
                self._error = error
            raise
        finally:
            self._making = None

    def _check(self) -> None:
        """Raise if no further part can be taken."""
        if self._error is not None:
            raise self._error


class Relay:
    """Where a worker's thread and its task on the loop meet: the thread asks and waits, the task
    hands over. Made on the loop."""

    def __init__(self, handing: Handing, attempt: Cancellation) -> None:
        self.handing = handing
        self._attempt = attempt
        self._closed = False
        self._bell = bell()
        self._news = asyncio.Event()
        self._lock = threading.Lock()
        self._asked: tuple[MadePart, str, Future[None]] | None = None

    def ask(self, part: MadePart, content: str) -> None:
        """Have the part handed over, and wait for it, in the thread. Raises what `hand_over`
        raises, and Cancelled once nobody answers any more."""
        answer: Future[None] = Future()
        with self._lock:
            self.check()
            self._asked = part, content, answer
        self._bell.ring(self._news.set)
        answer.result()

    def expect(self, count: int) -> None:
        """Have the expected number of parts told, in the thread; does not wait."""

        def tell() -> None:
            if not self._closed:  # else the item may have ended
                self.handing.expect(count)

        self._bell.ring(tell)

    def check(self) -> None:
        """Raise Cancelled once nobody answers any more."""
        if self._closed:
            raise _given_up()

    async def result(self, call: Call[T], limit: TimeLimit) -> T:
        """Wait for the call, and hand over what it asks for; returns or raises its result. However
        this ends, no thread waits for an answer then, or will."""
        call.when_ended(self._news.set)
        try:
            while True:
                await self._news.wait()
                self._news.clear()
                if self._asked is not None:
                    await self._answer(*self._asked, limit)
                if call.ended:
                    return await call.result()
        finally:
            self._close()

    async def _answer(
        self, part: MadePart, content: str, answer: "Future[None]", limit: TimeLimit
    ) -> None:
        error: Exception | None = None
        try:
            with limit.paused():
                await self.handing.hand_over(part, content)
        except Exception as raised:  # raised in the stage's code
            error = raised
        self._asked = None
        if error is None:
            answer.set_result(None)
        else:
            answer.set_exception(error)

    def _close(self) -> None:
        self._attempt.request()  # first: else the thread could end the attempt with what it gets
        with self._lock:
            self._closed = True
        if self._asked is not None:
            *_, answer = self._asked
            answer.set_exception(_given_up())


class ThreadTaker(FolderTaker):
    """Asks the worker's task. Made in the worker's thread."""

    def __init__(self, out: Path, relay: Relay) -> None:
        super().__init__(out)
        self._relay = relay

    def scratch(self, position: int) -> Path:
        folder = super().scratch(position)
        try:
            self._relay.check()  # the task may have removed folders before this one was there
        except Cancelled:
            self.drop(folder)
            raise
        return folder

    def _check(self) -> None:
        super()._check()
        self._relay.check()

    def _hand_over(self, part: MadePart, content: str) -> None:
        self._relay.ask(part, content)

    def expect(self, count: int) -> None:
        self._relay.expect(count)


class LoopTaker(FolderTaker):
    """Hands over in the task of the stage itself."""

    def __init__(self, out: Path, handing: Handing, limit: TimeLimit) -> None:
        super().__init__(out)
        self._handing = handing
        self._limit = limit

    async def atake(self, part: MadePart) -> None:
        with self._taking(part):
            content = await to_thread.run_sync(content_of, part.folder, part.parameters.text)
            began = time.monotonic()
            with self._limit.paused():
                await self._handing.hand_over(part, content)
            postpone_deadlines(time.monotonic() - began)

    def _hand_over(self, part: MadePart, content: str) -> None:
        raise TypeError("an `async def split` makes its parts with `async with`, not with `with`")

    def expect(self, count: int) -> None:
        self._handing.expect(count)


def split(stage: Stage, item: Item, out: Path, standing: Positions, taker: FolderTaker) -> Result:
    """Run the `def split` of a stage in this thread."""
    parts = Parts(taker, standing)
    try:
        result = result_of_split(stage.split(item, out, parts), parts.position)
    except BaseException as error:
        result = result_of(error)
    return taker.outcome(result)


def _given_up() -> Cancelled:
    return Cancelled("the attempt was given up")


def remove_part_folders(out: Path) -> None:
    """Delete the scratch folder of the part that an attempt was making when its code was left or
    killed; `out` is the attempt's own. Does not raise."""
    for folder in _found(out.parent, out.name + PART):
        remove_scratch(folder)


def _found(folder: Path, prefix: str) -> list[Path]:
    try:
        return [one for one in folder.iterdir() if one.name.startswith(prefix)]
    except OSError:
        return []


def _fresh_folder(out: Path) -> Path:
    """An empty folder for a part. The name is that of the part before, which is gone: from a small
    set, as `hidden_name` says."""
    folder = out.with_name(out.name + PART)
    while True:
        try:
            folder.mkdir()
        except FileExistsError:  # a killed run left one that could not be deleted
            folder = folder.with_name(folder.name + "+")
        else:
            return folder
