"""What a worker says of its Redis while it runs: each thing once."""

import logging
import threading
from pathlib import Path
from typing import Any

import pytest

from stages.service.queue_watch import AGAIN, AWAY, QueueWatch
from tests.stages.service.redis_server import RedisServer

QUIET = "the queue's Redis does not answer: "


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [one.getMessage() for one in caplog.records if one.levelno >= logging.WARNING]


def test_a_server_that_is_away_is_told_once_and_again_when_it_is_back(
    caplog: pytest.LogCaptureFixture,
) -> None:
    watch = QueueWatch()
    for problem in ("gone", None, *["gone"] * 3 * AWAY, None, None, "gone", None):
        watch.seen(problem)
    away = f"{QUIET}gone; what is in hand goes on"
    assert said(caplog) == [away, "the queue's Redis answers again"]


def test_the_same_error_is_told_now_and_then_and_none_while_the_server_is_away(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = Clock()
    watch = QueueWatch(clock)
    for error in ("no\nroom", "no room. script: 1a, on @user_script:7.", "other", "no room"):
        watch.tell(error)
    clock.now = AGAIN
    watch.tell("no room")
    for _ in range(AWAY):
        watch.seen("gone")
    watch.tell("refused")
    assert said(caplog)[:3] == ["the queue: no room", "the queue: other", "the queue: no room"]
    assert said(caplog)[3].startswith(QUIET)
    assert len(said(caplog)) == 4


def test_what_the_queue_s_library_says_of_a_job_is_told_in_words_for_people(
    caplog: pytest.LogCaptureFixture,
) -> None:
    scripts = pytest.importorskip("bullmq.scripts").Scripts
    watch = QueueWatch(Clock())
    for code in (-1, -2, -3, -6):
        about = {"jobId": "a.7", "command": "moveToFinished", "state": "active", "code": code}
        watch.tell(scripts.finishedErrors(None, about))
    assert said(caplog) == [
        "the queue: job a.7 was removed; its end is told to nobody",
        "the queue: job a.7 is another worker's by now; what came of it here is not taken",
    ]


def test_an_idle_worker_says_that_its_redis_has_gone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("bullmq")
    from stages.service.bull_queue import BullQueue

    monkeypatch.setattr("stages.service.queue_watch.LOOK", 0.2)

    def until_said(count: int) -> None:
        while len(said(caplog)) < count:
            threading.Event().wait(0.01)

    taker: Any = None  # no job comes
    with RedisServer(tmp_path, "--maxmemory-policy", "noeviction") as server:
        queue = BullQueue(server.url, "any", taker, at_once=1, lock=30.0)
        with queue.connected():
            queue.begin()
            server.kill()
            until_said(1)
            server.start()
            until_said(2)
    away, back = said(caplog)
    assert away.startswith(QUIET)
    assert back == "the queue's Redis answers again"
