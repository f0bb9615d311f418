"""How a worker waits for a place: beside a cluster that stands in for Ray, and is full."""

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio
import pytest

from engine.cluster.cluster import RayCluster
from engine.cluster.seats import Seats
from tests.engine.toys import until

pytestmark = pytest.mark.anyio


class FullCluster(RayCluster):
    """A cluster that could hold a worker, and has no room. `asked`: the seconds that it was told to
    wait, each time that it was asked for room."""

    def __init__(self, workdir: Path) -> None:
        super().__init__(None, workdir)
        self.asked: list[float] = []
        self._ray = SimpleNamespace(
            exceptions=SimpleNamespace(RayError=RuntimeError),
            nodes=lambda: [{"Alive": True, "Resources": {"CPU": 1.0}}],
            util=SimpleNamespace(
                placement_group=self._group, remove_placement_group=lambda group: None
            ),
        )

    def _group(self, bundles: Sequence[Any]) -> Any:
        def wait(seconds: float) -> bool:
            self.asked.append(seconds)
            return False

        return SimpleNamespace(wait=wait)


async def close(thing: str) -> None:
    raise AssertionError(f"{thing} was to be kept")


async def test_a_full_cluster_is_asked_now_and_then(tmp_path: Path) -> None:
    """Ray takes whole seconds, and asked for less it answers at once: then the pauses are ours."""
    cluster = FullCluster(tmp_path)
    seats = Seats[str](cluster, "a", {"CPU": 1.0}, close)
    assert await seats.room(0.6) is None
    assert 2 <= len(cluster.asked) <= 8
    assert set(cluster.asked) == {0}


async def test_who_waits_for_room_goes_on_as_soon_as_something_rests(tmp_path: Path) -> None:
    cluster = FullCluster(tmp_path)
    seats = Seats[str](cluster, "a", {"CPU": 1.0}, close)
    found: list[Any] = []

    async def wait() -> None:
        found.append(await seats.room())

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait)
        await until(lambda: cluster.asked)
        await seats.rest("process")
    assert found == [None]
    assert seats.resume() == "process"
