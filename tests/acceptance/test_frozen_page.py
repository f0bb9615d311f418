"""A page over which one of yt-dlp's patterns holds Python's lock for hours, among good videos."""

import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from stages.demo.server import MediaServer, Text
from tests.acceptance.command import crawl, crawl_command, events, penstock, started
from tests.acceptance.outcome import check_dataset, query

pytestmark = [pytest.mark.slow, pytest.mark.processes]

Serve = Callable[..., list[str]]

FLOOD = "<!doctype html><html><head><title>x</title>" + "<meta " * 50_000


@pytest.fixture
def flood(server: MediaServer) -> str:
    server.routes["/flood"] = Text(FLOOD)
    return server.url("/flood")


def test_the_others_go_on_and_the_page_is_given_up(
    tmp_path: Path, clips: list[Path], serve: Serve, flood: str
) -> None:
    sets: dict[str, Any] = {
        "stages.download.lookup_timeout": 4,
        "stages.download.attempts": 1,
        "stages.download.workers": 2,
    }
    ran = crawl(flood, *serve(clips[:3]), out=tmp_path / "work", sets=sets)
    assert ran.code == 1, ran.said
    failed = query(tmp_path / "work", "SELECT kind, reason FROM stages WHERE outcome = 'failed'")
    assert [kind for kind, _ in failed] == ["lookup_timeout"]
    assert flood in failed[0][1]
    assert "stages.download.lookup_timeout" in failed[0][1]
    assert "lookup_timeout" in penstock("status", tmp_path / "work").out
    check_dataset(tmp_path / "work")


@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_is_heard_meanwhile(
    tmp_path: Path, clips: list[Path], serve: Serve, flood: str, times: int
) -> None:
    sets = {"stages.download.lookup_timeout": 6 if times == 1 else 1000, "limits.backoff": 1000}
    command = crawl_command(flood, *serve(clips[:2]), out=tmp_path / "work", sets=sets)
    with started(command) as process:
        ended = 0
        for event in events(process):
            ended += event["event"] == "ItemEnded"
            if ended == 2:
                break
        family = psutil.Process(process.pid).children()
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        if times == 2:
            for event in events(process):
                if event["event"] == "Stopping":
                    break
            process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
        assert process.returncode == 130, said
        assert time.monotonic() - began < 30
        _, alive = psutil.wait_procs(family, timeout=5)
        assert alive == []
    # Once: what is in hand is finished, here by its deadline. Twice: it is given up. Both times it
    # is pending, and the next run has it.
    found = query(tmp_path / "work", "SELECT count(*) FROM stages WHERE outcome = 'pending'")
    assert found == [(1,)]
