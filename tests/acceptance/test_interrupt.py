"""Ctrl-C once, Ctrl-C twice, and two crawls that want the same work folder."""

import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from stages.demo.server import Exchange, MediaServer, Route
from tests.acceptance.command import crawl, crawl_command, events, penstock, started
from tests.acceptance.outcome import (
    attempts,
    check_dataset,
    check_no_scratch,
    check_nothing_ran_twice,
    query,
    status,
)

pytestmark = [pytest.mark.slow, pytest.mark.processes]

Serve = Callable[..., list[str]]


class Held:
    """Answers nobody until `release` is set."""

    def __init__(self) -> None:
        self.release = threading.Event()

    def __call__(self, route: Route) -> Route:
        def answer(exchange: Exchange) -> None:
            self.release.wait(60)
            route(exchange)

        return answer


@pytest.fixture
def held() -> Iterator[Held]:
    gate = Held()
    yield gate
    gate.release.set()


@contextmanager
def crawling(
    urls: list[str], work: Path, server: MediaServer, asked: int
) -> Iterator[subprocess.Popen[str]]:
    """A crawl of `urls`, of which the server has been asked for the first `asked`."""
    with started(crawl_command(*urls, out=work)) as process:
        for event in events(process):
            if event["event"] == "AttemptStarted" and event["stage"] == "download":
                asked -= 1
            if not asked:
                break
        yield process


def check_goes_on(urls: list[str], work: Path) -> None:
    ran = crawl(*urls, out=work)
    assert ran.code == 0, ran.said
    assert status(work)["items"]["done"] == len(urls)
    check_nothing_ran_twice(work)
    check_dataset(work)
    check_no_scratch(work)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_finishes_what_is_in_hand(
    tmp_path: Path,
    clips: list[Path],
    serve: Serve,
    server: MediaServer,
    held: Held,
    number: signal.Signals,
) -> None:
    urls, work = serve(clips, held), tmp_path / "work"
    with crawling(urls, work, server, asked=4) as process:
        process.send_signal(number)
        told = next(event for event in events(process) if event["event"] == "Stopping")
        assert told["why"].startswith(number.name)
        held.release.set()
        list(events(process))
        assert process.wait(60) == 130
    found = status(work)
    assert found["outcome"] == "interrupted"
    assert found["stages"]["download"]["done"] == 4
    assert found["items"]["pending"] >= 4
    assert set(attempts(work)) == {("download", "done")}
    assert not (work / "dataset").exists()
    check_goes_on(urls, work)


def test_the_second_signal_gives_up_what_is_in_hand(
    tmp_path: Path, clips: list[Path], serve: Serve, server: MediaServer, held: Held
) -> None:
    urls, work = serve(clips[:5], held), tmp_path / "work"
    with crawling(urls, work, server, asked=4) as process:
        process.send_signal(signal.SIGINT)
        next(event for event in events(process) if event["event"] == "Stopping")
        process.send_signal(signal.SIGINT)
        list(events(process))
        assert process.wait(30) == 130
        assert not held.release.is_set()
        assert process.stderr is not None
        assert "Traceback" not in process.stderr.read()
    assert status(work)["items"]["pending"] == 5
    check_no_scratch(work)
    held.release.set()
    check_goes_on(urls, work)
    outcomes = query(work, "SELECT DISTINCT outcome FROM attempts WHERE run = 1")
    assert outcomes == [("interrupted",)]


def test_a_signal_ends_a_crawl_that_waits_for_its_list(tmp_path: Path) -> None:
    command = crawl_command("--from", "-", out=tmp_path / "work")
    with started(command, stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        process.stdin.write("http://127.0.0.1:1/nobody-answers.mp4\n")
        process.stdin.flush()
        next(event for event in events(process) if event["event"] == "ItemEnded")
        process.send_signal(signal.SIGINT)
        assert [event["event"] for event in events(process)][-1] == "RunEnded"
        assert process.wait(30) == 130, "the thread that still waits for a line is no matter"
        assert process.stderr is not None
        assert process.stderr.read() == ""


def test_a_second_crawl_in_the_same_folder_is_refused(
    tmp_path: Path, clips: list[Path], serve: Serve, server: MediaServer, held: Held
) -> None:
    urls, work = serve(clips[:2], held), tmp_path / "work"
    with crawling(urls, work, server, asked=1) as process:
        for other in (
            crawl(*urls, out=work),
            crawl("--dry-run", *urls, out=work),
        ):
            assert other.code == 2
            assert other.out == ""
            (line,) = other.err.splitlines()
            assert f"{work} is in use by process {process.pid} on " in line
        assert status(work)["running"]
        assert "the last one going on" in penstock("status", work).out
        held.release.set()
        list(events(process))
        assert process.wait(60) == 0
    assert not status(work)["running"]
