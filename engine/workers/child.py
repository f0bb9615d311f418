"""The run's side of a process that holds a stage: it starts the process, asks it, kills it.

Both sides exchange pickled messages, each after its length in eight bytes, over the child's stdin
and stdout; the stage's own prints go to stderr. Each request gets one reply. Any number of other
messages may come before it: log records of the stage, its current deadline, paid requests, the
expected number of parts; and parts to hand over, and the question whose an item is, for each of
which the process then waits for the answer: "handed", with the error if there was one, or "told".
"""

import logging
import math
import pickle
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import anyio
from anyio import to_thread

from engine.contract.errors import Ending, PenstockError
from engine.contract.ownership import ownership
from engine.contract.paid import note_paid_request
from engine.contract.parts import MadePart
from engine.ledger.outputs.drafts import Handing
from engine.workers.base import StageFactory, StageOpenError
from engine.workers.import_path import import_path, importable
from engine.workers.packing import (
    PackedError,
    pack_error,
    pack_settings,
    unpack_ending,
    unpack_refusal,
)
from engine.workers.result import gave_up
from engine.workers.transport import LocalProcess, Transport

SLACK = 1.0
"""Seconds after a deadline in which the stage itself may still report the miss."""


class WorkerDiedError(PenstockError):
    """The process ended in the middle of a call."""


class OverdueError(PenstockError):
    """The process took too long and was killed; `ending` is how the attempt ended."""

    def __init__(self, ending: Ending) -> None:
        super().__init__(ending.reason)
        self.ending = ending


Launch = Callable[[StageFactory, Sequence[str]], Awaitable[Transport]]
"""Starts a process for the stage of a factory, which imports from the folders of a `sys.path`."""


async def launch_here(factory: StageFactory, path: Sequence[str]) -> Transport:
    """A process on this machine."""
    return await LocalProcess.start(factory.name, path)


class Child:
    """One process, for one request at a time. If nobody waits for a reply any more, the process is
    killed: the late reply would be taken for that of the next request."""

    def __init__(self, process: Transport) -> None:
        self._process = process
        self.killed = False

    @classmethod
    async def start(
        cls, factory: StageFactory, found_path: Sequence[str], launch: Launch = launch_here
    ) -> "Child":
        """Start a process and open its stage. Raises what `open` raises, and WorkerDiedError.

        `found_path` is this process's `sys.path`, read when nothing was being imported."""
        stage = factory.stage
        name = importable(stage)
        path = import_path(found_path, stage.__module__, "engine")
        child = cls(await launch(factory, path))
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
                    if word == "paid":
                        note_paid_request()
                        continue
                    if word == "whose":
                        await self._send(("told", await _whose(*value)))
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
        await self._process.send(pickle.dumps(message))

    async def _receive(self) -> Any:
        return pickle.loads(await self._process.receive())

    def kill(self) -> None:
        """Kill the process and the processes that the stage has started."""
        self.killed = True
        self._process.kill()

    async def is_alive(self) -> bool:
        """Whether the process is there, where nothing is asked of it."""
        return not self.killed and await self._process.is_alive()

    async def close(self) -> None:
        """Have the process close its stage and end; kill it after GRACE seconds."""
        await self._process.close()

    async def _obituary(self) -> str:
        text = await self._process.obituary()
        self.killed = True
        return text


async def _whose(item: str, surely: bool) -> bool | None:
    asked = ownership.get()
    return True if asked is None else await to_thread.run_sync(asked, item, surely)


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
