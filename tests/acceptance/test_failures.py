"""Runs that stop themselves, and items that never end by themselves."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stages.demo.server import BareStatus, Exchange, File, FirstThen, MediaServer, Redirect
from tests.acceptance.command import crawl
from tests.acceptance.outcome import attempts, check_dataset, check_no_scratch, status, videos

Serve = Callable[..., list[str]]


def test_a_run_in_which_too_much_fails_stops_itself_and_resumes(
    tmp_path: Path, clips: list[Path], server: MediaServer
) -> None:
    urls, work = [server.url(f"/{number}.mp4") for number in range(10)], tmp_path / "work"
    sets = {"limits.failure_minimum": 5, "stages.download.workers": 1}
    ran = crawl(*urls, out=work, sets=sets)
    assert ran.code == 3, ran.said
    assert "5 of the last 5 items failed, over the failure budget" in ran.out
    assert "limits.failure_budget = 0.5" in ran.out
    found = status(work)
    assert found["outcome"] == "stopped"
    assert 5 <= found["items"]["failed"] < 10
    assert found["failures"][0]["kind"] == "not_found"
    check_no_scratch(work)

    for number in range(10):
        server.routes[f"/{number}.mp4"] = File(clips[number % 9])
    assert crawl(*urls, out=work, sets=sets).code == 1  # what had failed is not asked for again
    assert status(work)["items"]["failed"] == found["items"]["failed"]
    assert status(work)["items"]["done"] == 10 - found["items"]["failed"]


def test_a_run_without_room_on_the_disk_stops_itself(tmp_path: Path, clips: list[Path]) -> None:
    ran = crawl(*clips, out=tmp_path / "work", sets={"limits.free_disk": "1000 TB"})
    assert ran.code == 3, ran.said
    assert "is nearly full" in ran.out
    assert "limits.free_disk" in ran.out
    assert not attempts(tmp_path / "work")
    assert crawl(*clips[:2], out=tmp_path / "work").code == 0


def test_a_quiet_run_that_stops_itself_says_why(tmp_path: Path, clips: list[Path]) -> None:
    sets = {"limits.free_disk": "1000 TB"}
    ran = crawl(*clips, "--quiet", out=tmp_path / "work", sets=sets)
    assert (ran.code, ran.out) == (3, "")
    [line] = ran.err.splitlines()
    assert line.startswith("penstock: stopped: ")
    assert "is nearly full" in line


@pytest.fixture
def silence() -> Iterator[Callable[[Exchange], None]]:
    """A route that never answers."""
    over = threading.Event()

    def say_nothing(exchange: Exchange) -> None:
        over.wait(60)

    yield say_nothing
    over.set()


def test_a_server_that_says_nothing_costs_its_video_alone(
    tmp_path: Path,
    clips: list[Path],
    server: MediaServer,
    serve: Serve,
    silence: Callable[[Exchange], None],
) -> None:
    server.routes["/silent.mp4"] = silence
    urls, work = [server.url("/silent.mp4"), *serve(clips[:3])], tmp_path / "work"
    sets = {"stages.download.socket_timeout": 1, "stages.download.attempts": 2}
    ran = crawl(*urls, out=work, sets=sets)
    assert ran.code == 1, ran.said
    row = videos(work)["silent.mp4"]
    assert (row["outcome"], row["kind"]) == ("failed", "transient")
    assert row["reason"] == f"{urls[0]}: the server did not answer in time"
    assert attempts(work)["download", "retried"] == 1
    assert status(work)["items"]["done"] == 3
    check_dataset(work)


def test_what_a_network_does_to_a_crawl(
    tmp_path: Path, clips: list[Path], server: MediaServer
) -> None:
    whole = File(clips[0])
    server.routes |= {
        "/busy.mp4": FirstThen(BareStatus(503, retry_after=0), 1, whole),
        "/broken.mp4": FirstThen(BareStatus(500), 1, whole),
        "/cut.mp4": FirstThen(File(clips[0], cut=0.5), 1, whole),
        "/moved.mp4": Redirect("/busy.mp4", 301),
        "/circle.mp4": Redirect("/circle.mp4"),
        "/forbidden.mp4": BareStatus(403),
        "/login.mp4": BareStatus(401),
        "/removed.mp4": BareStatus(410),
        "/text.mp4": BareStatus(200),
    }
    urls, work = [server.url(path) for path in server.routes], tmp_path / "work"
    ran = crawl(*urls, out=work, sets={"limits.failure_budget": 1})
    assert ran.code == 1, ran.said
    found = videos(work)
    for name in ("busy.mp4", "broken.mp4", "cut.mp4", "moved.mp4"):
        assert found[name]["outcome"] == "done", found[name]
    kinds = {name: row["kind"] for name, row in found.items() if row["outcome"] == "failed"}
    assert kinds == {
        "circle.mp4": "refused",
        "forbidden.mp4": "forbidden",
        "login.mp4": "auth",
        "removed.mp4": "removed",
        "text.mp4": "not_video",
    }
    for name in kinds:
        assert found[name]["reason"].startswith(f"{server.url('/' + name)}: ")
    check_dataset(work)
    check_no_scratch(work)
