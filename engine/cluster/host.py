"""The actor: it runs on a node, holds one worker process there, and passes on its messages.

It never looks into a message. So the process is the one of `placement = "process"`, and the run's
side of the protocol is the same too. What is here runs on the node, where this package has to be
installed.
"""

import asyncio
import os
import signal
import sys
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from engine.cluster.frames import HEADER
from engine.cluster.own_folder import OwnFolder

AHEAD = 64
"""Messages of the process, such as log records, that are read before the run asks for them."""

_START = (
    "import sys; folder = sys.argv[1]; "
    "sys.path += [entry for entry in sys.argv[2:] if entry not in sys.path]; del sys.argv[1:]; "
    "from engine.workers.process_child import main; main(folder)"
)


@dataclass(frozen=True, slots=True)
class NodeSight:
    """What a node is and sees: its address, its Penstock, and the text of a file of the work
    folder; None where that is not there."""

    address: str
    version: str
    proof: str | None


def installed() -> str:
    """The version of Penstock that is installed here; "" where it is not installed as a package."""
    try:
        return version("penstock")
    except PackageNotFoundError:
        return ""


def text_of(file: Path) -> str | None:
    """The file's text; None where it cannot be read."""
    try:
        return file.read_text(encoding="utf-8")
    except OSError:
        return None


class Host:
    """Holds one worker process. All calls are coroutines of one loop, so they may overlap."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None
        self._folder: OwnFolder | None = None
        self._messages: asyncio.Queue[bytes | None] = asyncio.Queue(AHEAD)
        self._reading: asyncio.Task[None] | None = None

    async def look(self, proof: str) -> NodeSight:
        """What this node sees; `proof` is the path of a file of the work folder."""
        import ray

        address = ray.util.get_node_ip_address()
        return NodeSight(address, installed(), text_of(Path(proof)))

    async def start(self, path: list[str], *, hides_gpus: bool) -> None:
        """Start the process; `path` are folders that it imports from after its own `sys.path`.
        `hides_gpus`: it is to see none, which Ray leaves to each node's settings."""
        hidden = {"CUDA_VISIBLE_DEVICES": ""} if hides_gpus else {}
        self._folder = folder = await asyncio.to_thread(OwnFolder)
        self._process = await asyncio.create_subprocess_exec(
            *[sys.executable, "-P", "-c", _START, folder.path, *path],
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=os.environ | hidden,
            start_new_session=True,
        )
        self._reading = asyncio.create_task(self._read())

    async def exchange(self, bodies: list[bytes]) -> list[bytes]:
        """Send these messages, and wait for one of the process's at least; empty where there is
        none to come any more."""
        assert self._process is not None and self._process.stdin is not None
        for body in bodies:
            self._process.stdin.write(len(body).to_bytes(HEADER) + body)
        with suppress(ConnectionError):  # then there will be nothing to read
            await self._process.stdin.drain()
        came = [await self._messages.get()]
        while not self._messages.empty():
            came.append(self._messages.get_nowait())
        if came[-1] is None:
            self._messages.put_nowait(None)  # for the next call
        return [body for body in came if body is not None]

    async def is_alive(self) -> bool:
        """Whether the process is."""
        return self._process is not None and self._process.returncode is None

    async def kill(self) -> None:
        """Kill the process and the processes that it has started."""
        if self._process is not None and self._process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    async def end(self, patience: float, *, closing: bool) -> int:
        """Wait `patience` seconds for the process to end, then kill it; returns its exit code.
        `closing`: tell it first that no more messages will come."""
        if self._process is None:
            return 0
        assert self._process.stdin is not None and self._folder is not None
        if closing:
            self._process.stdin.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(patience):
                await self._process.wait()
        await self.kill()
        code = await self._process.wait()
        await asyncio.to_thread(self._folder.remove)
        return code

    async def _read(self) -> None:
        assert self._process is not None and self._process.stdout is not None
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                header = await self._process.stdout.readexactly(HEADER)
                body = await self._process.stdout.readexactly(int.from_bytes(header))
                await self._messages.put(body)
        await self._messages.put(None)
