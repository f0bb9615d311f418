"""Jobs from a real BullMQ queue on a real Redis go through one run, and come to one end each."""

import json
import os
import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import anyio
import pytest

from engine import (
    AttemptStarted,
    Event,
    Item,
    ItemEnded,
    ItemGivenUp,
    Job,
    Pipeline,
    UsageError,
    WorkFolderError,
    checkpoint,
    ensure_ours,
    locked,
    run_pipeline,
)
from engine.contract.item import item_id
from stages.service.bull import BullSource
from stages.service.job_data import deadline_of, source_of
from stages.service.profiles import AskedJob
from stages.service.queue_server import queue_address
from tests.engine.toy_parts import at, cut, gather
from tests.engine.toys import Toy, configured, executions, line, query, run_within, toy
from tests.stages.service.redis_server import Producer, RedisServer, producing, redis_server

pytest.importorskip("bullmq")

SECONDS = 100


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with redis_server(tmp_path_factory.mktemp("redis"), "--maxmemory-policy", "noeviction") as url:
        yield url


def read(data: object) -> AskedJob:
    return AskedJob("toy", Job(source_of(data, []), deadline=deadline_of(data)))


@contextmanager
def source(url: str, name: str, workdir: Path, **options: Any) -> Iterator[BullSource]:
    how = {"pipeline": line(toy("a")), "at_once": 4, "lock": 30.0} | options
    with BullSource(url, name, workdir, read, **how).connected() as one:
        yield one


def work(
    url: str,
    name: str,
    workdir: Path,
    pipeline: Pipeline,
    until: Callable[[Event], bool],
    *overrides: str,
    **options: Any,
) -> None:
    """Run the pipeline over the queue until an event makes `until` true; then it drains."""
    with source(url, name, workdir, pipeline=pipeline, **options) as jobs:
        runs: list[Any] = []

        def listen(event: Event) -> None:
            jobs(event)
            if until(event):
                runs[0].drain("interrupted", "the test is over")

        run_within(
            SECONDS, pipeline, workdir, jobs, "limits.backoff=0.01", *overrides,
            listen=listen, also=runs.append,
        )  # fmt: skip


def address(name: str) -> str:
    return f"https://example.org/{name}.mp4"


def returned(job: Any) -> Any:
    value = job.returnvalue
    return value if isinstance(value, dict) else json.loads(value)


class Ends:
    """True once so many items have ended."""

    def __init__(self, many: int) -> None:
        self.left = many

    def __call__(self, event: Event) -> bool:
        self.left -= isinstance(event, ItemEnded)
        return self.left == 0


class Hanging(Toy):
    """An attempt that does not end by itself."""

    def act(self, item: Item, out: Path) -> Any:
        while True:
            checkpoint()
            threading.Event().wait(0.01)


@pytest.fixture
def producer(redis: str, request: pytest.FixtureRequest) -> Iterator[Producer]:
    with producing(redis, request.node.name) as one:
        yield one


def test_every_job_comes_to_one_end(
    redis: str, producer: Producer, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """The same address twice is worked on once."""
    pipeline = line(toy("a"), toy("b", "a", does={address("dull"): ["drop"]}))
    ids = [producer.add({"url": address(f"v{n}")}) for n in range(8)]
    again, dull = producer.add({"url": address("v0")}), producer.add({"url": address("dull")})
    work(redis, request.node.name, tmp_path, pipeline, Ends(9))
    for number, id_ in enumerate([*ids, again, dull]):
        job = producer.wait_until(id_, "completed", "failed", "delayed", "waiting")
        if producer.state(id_) != "completed":
            assert id_ == again, "it may have come when the run was over"
            continue
        result = returned(job)
        source = address("dull" if id_ == dull else f"v{number % 8}")
        assert result["outcome"] == ("dropped" if id_ == dull else "done")
        assert result["item"] == item_id(source)
    assert set(executions(tmp_path).values()) == {1}


def test_a_failure_is_tried_as_often_as_the_producer_says(
    redis: str, producer: Producer, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    pipeline = line(toy("a"), toy("b", "a", does={address("v"): ["transient", 2]}))
    id_ = producer.add({"url": address("v")}, attempts=5, backoff={"type": "fixed", "delay": 10})
    work(redis, request.node.name, tmp_path, pipeline, Ends(3), "stages.b.attempts=1")
    assert producer.wait_until(id_, "completed").attemptsMade == 3
    assert executions(tmp_path) == {
        ("a", item_id(address("v"))): 1, ("b", item_id(address("v"))): 3,
    }  # fmt: skip


def test_what_is_wrong_with_a_job_fails_it_at_once(
    redis: str, producer: Producer, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    wrong = producer.add({"videoPath": "/etc/passwd"}, attempts=5)
    producer.add({"url": address("v")})
    work(redis, request.node.name, tmp_path, line(toy("a")), Ends(1))
    assert "below no folder" in producer.wait_until(wrong, "failed").failedReason
    assert query(tmp_path, "SELECT count(*) FROM items") == [(1,)]


def test_a_run_that_ends_gives_back_what_it_has_not_done(
    redis: str, producer: Producer, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """v waits for a while; the next worker goes on where it was."""
    pipeline = line(toy("a"), toy("b", "a", does={address("v"): ["throttled", 1, 50]}))
    id_ = producer.add({"url": address("v")}, attempts=1)

    def throttled(event: Event) -> bool:
        return getattr(event, "outcome", None) == "throttled"

    work(redis, request.node.name, tmp_path, pipeline, throttled)
    assert producer.state(id_) in ("waiting", "delayed")
    work(redis, request.node.name, tmp_path, pipeline, Ends(1))
    assert producer.wait_until(id_, "completed").attemptsMade == 1
    assert executions(tmp_path)["a", item_id(address("v"))] == 1


def test_a_lost_lock_has_the_run_give_the_job_up(
    redis: str, producer: Producer, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    pipeline = line(toy("a"), toy("b", "a", does={address("v"): ["throttled", 1, 50]}))
    id_ = producer.add({"url": address("v")}, attempts=3)
    gone = threading.Event()

    def until(event: Event) -> bool:
        if getattr(event, "outcome", None) == "throttled" and not gone.is_set():
            gone.set()
            producer.steal(id_)
        return isinstance(event, ItemGivenUp)

    work(redis, request.node.name, tmp_path, pipeline, until, lock=1.0)
    assert query(tmp_path, "SELECT outcome FROM items") == [("pending",)]


class Stolen(Toy):
    """An attempt during which another worker comes to hold the job's lock; nobody renews it yet. It
    then does what else is to be done."""

    steal: ClassVar[Callable[[], None]]
    then: ClassVar[Callable[[Item], None]]

    def act(self, item: Item, out: Path) -> Any:
        super().act(item, out)
        type(self).steal()
        type(self).then(item)
        return None


@pytest.mark.parametrize("surely", [True, False])
def test_whose_a_job_is_is_asked_of_redis_before_anything_is_written_of_it(
    surely: bool, redis: str, producer: Producer, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """What others read, and the outputs of this work folder."""
    written: list[str] = []
    id_ = producer.add({"url": address("v")}, attempts=3)

    def then(item: Item) -> None:
        if surely:
            ensure_ours(item)
            written.append(item.id)

    steal = partial(producer.steal, id_, at_once=True)
    does: Any = {"steal": staticmethod(steal), "then": staticmethod(then)}
    pipeline = line(toy("a", base=Stolen, **does))

    def given_up(event: Event) -> bool:
        return isinstance(event, ItemGivenUp)

    work(redis, request.node.name, tmp_path, pipeline, given_up, lock=1000.0)
    assert not written
    assert query(tmp_path, "SELECT outcome FROM items") == [("pending",)]
    assert query(tmp_path, "SELECT outcome FROM stages") == [("pending",)]
    assert not list((tmp_path / "items").glob("*/a"))


def test_a_job_that_has_to_wait_for_long_waits_in_the_queue(
    redis: str, producer: Producer, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    pipeline = line(toy("a"), toy("b", "a", does={address("v"): ["throttled", 1, 3600]}))
    id_ = producer.add({"url": address("v")}, attempts=1)
    work(redis, request.node.name, tmp_path, pipeline, lambda event: isinstance(event, ItemGivenUp))
    job = producer.wait_until(id_, "delayed")
    assert 3_000_000 < job.delay <= 3_600_000
    assert executions(tmp_path)["a", item_id(address("v"))] == 1


def test_a_job_that_its_data_cancel_is_not_begun(
    redis: str, producer: Producer, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    data = {"url": address("v")}
    cancelled, other = producer.add(data, attempts=5), producer.add({"url": address("w")})
    producer.update(cancelled, data | {"cancel": True})
    work(redis, request.node.name, tmp_path, line(toy("a")), Ends(1))
    assert producer.wait_until(cancelled, "failed").failedReason == "cancelled"
    assert producer.wait_until(other, "completed")
    assert query(tmp_path, "SELECT count(*) FROM items") == [(1,)]


def test_the_job_of_a_list_says_what_came_of_its_items(
    redis: str, producer: Producer, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """Also of those of a list in it; one that two lists hold counts once."""
    does: dict[str, list[Any]] = {
        address("channel"): ["expand", [address("more"), address("v1"), address("dull")]],
        address("more"): ["expand", [address("v1"), address("v2"), address("bad")]],
        address("dull"): ["drop"],
        address("bad"): ["permanent"],
    }
    id_ = producer.add({"url": address("channel")})
    other = producer.add({"url": address("v3")})
    work(redis, request.node.name, tmp_path, line(toy("a", does=does)), Ends(7))
    told = returned(producer.wait_until(id_, "completed"))
    held = told.pop("list")
    assert told == {"outcome": "done", "item": item_id(address("channel")), "gaps": 0}
    ends = {one.pop("source"): one for one in held.pop("ends")}
    assert held == {"items": 4, "done": 2, "dropped": 1, "failed": 1, "pending": 0}
    assert sorted(ends) == [address(name) for name in ("bad", "dull", "v1", "v2")]
    assert ends[address("v1")] == {"item": item_id(address("v1")), "outcome": "done", "gaps": 0}
    why = {"step": "a", "reason": "told to", "gaps": 0}
    assert ends[address("bad")] == {"item": item_id(address("bad")), "outcome": "failed"} | why
    assert "list" not in returned(producer.wait_until(other, "completed"))


def test_a_job_is_cancelled_while_it_is_done(
    redis: str, producer: Producer, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    pipeline = line(toy("a"), toy("b", "a", base=Hanging))
    data = {"url": address("v")}
    id_ = producer.add(data, attempts=5)

    def until(event: Event) -> bool:
        if isinstance(event, AttemptStarted) and event.stage == "b":
            producer.update_soon(id_, data | {"cancel": True})
        return isinstance(event, ItemGivenUp)

    work(redis, request.node.name, tmp_path, pipeline, until)
    assert producer.wait_until(id_, "failed").failedReason == "cancelled"


def test_what_cannot_be_mended_fails_for_good(
    redis: str, producer: Producer, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    pipeline = line(toy("a", does={address("v"): ["permanent"]}))
    id_ = producer.add({"url": address("v")}, attempts=5)
    work(redis, request.node.name, tmp_path, pipeline, Ends(1))
    job = producer.wait_until(id_, "failed")
    assert (job.failedReason, job.attemptsMade, job.stacktrace) == ("a: told to", 1, [])


def test_what_does_not_end_within_the_drain_is_given_back(
    redis: str, producer: Producer, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    pipeline = line(toy("a"), toy("b", "a", base=Hanging))
    id_ = producer.add({"url": address("v")}, attempts=1)

    def until(event: Event) -> bool:
        return isinstance(event, AttemptStarted) and event.stage == "b"

    work(redis, request.node.name, tmp_path, pipeline, until, drain=0.1)
    assert producer.state(id_) in ("waiting", "delayed")
    work(redis, request.node.name, tmp_path, line(toy("a"), toy("b", "a")), Ends(1))
    assert producer.wait_until(id_, "completed").attemptsMade == 1
    assert executions(tmp_path)["a", item_id(address("v"))] == 1


def test_a_job_has_an_urgency_and_a_deadline(
    redis: str, producer: Producer, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """Of a lower number in BullMQ first; and one that nobody waits for any more has expired. One is
    taken at a time: of several at once, any may be here first."""
    late = producer.add({"url": address("late"), "deadline": 1}, attempts=5)
    for name, priority in (("last", 9), ("next", 2), ("first", 0)):
        producer.add({"url": address(name)}, priority=priority)
    came: list[str] = []

    def until(event: Event) -> bool:
        if isinstance(event, AttemptStarted):
            came.append(event.item)
        return ended(event)

    ended = Ends(3)
    work(redis, request.node.name, tmp_path, line(toy("a")), until, at_once=1)
    assert came == [item_id(address(name)) for name in ("first", "next", "last")]
    assert producer.wait_until(late, "failed").failedReason == "expired: its deadline has passed"


def test_progress_is_told(
    redis: str, producer: Producer, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    pipeline = line(cut("a", cuts={address("v"): 3}), at("a", "b"), gather("c", "b"))
    id_ = producer.add({"url": address("v")})
    work(redis, request.node.name, tmp_path, pipeline, Ends(1))
    progress = producer.wait_until(id_, "completed").progress
    assert progress["stage"] in ("a", "b", "c")
    assert progress["bound"] in ("a", "b", "c", "waiting")
    assert set(progress["path"]) <= {"a", "b", "c"}
    assert len(json.dumps(progress)) < 500


def test_a_redis_that_may_throw_jobs_away_is_refused(tmp_path: Path) -> None:
    with (
        redis_server(tmp_path, "--maxmemory-policy", "allkeys-lru") as url,
        pytest.raises(UsageError, match="noeviction"),
        source(url, "any", tmp_path),
    ):
        pass


def test_a_server_that_allows_no_config_but_asks_for_a_password_is_worked_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    limited = ("--user", "site", "on", ">se/cret", "~*", "&*", "+@all", "-config")
    with redis_server(tmp_path, "--maxmemory-policy", "noeviction", *limited) as url:
        monkeypatch.setenv("REDIS_USERNAME", "site")
        monkeypatch.setenv("REDIS_PASSWORD", "wrong")
        with (
            pytest.raises(UsageError, match=r"refuses: .*; user and password come from REDIS_USER"),
            source(queue_address(url, os.environ), "any", tmp_path),
        ):
            pass
        monkeypatch.setenv("REDIS_PASSWORD", "se/cret")
        with producing(url, request.node.name) as producer:
            id_ = producer.add({"url": address("v")})
            work(
                *(queue_address(url, os.environ), request.node.name, tmp_path / "work"),
                *(line(toy("a")), Ends(1)),
            )
            assert producer.wait_until(id_, "completed").returnvalue["outcome"] == "done"


def test_a_replica_is_refused(tmp_path: Path) -> None:
    folders = tmp_path / "first", tmp_path / "second"
    for folder in folders:
        folder.mkdir()
    with (
        redis_server(folders[0]) as first,
        redis_server(folders[1], "--replicaof", "127.0.0.1", first.rpartition(":")[2]) as url,
        pytest.raises(UsageError, match=f"is a replica, .*; name {first.partition('//')[2]}"),
        source(url, "any", tmp_path),
    ):
        pass


@pytest.mark.parametrize("missing", ["client", "evalsha"])
def test_a_user_who_may_not_do_what_bullmq_does_is_refused(tmp_path: Path, missing: str) -> None:
    user = ("--user", "default", "on", "nopass", "~*", "&*", "+@all", f"-{missing}")
    told = rf"refuses: .*'{missing}.*; user and password come from REDIS_USER"
    with (
        redis_server(tmp_path, "--maxmemory-policy", "noeviction", *user) as url,
        pytest.raises(UsageError, match=told),
        source(url, "any", tmp_path),
    ):
        pass


def test_a_redis_that_refuses_a_worker_that_has_begun_ends_it(tmp_path: Path) -> None:
    with (
        RedisServer(tmp_path, "--maxmemory-policy", "noeviction") as server,
        pytest.raises(UsageError, match=r"refuses: .*client"),
        source(server.url, "any", tmp_path) as jobs,
    ):
        server.ask("ACL", "SETUSER", "default", "-client")
        run_within(SECONDS, line(toy("a")), tmp_path / "work", jobs)


@pytest.mark.slow
def test_a_redis_that_goes_away_before_the_first_job_is_waited_for(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def come_back() -> None:
        while not caplog.records:
            threading.Event().wait(0.01)
        server.start()
        with producing(server.url, "any") as producer:
            producer.add({"url": address("v")})

    runs: list[Any] = []
    ends = Ends(1)
    with (
        RedisServer(tmp_path, "--maxmemory-policy", "noeviction") as server,
        source(server.url, "any", tmp_path) as jobs,
    ):
        server.kill()
        thread = threading.Thread(target=come_back)
        thread.start()

        def listen(event: Event) -> None:
            jobs(event)
            if ends(event):
                runs[0].drain("interrupted", "the test is over")

        run_within(
            SECONDS, line(toy("a")), tmp_path / "work", jobs, listen=listen, also=runs.append
        )
        thread.join()
    assert set(executions(tmp_path / "work").values()) == {1}


def test_a_second_worker_on_a_folder_is_refused_and_takes_no_job(
    redis: str, producer: Producer, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    id_ = producer.add({"url": address("v")})
    with (
        locked(tmp_path),
        pytest.raises(WorkFolderError, match="in use"),
        source(redis, request.node.name, tmp_path) as jobs,
    ):
        run_pipeline(line(toy("a")), configured(line(toy("a"))), tmp_path, jobs)
    assert producer.state(id_) == "waiting"


def test_no_redis_is_one_line(tmp_path: Path) -> None:
    with (
        pytest.raises(UsageError, match="does not answer") as refused,
        source("redis://127.0.0.1:9", "any", tmp_path),
    ):
        pass
    assert "\n" not in str(refused.value)


class Handed(queue.SimpleQueue[Any]):
    """What is put there goes to a thread that waits, before anybody else can take it."""

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        super().put(item)
        time.sleep(0.1)


def test_a_worker_that_waits_for_a_job_leaves(redis: str, tmp_path: Path) -> None:
    async def leave(jobs: BullSource) -> None:
        items = jobs.items()
        with anyio.move_on_after(0.1):
            await anext(items)
        await items.aclose()

    with source(redis, "leaving", tmp_path) as jobs:
        jobs._coming = Handed()
        leaving = threading.Thread(target=anyio.run, args=(leave, jobs), daemon=True)
        leaving.start()
        leaving.join(SECONDS)
        assert not leaving.is_alive()
