"""An event loop whose clock jumps: what waits for a time has waited."""

import asyncio
import selectors
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeVar

import anyio

T = TypeVar("T")


TICK = 1e-6
"""Seconds that pass with every look, unless others are said: code that waits for a little more than
nothing would wait for ever if time stood still."""


class _JumpingSelector(selectors.DefaultSelector):
    """Where nothing is ready it does not wait for `timeout` seconds: so much time has passed."""

    def __init__(self, tick: float) -> None:
        super().__init__()
        self.now = 0.0
        self._tick = tick

    def select(self, timeout: float | None = None) -> Any:
        if timeout is None:  # another thread has to wake the loop
            return super().select(None)
        ready = super().select(0)
        self.now += self._tick if ready else max(timeout, self._tick)
        return ready


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """Begins at 0 seconds. For code that waits for the loop's clock alone: while a thread or a
    process is at work, time would fly."""

    def __init__(self, tick: float = TICK) -> None:
        self._jumping = _JumpingSelector(tick)
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now


BACKEND = ("asyncio", {"loop_factory": VirtualTimeLoop})
"""For the `anyio_backend` of tests that are coroutines."""


def run_in_virtual_time(main: Callable[[], Awaitable[T]], tick: float = TICK) -> T:
    """`anyio.run`, whose clock begins at 0 seconds."""
    factory = partial(VirtualTimeLoop, tick)
    return anyio.run(main, backend="asyncio", backend_options={"loop_factory": factory})
