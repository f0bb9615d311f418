"""A worker that is a process: it survives a stage that crashes, and can kill one that hangs.

The child is `python -m engine.process_worker`. Both sides exchange pickled messages, each after
its length in eight bytes, over the child's stdin and stdout; what the stage itself prints goes to
stderr. When the parent dies its end of the pipe closes, and the child exits at once.
"""

import importlib
import os
import pickle
import queue
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import anyio
from anyio.abc import Process
from anyio.streams.buffered import BufferedByteReceiveStream

from engine.errors import Ending, Fault, PenstockError, StopRun
from engine.item import Item
from engine.processor_time import ProcessorTime, measured
from engine.result import Result, gave_up, result_of, result_of_return, results_of_batch
from engine.stage import Stage
from engine.worker import GRACE, SeparateWorker, StageFactory, StageOpenError

_HEADER = 8


class WorkerDiedError(PenstockError):
    """The process ended in the middle of a call."""


class ProcessWorker(SeparateWorker):
    """A process with an instance of the stage of its own."""

    def __init__(self, factory: StageFactory, timeout: float) -> None:
        super().__init__(timeout)
        self._factory = factory
        self._process: Process | None = None
        self._replies: BufferedByteReceiveStream | None = None

    async def open(self) -> None:
        # A session of its own: Ctrl-C on the terminal is for the run, which lets the child finish.
        self._process = await anyio.open_process(
            [sys.executable, "-m", "engine.process_worker"], stderr=None, start_new_session=True
        )
        assert self._process.stdout is not None
        self._replies = BufferedByteReceiveStream(self._process.stdout)
        stage = self._factory.stage
        name = (stage.__module__, stage.__qualname__)
        settings = self._factory.settings.model_dump_json()
        try:
            error = await self._ask("open", sys.path, name, settings, self._factory.workdir)
        except WorkerDiedError as died:
            raise StageOpenError(stage.name, died) from None
        if isinstance(error, PenstockError):
            raise error
        if error is not None:
            raise StageOpenError(stage.name, RuntimeError(error))

    async def _attempt(self, item: Item, out: Path) -> Result:
        with anyio.move_on_after(self.timeout) as scope:
            try:
                reply = await self._ask("process", item, out)
            except WorkerDiedError as died:
                self.broken = True
                return Result(ending=Fault(str(died), kind="crashed"))
            return _unpack(reply)
        assert scope.cancelled_caught
        self._kill()
        return Result(ending=gave_up(self.timeout))

    async def _attempt_batch(self, items: list[Item], outs: list[Path]) -> list[Result]:
        with anyio.move_on_after(self.timeout):
            try:
                reply = await self._ask("process_batch", items, outs)
            except WorkerDiedError:
                self.broken = True
                raise
            if isinstance(reply, tuple):  # what went wrong with the batch as a whole
                whole = _unpack(reply)
                raise whole.stop or whole.ending or WorkerDiedError("it ended with no reason")
            return [_unpack(one) for one in reply]
        self._kill()
        raise TimeoutError(f"gave up the batch after {self.timeout:g} seconds")

    async def close(self) -> None:
        if self._process is None:
            return
        with anyio.CancelScope(shield=True):
            with anyio.move_on_after(GRACE):
                assert self._process.stdin is not None
                await self._process.stdin.aclose()
                await self._process.wait()
            if self._process.returncode is None:
                self._kill()
            await self._process.aclose()

    def _kill(self) -> None:
        assert self._process is not None
        self.broken = True
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)  # and what the stage has started

    async def _ask(self, *message: Any) -> Any:
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._replies is not None
        body = pickle.dumps(message)
        try:
            await self._process.stdin.send(len(body).to_bytes(_HEADER) + body)
            size = int.from_bytes(await self._replies.receive_exactly(_HEADER))
            return pickle.loads(await self._replies.receive_exactly(size))
        except (anyio.BrokenResourceError, anyio.IncompleteRead, anyio.EndOfStream):
            raise WorkerDiedError(_obituary(await self._process.wait())) from None


Packed = tuple[str, Any, ProcessorTime | None]


def _obituary(code: int) -> str:
    if code >= 0:
        return f"the worker process exited with code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = "a signal"
    hint = "; the machine may be out of memory" if -code == signal.SIGKILL else ""
    return f"the worker process was killed by {name} ({-code}){hint}"


def _pack(result: Result) -> Packed:
    """A result as plain values: an exception of a stage's own may not survive pickling."""
    if result.stop is not None:
        return "stop", str(result.stop), result.processor
    if result.ending is not None:
        ending = result.ending
        state = {key: value for key, value in vars(ending).items() if _is_plain(value)}
        base = next(kind for kind in type(ending).__mro__ if kind.__module__ == "engine.errors")
        return "ending", (base.__name__, state), result.processor
    if result.produced is not None:
        return "produced", list(result.produced), result.processor
    return "done", None, result.processor


def _is_plain(value: object) -> bool:
    return value is None or isinstance(value, (str, int, float))


def _unpack(reply: Packed) -> Result:
    import engine.errors

    word, value, processor = reply
    if word == "stop":
        return Result(stop=StopRun(value), processor=processor)
    if word == "produced":
        return Result(produced=value, processor=processor)
    if word == "done":
        return Result(processor=processor)
    name, state = value
    ending: Ending = Ending.__new__(getattr(engine.errors, name), state["reason"])
    Exception.__init__(ending, state["reason"])
    vars(ending).update(state)
    return Result(ending=ending, processor=processor)


class _Child:
    """The other side: reads messages in a thread, so that it notices at once when they end."""

    def __init__(self, requests: BinaryIO, replies: BinaryIO) -> None:
        self._requests = requests
        self._replies = replies
        self._stage: Stage | None = None
        self._inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._busy = threading.Event()

    def serve(self) -> None:
        threading.Thread(target=self._read, daemon=True).start()
        handlers: dict[str, Callable[..., Any]] = {
            "open": self._open,
            "process": self._process,
            "process_batch": self._process_batch,
        }
        while (message := self._inbox.get()) is not None:
            reply = pickle.dumps(handlers[message[0]](*message[1:]))
            self._busy.clear()
            self._replies.write(len(reply).to_bytes(_HEADER) + reply)
            self._replies.flush()
        if self._stage is not None:
            self._stage.close()

    def _read(self) -> None:
        while header := self._requests.read(_HEADER):
            body = self._requests.read(int.from_bytes(header))
            self._busy.set()
            self._inbox.put(pickle.loads(body))
        if self._busy.is_set():
            # The run is gone, and nobody waits for what is in hand, nor for what it has started.
            os.killpg(0, signal.SIGKILL)
        self._inbox.put(None)

    def _open(self, path: list[str], name: tuple[str, str], settings: str, workdir: Path) -> Any:
        module, qualname = name
        sys.path[:] = path
        try:
            found: Any = importlib.import_module(module)
            for part in qualname.split("."):
                found = getattr(found, part)
            self._stage = found(found.Settings.model_validate_json(settings), workdir)
            self._stage.open()
        except PenstockError as error:
            return PenstockError(str(error))
        except Exception as error:
            return f"{type(error).__name__}: {error}"
        return None

    def _process(self, item: Item, out: Path) -> Packed:
        assert self._stage is not None
        with measured(whole_process=True) as cost:
            try:
                packed = _pack(result_of_return(self._stage.process(item, out)))
            except BaseException as error:
                packed = _pack(result_of(error))
        word, value, _ = packed  # a list of items has been read with it
        return word, value, cost

    def _process_batch(self, items: list[Item], outs: list[Path]) -> Any:
        assert self._stage is not None
        try:
            with measured(whole_process=True) as cost:
                answers = self._stage.process_batch(items, outs)
            return [_pack(result) for result in results_of_batch(answers, len(items), cost)]
        except (Exception, SystemExit) as error:
            return _pack(result_of(error))


def main() -> None:
    """Serve one parent over stdin and stdout until it closes them."""
    requests, replies = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)  # a program that the stage runs may read, and requests are not for it
    os.close(nothing)
    os.dup2(2, 1)  # what the stage prints is not a reply
    _Child(requests, replies).serve()


if __name__ == "__main__":
    main()
