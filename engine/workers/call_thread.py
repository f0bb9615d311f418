"""A thread that runs calls one after the other; the event loop awaits their results.

Unlike a borrowed thread of a pool, it can be given up: it is a daemon, so a hung thread delays
neither the run nor the end of the process.
"""

import asyncio
import queue
import threading
from collections.abc import Callable
from typing import Any, Generic, TypeVar, cast
from weakref import WeakSet

from engine.contract.ownership import Asked, ownership
from engine.contract.run_loop import run_loop
from engine.ledger.bell import bell

T = TypeVar("T")


class Call(Generic[T]):
    """A call under way in a thread."""

    def __init__(self, function: Callable[..., T], arguments: tuple[Any, ...]) -> None:
        self._function = function
        self._arguments = arguments
        self._value: T | None = None
        self._error: BaseException | None = None
        self.ended = False
        """Whether `end` was called."""
        self._waiting: asyncio.Future[None] | None = None
        self._listener: Callable[[], object] | None = None

    def run(self) -> None:
        """Run the call, in the thread. Then `end` is called, on the loop."""
        try:
            self._value = self._function(*self._arguments)
        except BaseException as error:  # raised where the call is awaited
            self._error = error

    def end(self) -> None:
        self.ended = True
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)
        if self._listener is not None:
            self._listener()

    def when_ended(self, listener: Callable[[], object]) -> None:
        """Have `listener`, one at most, called on the loop when the call has ended; at once if it
        has."""
        self._listener = listener
        if self.ended:
            listener()

    async def result(self) -> T:
        """Wait for the call, one task at a time; returns or raises its result. A task that was
        cancelled while waiting may wait again."""
        if not self.ended:
            self._waiting = asyncio.get_running_loop().create_future()
            await self._waiting
        if isinstance(self._error, Exception):
            raise self._error
        if self._error is not None:  # sys.exit() in a stage's code must not end the run
            raise RuntimeError(f"it raised {self._error!r}") from self._error
        return cast(T, self._value)


_started: WeakSet[threading.Thread] = WeakSet()


def is_any_left(patience: float = 0.5) -> bool:
    """Whether a thread of a `CallThread` still runs, after up to `patience` seconds for each to
    end.

    For the end of the process: Python would end such a thread in the middle of its call, and C++
    code (a model that loads) would then abort the process with SIGABRT.
    """
    for thread in list(_started):
        thread.join(patience)
    return any(thread.is_alive() for thread in _started)


class CallThread:
    """Runs its calls in one thread, in order. The first call starts the thread."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._calls: queue.SimpleQueue[Call[Any] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._bell = bell()
        self._loop = asyncio.get_running_loop()
        self._asked: Asked | None = None

    def begin(self, function: Callable[..., T], *arguments: Any) -> Call[T]:
        """Have `function(*arguments)` run in the thread. It runs even if
        the caller is cancelled."""
        if self._thread is None:
            self._asked = ownership.get()
            self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            _started.add(self._thread)
            self._thread.start()
        call = Call(function, arguments)
        self._calls.put(call)
        return call

    async def call(self, function: Callable[..., T], *arguments: Any) -> T:
        """Run `function(*arguments)` in the thread; returns or raises its result.

        If the awaiting task is cancelled the call itself goes on, and its result is lost.
        """
        return await self.begin(function, *arguments).result()

    def close(self) -> None:
        """End the thread once the calls made so far have ended. Does not wait for it."""
        self._calls.put(None)

    def _run(self) -> None:
        run_loop.set(self._loop)
        ownership.set(self._asked)
        while (call := self._calls.get()) is not None:
            call.run()
            self._bell.ring(call.end)
