"""A process on this machine that holds a stage, as its messages' two ends see it; and what any such
process offers, wherever it runs."""

import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Protocol, Self

import anyio
from anyio import to_thread
from anyio.abc import Process
from anyio.streams.buffered import BufferedByteReceiveStream

from engine.cluster.frames import HEADER, in_words
from engine.cluster.own_folder import OwnFolder
from engine.telemetry.children import forget_child, note_child
from engine.workers.base import GRACE

_START = (
    "import sys; folder = sys.argv[1]; sys.path[:] = sys.argv[2:]; del sys.argv[1:]; "
    "from engine.workers.process_child import main; main(folder)"
)


class Transport(Protocol):
    """A process that runs `main` of workers/process_child.py. Messages are bytes, each whole."""

    async def send(self, body: bytes) -> None:
        """Send a message. Raises BrokenResourceError where the process is gone."""

    async def receive(self) -> bytes:
        """The next message. Raises EndOfStream or IncompleteRead where the process is gone."""

    def kill(self) -> None:
        """Kill the process and the processes that the stage has started; does not wait."""

    async def is_alive(self) -> bool:
        """Whether the process is there."""

    async def obituary(self) -> str:
        """Why the process is gone, in words, once a message could not be sent or received; it is
        dead then."""

    async def close(self) -> None:
        """Have the process close its stage and end; kill it after GRACE seconds."""


class LocalProcess:
    """A process here, with its messages on its stdin and stdout."""

    def __init__(self, process: Process, step: str, folder: OwnFolder) -> None:
        """`folder` holds the process's temporary files, and is removed with the process."""
        assert process.stdout is not None
        self._process = process
        self._folder = folder
        self._replies = BufferedByteReceiveStream(process.stdout)
        note_child(process.pid, step)

    @classmethod
    async def start(cls, step: str, path: Sequence[str]) -> Self:
        """Start a process for the stage of `step`; `path` is its `sys.path`."""
        folder = await to_thread.run_sync(OwnFolder)
        try:
            # A session of its own, so that Ctrl-C reaches only the run, which lets the child end.
            process = await anyio.open_process(
                [sys.executable, "-P", "-c", _START, folder.path, *path],
                stderr=None,
                # Without it the new process reads C's own list of variables, which libraries change
                # from their threads (OpenMP does when a model first computes). What they have just
                # freed makes the start fail: "[Errno 14] Bad address".
                env=os.environ.copy(),
                start_new_session=True,
            )
        except BaseException:
            folder.remove()
            raise
        return cls(process, step, folder)

    async def send(self, body: bytes) -> None:
        assert self._process.stdin is not None
        await self._process.stdin.send(len(body).to_bytes(HEADER) + body)

    async def receive(self) -> bytes:
        size = int.from_bytes(await self._replies.receive_exactly(HEADER))
        return await self._replies.receive_exactly(size)

    def kill(self) -> None:
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    async def is_alive(self) -> bool:
        return self._process.returncode is None

    async def obituary(self) -> str:
        with anyio.CancelScope(shield=True):
            with anyio.move_on_after(GRACE):
                await self._process.wait()
            self.kill()  # it may have closed its pipe without ending
            code = await self._process.wait()
        return in_words(code)

    async def close(self) -> None:
        with anyio.CancelScope(shield=True):
            with anyio.move_on_after(GRACE):
                assert self._process.stdin is not None
                await self._process.stdin.aclose()
                await self._process.wait()
            if self._process.returncode is None:
                self.kill()
            await self._process.aclose()
            forget_child(self._process.pid)
            await to_thread.run_sync(self._folder.remove)
