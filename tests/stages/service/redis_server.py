"""A real Redis for tests, and a producer of BullMQ jobs beside the test."""

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal

SECONDS = 60


class RedisServer:
    """A Redis on a port of its own, which may be killed and started again. A context manager."""

    def __init__(self, folder: Path, *options: str, port: int | None = None) -> None:
        program = shutil.which("redis-server")
        if program is None:
            pytest.skip("needs redis-server")
        self.port = port or free_port()
        place = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(folder)]
        self._line = [program, *place, "--save", "", *options]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def __enter__(self) -> "RedisServer":
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.kill()

    def start(self) -> None:
        self._process = subprocess.Popen(self._line, stdout=subprocess.DEVNULL)
        until = time.monotonic() + SECONDS
        while not self._answers():
            if time.monotonic() > until:
                self.kill()
                raise AssertionError("Redis did not start")
            time.sleep(0.01)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def ask(self, *command: str) -> Any:
        from redis import Redis

        with Redis(port=self.port) as client:
            return client.execute_command(*command)

    def pause(self, seconds: float) -> None:
        """Answer nobody for so long."""
        from redis import Redis

        with Redis(port=self.port) as client:
            client.client_pause(int(seconds * 1000))

    def _answers(self) -> bool:
        from redis import AuthenticationError, Redis, RedisError

        try:
            with Redis(port=self.port) as client:
                return bool(client.ping())
        except AuthenticationError:
            return True  # it asks for a password
        except RedisError:
            return False


@contextmanager
def redis_server(folder: Path, *options: str, port: int | None = None) -> Iterator[str]:
    """Its address; the server is killed at the end of the block, and forgets everything."""
    with RedisServer(folder, *options, port=port) as server:
        yield server.url


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


class Producer:
    """Adds jobs to a queue, and waits for their ends, in a thread with a loop of its own."""

    def __init__(self, portal: BlockingPortal, url: str, name: str) -> None:
        self._portal = portal
        self.queue = portal.call(self._open, url, name)

    async def _open(self, url: str, name: str) -> Any:
        from bullmq import Queue

        return Queue(name, {"connection": url})

    def add(self, data: Mapping[str, Any], **options: Any) -> str:
        """The new job's id."""
        return str(self._portal.call(self._add, data, options))

    async def _add(self, data: Mapping[str, Any], options: Mapping[str, Any]) -> Any:
        return (await self.queue.add("video", dict(data), dict(options))).id

    def job(self, id_: str) -> Any:
        return self._portal.call(self._job, id_)

    async def _job(self, id_: str) -> Any:
        from bullmq import Job

        return await Job.fromId(self.queue, id_)

    def state(self, id_: str) -> str:
        return str(self._portal.call(self.queue.getJobState, id_))

    def wait_until(self, id_: str, *states: str) -> Any:
        """The job, once it is in one of these states."""
        until = time.monotonic() + SECONDS
        while self.state(id_) not in states:
            assert time.monotonic() < until, f"job {id_} is {self.state(id_)}"
            time.sleep(0.01)
        return self.job(id_)

    def update(self, id_: str, data: Mapping[str, Any]) -> None:
        """Change the job's data."""
        self._portal.call(self._update, id_, data)

    def update_soon(self, id_: str, data: Mapping[str, Any]) -> None:
        """The same, for a thread that may not wait."""
        self._portal.start_task_soon(self._update, id_, data)

    async def _update(self, id_: str, data: Mapping[str, Any]) -> None:
        await (await self._job(id_)).updateData(dict(data))

    def steal(self, id_: str, *, at_once: bool = False) -> None:
        """Have another worker hold the job's lock: `at_once` for a thread that may wait."""
        if at_once:
            self._portal.call(self._steal, id_)
        else:
            self._portal.start_task_soon(self._steal, id_)

    async def _steal(self, id_: str) -> None:
        await self.queue.client.set(f"bull:{self.queue.name}:{id_}:lock", "another worker's")

    def close(self) -> None:
        self._portal.call(self.queue.close)


@contextmanager
def producing(url: str, name: str) -> Iterator[Producer]:
    with start_blocking_portal() as portal:
        producer = Producer(portal, url, name)
        yield producer
        producer.close()
