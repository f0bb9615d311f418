"""A thread that runs calls one after the other and is awaited from the event loop.

Unlike a borrowed thread of a pool, it can be given up: it is a daemon, so one that hangs delays
neither the run nor the end of the process.
"""

import asyncio
import queue
import threading
from collections.abc import Callable
from typing import Any, Generic, TypeVar, cast

import anyio

T = TypeVar("T")


class _Call(Generic[T]):
    def __init__(self, function: Callable[..., T], arguments: tuple[Any, ...]) -> None:
        self.function = function
        self.arguments = arguments
        self.loop = asyncio.get_running_loop()
        self.ended = anyio.Event()
        self.value: T | None = None
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            self.value = self.function(*self.arguments)
        except BaseException as error:  # handed to whoever awaits the call
            self.error = error
        try:
            self.loop.call_soon_threadsafe(self.ended.set)
        except RuntimeError:
            return  # the loop has closed: the call had been given up


class CallThread:
    """Calls made here run in one thread, in order. Started by the first call."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._calls: queue.SimpleQueue[_Call[Any] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    async def call(self, function: Callable[..., T], *arguments: Any) -> T:
        """Run `function(*arguments)` in the thread; returns or raises what it does.

        When the awaiting task is cancelled the call itself goes on, and nobody hears of its end.
        """
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            self._thread.start()
        call = _Call(function, arguments)
        self._calls.put(call)
        await call.ended.wait()
        if isinstance(call.error, Exception):
            raise call.error
        if call.error is not None:  # sys.exit() in a stage's code is not ours to obey
            raise RuntimeError(f"it raised {call.error!r}") from call.error
        return cast(T, call.value)

    def close(self) -> None:
        """End the thread once the calls made so far have ended. Does not wait for it."""
        self._calls.put(None)

    def _run(self) -> None:
        while (call := self._calls.get()) is not None:
            call.run()
