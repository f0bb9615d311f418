"""Two crawls that share one rate by a Redis: it is kept, whoever is killed meanwhile."""

import signal
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.command import crawl, crawl_command, events, started
from tests.acceptance.outcome import check_dataset, check_no_scratch
from tests.stages.service.redis_server import free_port, redis_server
from tests.stages.vision_server import Answer, Request, VisionServer, serving

pytest.importorskip("redis")
pytestmark = [pytest.mark.slow, pytest.mark.processes, pytest.mark.timeout(400)]

Serve = Callable[..., list[str]]

SPACING = 0.5
LIMIT = 150
"""Seconds until something has to have happened."""


class Asked:
    """Holds the answers back until both crawls have asked, and says when so many have."""

    def __init__(self) -> None:
        self.both = threading.Event()
        self._crawls: set[str] = set()
        self._changed = threading.Condition()
        self._count = 0

    def __call__(self, number: int, request: Request) -> Answer | None:
        text = str(request.body)
        with self._changed:
            self._crawls |= {name for name in ("the first", "the second") if name in text}
            self._count += 1
            self._changed.notify_all()
        if len(self._crawls) == 2:
            self.both.set()
        assert self.both.wait(LIMIT)
        return None

    def wait_for(self, count: int, seconds: float = LIMIT) -> bool:
        """Whether so many were asked in time."""
        with self._changed:
            return self._changed.wait_for(lambda: self._count >= count, seconds)


def settings_for(vision: VisionServer, port: int, name: str) -> dict[str, Any]:
    return {
        "limits.shared_gates": f"redis://127.0.0.1:{port}",
        "stages.describe.backend": "openai",
        "stages.describe.base_url": f"{vision.origin}/v1",
        "stages.describe.prompt": f"Describe this frame of {name} crawl.",
        "stages.describe.reuse": "off",
        "stages.describe.concurrency": 1,
        "stages.describe.requests_per_minute": 60 / SPACING,
    }


def test_one_rate_over_crawls_that_outlive_redis_and_one_another(
    tmp_path: Path, clips: list[Path], serve: Serve
) -> None:
    port, asked = free_port(), Asked()
    urls = serve(clips[:4])
    one, other = tmp_path / "one", tmp_path / "other"
    with ExitStack() as redis, serving(fault=asked) as vision:
        redis.enter_context(redis_server(tmp_path, port=port))
        first = crawl_command(*urls[:2], out=one, sets=settings_for(vision, port, "the first"))
        sets = settings_for(vision, port, "the second")
        second = crawl_command(*urls[2:], out=other, sets=sets)
        with started(first) as surviving, started(second) as killed:
            assert asked.wait_for(9)
            killed.send_signal(signal.SIGKILL)
            assert asked.wait_for(11)
            redis.close()
            before = len(vision.requests)
            assert not asked.wait_for(before + 2, seconds=4 * SPACING), "Redis is away"
            redis.enter_context(redis_server(tmp_path, port=port))
            list(events(surviving))
            assert surviving.wait(LIMIT) == 0
            assert surviving.stderr is not None
            assert "gives no answer" in surviving.stderr.read()
        assert crawl(*urls[2:], out=other, sets=sets).code == 0
        times = [request.at for request in vision.requests]
        answered = Counter(request.image for request in vision.requests)
    assert len(answered) == 16
    assert sum(answered.values()) <= 17, "one call was in flight when its crawl was killed"
    for work in (one, other):
        check_dataset(work)
        check_no_scratch(work)
    # From when both had asked until one was killed: each with a rate of its own takes half of it.
    assert times[8] - times[1] >= 7 * SPACING * 0.7
