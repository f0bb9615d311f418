"""`penstock worker`, as a process: a queue's crawls outlive its end by SIGTERM and by SIGKILL."""

import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.acceptance.command import PENSTOCK, SHAPES, events, penstock, settings, started
from tests.acceptance.outcome import check_no_scratch, check_nothing_ran_twice, status
from tests.acceptance.test_interrupt import Held, held  # noqa: F401 - a fixture
from tests.stages.service.redis_server import Producer, producing, redis_server

pytest.importorskip("bullmq")
pytestmark = [pytest.mark.slow, pytest.mark.processes]

Serve = Callable[..., list[str]]

LOCK = 2.0
"""Seconds after which the queue gives away the jobs of a worker that was killed."""


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[str]:
    with redis_server(tmp_path, "--maxmemory-policy", "noeviction") as url:
        yield url


@pytest.fixture
def producer(redis: str) -> Iterator[Producer]:
    with producing(redis, "crawls") as one:
        yield one


@contextmanager
def working(redis: str, work: Path) -> Iterator[subprocess.Popen[str]]:
    command = [
        *(str(PENSTOCK), "worker", "--queue", redis, "--name", "crawls", "--profile", "crawl"),
        *("--out", str(work), "--lock", str(LOCK), "--quiet", "--log-json", "/dev/stdout"),
        *settings(SHAPES, {"stages.download.allow_private": True}),
    ]
    with started(command) as process:
        yield process


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_jobs_outlive_their_worker(
    tmp_path: Path,
    clips: list[Path],
    serve: Serve,
    redis: str,
    producer: Producer,
    held: Held,  # noqa: F811
    number: signal.Signals,
) -> None:
    work = tmp_path / "work"
    [first] = serve(clips[:1])
    later = serve(clips[1:4], held)
    done = producer.add({"url": first})
    waiting = [producer.add({"url": url}) for url in later]
    with working(redis, work) as process:
        asked = 0
        for event in events(process):
            asked += event["event"] == "AttemptStarted" and event["stage"] == "download"
            if asked == 4:
                break
        assert producer.wait_until(done, "completed", "failed").failedReason is None
        process.send_signal(number)
        held.release.set()
        list(events(process))
        assert process.wait(60) == (130 if number == signal.SIGTERM else -signal.SIGKILL)
    if number == signal.SIGTERM:
        assert not {producer.state(id_) for id_ in waiting} & {"active", "failed"}
    with working(redis, work) as process:
        for id_ in waiting:
            assert producer.wait_until(id_, "completed", "failed").failedReason is None
        process.send_signal(signal.SIGTERM)
        list(events(process))
        assert process.wait(60) == 130
    assert status(work)["items"]["done"] == 4
    check_nothing_ran_twice(work)
    check_no_scratch(work)


def test_what_is_missing_is_said_in_a_line(tmp_path: Path) -> None:
    ran = penstock(
        *("worker", "--queue", "redis://127.0.0.1:9", "--name", "crawls", "--profile", "crawl"),
        *("--out", tmp_path / "work"),
    )
    assert ran.code == 2
    assert ran.said.startswith("penstock: the queue's Redis does not answer: ")
    assert ran.said.count("\n") == 1
    ran = penstock("worker", "--queue", "redis://127.0.0.1:9", "--name", "q", "--profile", "crawk")
    assert ran.code == 2
    assert "crawl" in ran.said
