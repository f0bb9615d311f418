"""The run's side of a process that holds a stage: it starts the process, asks it, kills it.

Both sides exchange pickled messages, each after its length in eight bytes, over the child's stdin
and stdout; the stage's own prints go to stderr. Each request gets one reply. Any number of other
messages may come before it: log records of the stage, its current deadline, the expected number of
parts, and parts to hand over, each of which the process then waits for: "handed", with the error if
there was one.
"""

import logging
import math
import os
import pickle
import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import anyio
from anyio import to_thread
from anyio.abc import Process
from anyio.streams.buffered import BufferedByteReceiveStream

from engine.contract.errors import Ending, PenstockError
from engine.contract.parts import MadePart
from engine.ledger.outputs.drafts import Handing
from engine.telemetry.children import forget_child, note_child
from engine.workers.base import GRACE, StageFactory, StageOpenError
from engine.workers.import_path import import_path, importable
from engine.workers.packing import (
    PackedError,
    pack_error,
    pack_settings,
    unpack_ending,
    unpack_refusal,
)
from engine.workers.result import gave_up

HEADER = 8
"""Bytes that hold the length of a message."""

SLACK = 1.0
"""Seconds after a deadline in which the stage itself may still report the miss."""

_START = (
    "import sys; folder = sys.argv[1]; sys.path[:] = sys.argv[2:]; del sys.argv[1:]; "
    "from engine.workers.process_child import main; main(folder)"
)


class WorkerDiedError(PenstockError):
    """The process ended in the middle of a call."""


class OverdueError(PenstockError):
    """The process took too long and was killed; `ending` is how the attempt ended."""

    def __init__(self, ending: Ending) -> None:
        super().__init__(ending.reason)
        self.ending = ending


class Child:
    """One process, for one request at a time. If nobody waits for a reply any more, the process is
    killed: the late reply would be taken for that of the next request."""

    def __init__(self, process: Process, stage: str, folder: str) -> None:
        """`folder` holds the process's temporary files, and is removed with the process."""
        assert process.stdout is not None
        self._process = process
        self._folder = folder
        self._replies = BufferedByteReceiveStream(process.stdout)
        self.killed = False
        note_child(process.pid, stage)

    @classmethod
    async def start(cls, factory: StageFactory, found_path: Sequence[str]) -> "Child":
        """Start a process and open its stage. Raises what `open` raises, and WorkerDiedError.

        `found_path` is this process's `sys.path`, read when nothing was being imported."""
        stage = factory.stage
        name = importable(stage)
        path = import_path(found_path, stage.__module__, "engine")
        folder = tempfile.mkdtemp(prefix="penstock-")
        # A session of its own, so that Ctrl-C reaches only the run, which lets the child finish.
        process = await anyio.open_process(
            [sys.executable, "-P", "-c", _START, folder, *path],
            stderr=None,
            # Without it the new process reads C's own list of variables, which libraries change
            # from their threads (OpenMP does when a model first computes). What they have just
            # freed makes the start fail: "[Errno 14] Bad address".
            env=os.environ.copy(),
            start_new_session=True,
        )
        child = cls(process, factory.name, folder)
        try:
            settings = pack_settings(factory.settings)
            error = await child.ask(
                "open",
                name,
                factory.name,
                settings,
                factory.workdir,
                factory.ingredients,
                _log_levels(),
            )
            if isinstance(error, tuple):
                raise unpack_refusal(error)
            if error is not None:
                raise StageOpenError(factory.name, RuntimeError(error))
        except BaseException:
            await child.close()
            raise
        return child

    async def ask(
        self, *message: Any, within: float = math.inf, handing: Handing | None = None
    ) -> Any:
        """Send a request and return the reply. Raises OverdueError after `within` seconds or past a
        deadline of the stage's own, and WorkerDiedError. Parts go to `handing`; its time does not
        count."""
        limit = anyio.current_time() + within
        missed: Ending = gave_up(within)
        try:
            with anyio.CancelScope(deadline=limit) as scope:
                await self._send(message)
                while True:
                    word, value = await self._receive()
                    if word == "reply":
                        return value
                    if word == "log":
                        _log(value)
                        continue
                    if word == "expect":
                        assert handing is not None
                        handing.expect(value)
                        continue
                    if word == "part":
                        assert handing is not None
                        due, began = scope.deadline, anyio.current_time()
                        scope.deadline = math.inf
                        await self._send(("handed", await _error_of(handing, *value)))
                        waited = anyio.current_time() - began
                        limit, scope.deadline = limit + waited, due + waited
                        continue
                    scope.deadline, missed = limit, gave_up(within)
                    if value is not None:
                        seconds, packed = value
                        own = anyio.current_time() + seconds + SLACK
                        if own < limit:
                            scope.deadline, missed = own, unpack_ending(packed)
        except (anyio.BrokenResourceError, anyio.IncompleteRead, anyio.EndOfStream):
            raise WorkerDiedError(await self._obituary()) from None
        except BaseException:
            self.kill()
            raise
        self.kill()
        raise OverdueError(missed)

    async def _send(self, message: tuple[Any, ...]) -> None:
        body = pickle.dumps(message)
        assert self._process.stdin is not None
        await self._process.stdin.send(len(body).to_bytes(HEADER) + body)

    async def _receive(self) -> Any:
        size = int.from_bytes(await self._replies.receive_exactly(HEADER))
        return pickle.loads(await self._replies.receive_exactly(size))

    def kill(self) -> None:
        """Kill the process and the processes that the stage has started."""
        self.killed = True
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    async def close(self) -> None:
        """Have the process close its stage and end; kill it after GRACE seconds."""
        with anyio.CancelScope(shield=True):
            with anyio.move_on_after(GRACE):
                assert self._process.stdin is not None
                await self._process.stdin.aclose()
                await self._process.wait()
            if self._process.returncode is None:
                self.kill()
            await self._process.aclose()
            forget_child(self._process.pid)
            await to_thread.run_sync(shutil.rmtree, self._folder, True)

    async def _obituary(self) -> str:
        with anyio.CancelScope(shield=True):
            with anyio.move_on_after(GRACE):
                await self._process.wait()
            self.kill()  # it may have closed its pipe without ending
            code = await self._process.wait()
        self.killed = True
        if code >= 0:
            return f"the worker process exited with code {code}"
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = "a signal"
        hint = "; the machine may be out of memory" if -code == signal.SIGKILL else ""
        return f"the worker process was killed by {name} ({-code}){hint}"


async def _error_of(handing: Handing, part: MadePart, content: str) -> PackedError | None:
    try:
        await handing.hand_over(part, content)
    except Exception as error:  # raised in the stage's code
        return pack_error(error)
    return None


def _log_levels() -> dict[str, int]:
    """The levels set in this process, by logger name; "" is the root."""
    levels = {"": logging.root.level}
    for name, logger in logging.root.manager.loggerDict.items():
        if isinstance(logger, logging.Logger) and logger.level != logging.NOTSET:
            levels[name] = logger.level
    return levels


def _log(record: logging.LogRecord) -> None:
    logger = logging.getLogger(record.name)
    if logger.isEnabledFor(record.levelno):
        logger.handle(record)
