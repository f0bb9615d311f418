"""The event loop of the run, for what a stage or a finish does in a thread."""

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError, wait
from contextvars import ContextVar
from typing import Any, TypeVar

import anyio

from engine.contract.stage import Cancelled

T = TypeVar("T")

LOOK_AGAIN = 1.0
"""Seconds after which it is looked whether the loop is still there."""

run_loop: ContextVar[asyncio.AbstractEventLoop | None] = ContextVar("run_loop", default=None)
"""Set in the threads of stages and finishes."""


def has_run_loop() -> bool:
    """Whether `on_run_loop` has the run's event loop here: not in a process of a stage's own, nor
    outside of a run."""
    return run_loop.get() is not None


def on_run_loop(function: Callable[..., Coroutine[Any, Any, T]], *arguments: Any) -> T:
    """Await `function(*arguments)` on the run's event loop, from a thread of a stage or a finish;
    where there is none, on a loop that lasts as long as the call.

    For what the steps of a run share on its loop, such as the gate of a paid server. It blocks, and
    raises what the function raises; Cancelled where the run ends meanwhile. A thread that a stage
    starts has the loop with a copy of the context (`contextvars.copy_context`).
    """
    loop = run_loop.get()
    if loop is None:
        return anyio.run(function, *arguments)
    called = function(*arguments)
    try:
        future = asyncio.run_coroutine_threadsafe(called, loop)
    except RuntimeError:  # the loop is closed
        called.close()
        raise Cancelled("the run has ended") from None
    # A loop that closes just now may never come to it.
    while not wait([future], LOOK_AGAIN).done:
        if loop.is_closed():
            called.close()
            raise Cancelled("the run has ended")
    try:
        return future.result()
    except CancelledError:
        raise Cancelled("the run has ended") from None
