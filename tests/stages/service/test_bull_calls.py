"""A clock that is set back loses no lock, and a Redis that takes nothing for a while no result."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from engine import Item
from stages.service.bull_calls import RENEWALS
from tests.engine.toys import Toy, executions, line, toy
from tests.stages.service.redis_server import Producer, RedisServer, producing
from tests.stages.service.test_bull import Ends, address, returned, work

bullmq = pytest.importorskip("bullmq")

NAME = "calls"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    folder = tmp_path / "redis"
    folder.mkdir()
    with RedisServer(folder, "--maxmemory-policy", "noeviction") as made:
        yield made


@pytest.fixture
def producer(server: RedisServer) -> Iterator[Producer]:
    with producing(server.url, NAME) as made:
        yield made


class Renewed(Toy):
    """An attempt that lasts until its job's lock was renewed for twice the time for which it holds,
    or is gone."""

    server: ClassVar[RedisServer]
    renewals: ClassVar[list[int]]

    def act(self, item: Item, out: Path) -> Any:
        before = 0
        while (left := int(self.server.ask("PTTL", f"bull:{NAME}:1:lock"))) >= 0:
            if left > before > 0:
                self.renewals.append(left)
            if len(self.renewals) == 2 * RENEWALS:
                break
            before = left
            time.sleep(0.005)
        return super().act(item, out)


def test_a_clock_that_is_set_back_loses_no_lock(
    server: RedisServer, producer: Producer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = time.time

    class SetBack(Toy):
        """The clock is set back by an hour while the job is in hand."""

        def act(self, item: Item, out: Path) -> Any:
            monkeypatch.setattr(time, "time", lambda: real() - 3600)
            return super().act(item, out)

    renewals: list[int] = []
    has: Any = {"server": server, "renewals": renewals}
    pipeline = line(toy("a", base=SetBack), toy("b", "a", base=Renewed, **has))
    id_ = producer.add({"url": address("v")}, attempts=1)
    work(server.url, NAME, tmp_path / "work", pipeline, Ends(1), lock=1.0)
    assert len(renewals) == 2 * RENEWALS
    assert producer.state(id_) == "completed"
    assert set(executions(tmp_path / "work").values()) == {1}


def test_a_result_that_redis_did_not_take_at_once_is_no_failure(
    server: RedisServer, producer: Producer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is a replica at the end of the job, and its own master again a moment later: just when the
    result was refused, and BullMQ would tell of that as the job's failure."""
    refused: list[Exception] = []
    real = bullmq.backends.redis_backend.RedisBackend.moveToCompleted

    async def move(self: Any, *about: Any, **more: Any) -> Any:
        try:
            return await real(self, *about, **more)
        except Exception as error:
            refused.append(error)
            server.ask("REPLICAOF", "NO", "ONE")
            raise

    class Demoted(Toy):
        def act(self, item: Item, out: Path) -> Any:
            server.ask("REPLICAOF", "127.0.0.1", "1")
            return super().act(item, out)

    monkeypatch.setattr(bullmq.backends.redis_backend.RedisBackend, "moveToCompleted", move)
    id_ = producer.add({"url": address("v")}, attempts=1)
    pipeline = line(toy("a", base=Demoted))
    work(server.url, NAME, tmp_path / "work", pipeline, Ends(1))
    assert ["read only" in str(error) for error in refused] == [True]
    job = producer.job(id_)
    assert (producer.state(id_), job.failedReason) == ("completed", None)
    assert returned(job)["outcome"] == "done"


class RunOut(Toy):
    """Its job's lock runs out, as while Redis answers nobody; it may wait for the next one."""

    server: ClassVar[RedisServer]
    lock: ClassVar[str] = f"bull:{NAME}:1:lock"
    waits: ClassVar[bool]

    def act(self, item: Item, out: Path) -> Any:
        self.server.ask("DEL", self.lock)
        while self.waits and not self.server.ask("EXISTS", self.lock):
            time.sleep(0.005)
        return super().act(item, out)


@pytest.mark.parametrize("waits", [True, False])
def test_a_lock_that_ran_out_is_taken_again_where_nobody_else_has_the_job(
    server: RedisServer, producer: Producer, tmp_path: Path, waits: bool
) -> None:
    """When it is renewed, and when the result is told."""
    pipeline = line(toy("a", base=RunOut, server=server, waits=waits))
    id_ = producer.add({"url": address("v")}, attempts=1)
    work(server.url, NAME, tmp_path / "work", pipeline, Ends(1), lock=1.0 if waits else 600.0)
    assert producer.state(id_) == "completed"
    assert set(executions(tmp_path / "work").values()) == {1}
