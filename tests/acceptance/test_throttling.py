"""A host that says "slow down" to every second request."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from stages.demo.server import BareStatus, Exchange, Route
from tests.acceptance.command import crawl
from tests.acceptance.outcome import attempts, check_dataset, check_no_scratch, query, status

pytestmark = pytest.mark.slow

Serve = Callable[..., list[str]]


class EverySecond:
    """Turns away every second request that comes, whatever it asks for."""

    def __init__(self, refusal: BareStatus) -> None:
        self.refusal = refusal
        self.refused = 0
        self._asked = 0
        self._lock = threading.Lock()

    def __call__(self, route: Route) -> Route:
        def answer(exchange: Exchange) -> None:
            with self._lock:
                self._asked += 1
                refuse = self._asked % 2 == 0
                self.refused += refuse
            (self.refusal if refuse else route)(exchange)

        return answer


def check_every_second_refused(tmp_path: Path, clips: list[Path], serve: Serve, after: int) -> None:
    refusals = EverySecond(BareStatus(429, retry_after=after))
    ran = crawl(*serve(clips, refusals), out=tmp_path / "work")
    assert ran.code == 0, ran.said
    assert status(tmp_path / "work")["items"]["done"] == len(clips)
    # All of them have ended, and none has spent an attempt on being turned away.
    assert query(tmp_path / "work", "SELECT max(attempt) FROM attempts") == [(1,)]
    assert refusals.refused == attempts(tmp_path / "work")["download", "throttled"] > 0
    assert "slow down" in ran.out
    check_dataset(tmp_path / "work")
    check_no_scratch(tmp_path / "work")


def test_every_video_ends_done_and_no_attempt_is_used_up(
    tmp_path: Path, clips: list[Path], serve: Serve
) -> None:
    check_every_second_refused(tmp_path, clips[:3], serve, after=2)


@pytest.mark.torture
@pytest.mark.timeout(600)
def test_a_host_that_wants_five_seconds_gets_them(
    tmp_path: Path, clips: list[Path], serve: Serve
) -> None:
    check_every_second_refused(tmp_path, clips, serve, after=5)
