"""What goes wrong with workers and with Redis, with the producer and the listener that sites use:
each job has one result all the same, and what was done is not done again."""

import json
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.command import events, started
from tests.engine.toys import executions, query
from tests.stages.service.node import NODE_MODULES, node
from tests.stages.service.redis_server import RedisServer
from tests.stages.sinks.test_sinks import in_sqlite

pytest.importorskip("bullmq")
pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
LOCK = 1.0
SECONDS = 60


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    folder = tmp_path / "redis"
    folder.mkdir()
    with RedisServer(folder, "--maxmemory-policy", "noeviction", "--appendonly", "yes") as server:
        yield server


class Site:
    """A site's producer and listener, in Node.js; `told` is what it has heard so far."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.told: list[dict[str, Any]] = []
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._changed:
                self.told.append(json.loads(line))
                self._changed.notify_all()

    def wait_for(self, event: str, count: int = 1) -> list[dict[str, Any]]:
        """All events of this name, once there are so many."""
        with self._changed:
            assert self._changed.wait_for(lambda: self.count(event) >= count, SECONDS), self.told
            return [one for one in self.told if one["event"] == event]

    def count(self, event: str) -> int:
        return sum(one["event"] == event for one in self.told)

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self._reader.join()


@contextmanager
def site(redis: RedisServer, sources: Sequence[str], **options: Any) -> Iterator[Site]:
    jobs = [{"data": {"url": address(one)}, "opts": options} for one in sources]
    script = Path(__file__).with_name("producer.mjs")
    command = [node(), str(script), redis.url, "toys", json.dumps(jobs)]
    with started(command, {"NODE_PATH": str(NODE_MODULES)}, subprocess.PIPE) as process:
        one = Site(process)
        try:
            one.wait_for("added")
            yield one
        finally:
            one.close()


@contextmanager
def worker(
    redis: RedisServer, folder: Path, name: str, *more: str
) -> Iterator["subprocess.Popen[str]"]:
    module = "tests.stages.service.toy_worker"
    command = [sys.executable, "-m", module, redis.url, "toys", str(folder), name, str(LOCK), *more]
    with started(command, {"PYTHONPATH": str(ROOT)}) as process:
        yield process


def address(name: str) -> str:
    return f"https://example.org/{name}.mp4"


def let_go(folder: Path, name: str) -> None:
    (folder / f"{name}.go").touch()


def until_calling(process: "subprocess.Popen[str]", folder: Path, stage: str = "call") -> None:
    """Return once the worker has made the first call."""
    for event in events(process):
        if event["event"] == "AttemptStarted" and event["stage"] == stage:
            break
    while not (folder / "calls").exists():
        time.sleep(0.001)


def ended(process: "subprocess.Popen[str]") -> list[dict[str, Any]]:
    """Its last events, once it has ended by a signal."""
    process.send_signal(signal.SIGTERM)
    told = list(events(process))
    assert process.wait(SECONDS) == 130
    return told


def calls(folder: Path) -> Counter[str]:
    return Counter((folder / "calls").read_text().splitlines())


def test_fifty_jobs_in_a_second(tmp_path: Path, redis: RedisServer) -> None:
    let_go(tmp_path, "a")
    names = [f"v{number}" for number in range(50)]
    with worker(redis, tmp_path, "a") as process, site(redis, names) as node_site:
        done = node_site.wait_for("completed", 50)
        ended(process)
        assert node_site.count("completed") == 50
    assert len({one["jobId"] for one in done}) == 50
    assert calls(tmp_path) == {address(name): 1 for name in names}


def test_a_worker_that_stands_still_loses_its_job_and_commits_nothing_of_it(
    tmp_path: Path, redis: RedisServer
) -> None:
    stand_still(tmp_path, redis, 0.0)


@pytest.mark.torture
def test_a_worker_that_stands_still_for_forty_seconds(tmp_path: Path, redis: RedisServer) -> None:
    stand_still(tmp_path, redis, 40.0)


def stand_still(folder: Path, redis: RedisServer, least: float) -> None:
    with worker(redis, folder, "a") as slow, site(redis, ["v"]) as node_site:
        until_calling(slow, folder)
        slow.send_signal(signal.SIGSTOP)
        since = time.monotonic()
        let_go(folder, "b")
        with worker(redis, folder, "b") as other:
            [done] = node_site.wait_for("completed")
            time.sleep(max(0.0, least - (time.monotonic() - since)))
            slow.send_signal(signal.SIGCONT)
            for event in events(slow):
                if event["event"] == "ItemGivenUp":
                    break
            let_go(folder, "a")  # the attempt ends by itself, and late
            ended(slow)
            ended(other)
        assert (node_site.count("completed"), node_site.count("failed")) == (1, 0)
    assert done["returnvalue"]["outcome"] == "done"
    assert query(folder / "a", "SELECT outcome FROM items") == [("pending",)]
    ends = "SELECT outcome FROM stages WHERE stage = 'call'"
    assert query(folder / "a", ends) == [("pending",)]
    assert not list((folder / "a" / "items").glob("*/call"))
    assert query(folder / "b", "SELECT outcome FROM items") == [("done",)]


def test_a_worker_that_stood_still_puts_nothing_over_what_another_one_has_put_away(
    tmp_path: Path, redis: RedisServer
) -> None:
    """It sleeps just before it begins to write, and its lock ends: it would have the later turn."""
    database = tmp_path / "shared.db"
    with worker(redis, tmp_path, "a", str(database)) as slow, site(redis, ["v"]) as node_site:
        until_calling(slow, tmp_path, "persist")
        slow.send_signal(signal.SIGSTOP)
        let_go(tmp_path, "b")
        with worker(redis, tmp_path, "b", str(database)) as other:
            node_site.wait_for("completed")
            let_go(tmp_path, "a")
            slow.send_signal(signal.SIGCONT)
            for event in events(slow):
                if event["event"] == "ItemGivenUp":
                    break
            ended(slow)
            ended(other)
        assert (node_site.count("completed"), node_site.count("failed")) == (1, 0)
    assert list(in_sqlite(database).values()) == [["b"]]
    assert query(tmp_path / "a", "SELECT outcome FROM items") == [("pending",)]


def test_a_killed_worker_s_job_goes_on_where_it_was(tmp_path: Path, redis: RedisServer) -> None:
    with site(redis, ["v"], attempts=1) as node_site:
        with worker(redis, tmp_path, "a") as first:
            until_calling(first, tmp_path)
            first.kill()
            first.wait()
        let_go(tmp_path, "a")
        with worker(redis, tmp_path, "a") as second:
            [done] = node_site.wait_for("completed")
            ended(second)
        assert (node_site.count("completed"), node_site.count("failed")) == (1, 0)
    assert done["returnvalue"]["gaps"] == 0
    assert {stage: n for (stage, _), n in executions(tmp_path / "a").items()} == {
        "first": 1, "call": 2,
    }  # fmt: skip


def test_redis_is_killed_and_comes_back(tmp_path: Path, redis: RedisServer) -> None:
    with worker(redis, tmp_path, "a") as process, site(redis, ["v", "w"]) as node_site:
        until_calling(process, tmp_path)
        redis.kill()
        let_go(tmp_path, "a")
        redis.start()
        done = node_site.wait_for("completed", 2)
        ended(process)
        assert node_site.count("failed") == 0
    assert len({one["jobId"] for one in done}) == node_site.count("completed") == 2
    assert set(executions(tmp_path / "a").values()) == {1}


def test_redis_is_slow(tmp_path: Path, redis: RedisServer) -> None:
    """It answers nobody for longer than a lock holds."""
    with worker(redis, tmp_path, "a") as process, site(redis, ["v"]) as node_site:
        until_calling(process, tmp_path)
        redis.pause(2 * LOCK)
        let_go(tmp_path, "a")
        [done] = node_site.wait_for("completed")
        ended(process)
        assert (node_site.count("completed"), node_site.count("failed")) == (1, 0)
    assert done["returnvalue"]["outcome"] == "done"


def test_a_worker_leaves_when_redis_is_gone(tmp_path: Path, redis: RedisServer) -> None:
    with worker(redis, tmp_path, "a") as process, site(redis, ["v"]):
        until_calling(process, tmp_path)
        redis.kill()
        let_go(tmp_path, "a")
        ended(process)
    assert query(tmp_path / "a", "SELECT outcome FROM items") == [("done",)]
