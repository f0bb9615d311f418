"""An event loop whose clock jumps: what waits for a time has waited."""

import asyncio
import selectors
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import anyio

T = TypeVar("T")


TICK = 1e-6
"""Seconds that pass with every look: code that waits for a little more than nothing would wait for
ever if time stood still."""


class _JumpingSelector(selectors.DefaultSelector):
    """Where nothing is ready it does not wait for `timeout` seconds: so much time has passed."""

    now = 0.0

    def select(self, timeout: float | None = None) -> Any:
        if timeout is None:  # another thread has to wake the loop
            return super().select(None)
        ready = super().select(0)
        self.now += TICK if ready else max(timeout, TICK)
        return ready


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """Begins at 0 seconds. For code that waits for the loop's clock alone: while a thread or a
    process is at work, time would fly."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now


BACKEND = ("asyncio", {"loop_factory": VirtualTimeLoop})
"""For the `anyio_backend` of tests that are coroutines."""


def run_in_virtual_time(main: Callable[[], Awaitable[T]]) -> T:
    """`anyio.run`, whose clock begins at 0 seconds."""
    name, options = BACKEND
    return anyio.run(main, backend=name, backend_options=options)
