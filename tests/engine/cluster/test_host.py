"""What an actor does on its node, without Ray: the same object, and calls of it within this
process."""

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio
import psutil
import pytest

from engine import UsageError
from engine.cluster.host import Host
from engine.cluster.remote_process import RemoteProcess
from engine.contract.item import Item
from engine.ledger.outputs.folders import open_scratch
from engine.workers.base import StageFactory
from engine.workers.child import Child, WorkerDiedError
from tests.engine.toys import Obedient, until

pytestmark = pytest.mark.anyio


class Calls:
    """An object's methods as an actor's: `actor.method.remote(…)`."""

    def __init__(self, of: Host) -> None:
        self._of = of

    def __getattr__(self, name: str) -> Any:
        def remote(*arguments: Any, **named: Any) -> Any:
            return asyncio.ensure_future(getattr(self._of, name)(*arguments, **named))

        return SimpleNamespace(remote=remote)


class RayError(Exception): ...


RAY = SimpleNamespace(
    exceptions=SimpleNamespace(RayError=RayError, RayTaskError=type("Task", (RayError,), {}))
)


class Far:
    """A worker process in a host's hands, and what is asked of it."""

    def __init__(self, workdir: Path) -> None:
        self.workdir = workdir
        self.left = 0
        self.process = RemoteProcess(RAY, Calls(Host()), "node 7", self._leave)

    def _leave(self) -> None:
        self.left += 1

    async def opened(self, **settings: Any) -> Child:
        async def launch(factory: StageFactory, path: Sequence[str]) -> RemoteProcess:
            await self.process.start(path, hides_gpus=True)
            return self.process

        factory = StageFactory(Obedient, Obedient.Settings(**settings), self.workdir)
        return await Child.start(factory, sys.path, launch)

    def told(self, source: str) -> tuple[str, Item, Path]:
        """What asks the process for an attempt at the item."""
        item = Item.at(self.workdir, source)
        return "process", item, open_scratch(item, "obedient")


async def test_a_process_works_closes_its_stage_and_leaves_its_place_once(tmp_path: Path) -> None:
    far = Far(tmp_path)
    child = await far.opened(greeting="good day")
    request = far.told("done ")
    word, *_ = await child.ask(*request)
    assert word == "done"
    assert (request[-1] / "hello").read_text() == "good day"
    assert await child.is_alive()
    await child.close()
    await child.close()
    assert (tmp_path / "closed").read_text() == (tmp_path / "opened").read_text()
    assert far.left == 1


async def test_a_stage_that_does_not_open_gives_its_place_back(tmp_path: Path) -> None:
    far = Far(tmp_path)
    with pytest.raises(UsageError, match="there is no such model; give another"):
        await far.opened(broken="told")
    assert far.left == 1


async def test_a_process_that_dies_is_told_by_its_signal_and_node(tmp_path: Path) -> None:
    far = Far(tmp_path)
    child = await far.opened()
    with pytest.raises(WorkerDiedError) as died:
        await child.ask(*far.told("kill SIGSEGV"))
    assert str(died.value) == "the worker process on node 7 was killed by SIGSEGV (11)"
    assert not await child.is_alive()
    await child.close()
    assert far.left == 1


async def test_a_killed_attempt_takes_the_programs_that_it_started_along(tmp_path: Path) -> None:
    far = Far(tmp_path)
    child = await far.opened()
    async with anyio.create_task_group() as tasks:

        async def ask() -> None:
            with pytest.raises(WorkerDiedError, match="killed by SIGKILL"):
                await child.ask(*far.told("family"))

        tasks.start_soon(ask)
        await until(lambda: (tmp_path / "hanging").exists() and (tmp_path / "hanging").read_text())
        child.kill()
    program = int((tmp_path / "hanging").read_text())
    await until(lambda: not psutil.pid_exists(program))
    await child.close()
