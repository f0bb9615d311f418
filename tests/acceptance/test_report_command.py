"""`penstock report`, and the options of the live page, as a person gives them."""

import os
import signal
import socket
import threading
from pathlib import Path

import httpx
import pytest

from engine.contract import registry
from engine.contract.pipeline import Pipeline
from engine.ledger.lock import locked
from tests.acceptance.command import penstock
from tests.engine.toys import line, run, toy


@pytest.fixture
def pipeline(monkeypatch: pytest.MonkeyPatch) -> Pipeline:
    """A pipeline that is installed, and has no downloads."""
    monkeypatch.delenv("PENSTOCK_DOWNLOAD_PLACEMENT")
    made = line(toy("a", does={"v1": ["permanent"]}))
    monkeypatch.setattr(registry, "pipeline", lambda name: made)
    return made


def test_it_writes_one_file(pipeline: Pipeline, tmp_path: Path) -> None:
    run(pipeline, tmp_path / "work", ["v1", "v2"])

    given = penstock("report", tmp_path / "work")
    elsewhere = penstock("report", tmp_path / "work", "--out", tmp_path / "page.html")

    assert (given.code, given.said) == (0, f"wrote {tmp_path}/work/report.html\n")
    assert (elsewhere.code, elsewhere.out) == (0, f"wrote {tmp_path}/page.html\n")
    assert '<b id="count-failed">1</b>' in (tmp_path / "page.html").read_text()
    left = {path.name for path in (tmp_path / "work").iterdir()}
    assert not [name for name in left if name.startswith(".")]


def test_it_says_when_a_run_is_at_work(pipeline: Pipeline, tmp_path: Path) -> None:
    run(pipeline, tmp_path, ["v1"])

    with locked(tmp_path):
        assert penstock("report", tmp_path).code == 0

    assert 'class="state running"' in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize(
    ("folder", "out", "says"),
    [
        ("nothing", "page.html", "nothing is not a work folder: it has no penstock.db"),
        ("work", "no/such/page.html", "cannot be written: No such file or directory; give --out"),
        ("work", "work", "cannot be written: Is a directory; give --out"),
    ],
)
def test_mistakes_are_told_in_one_line(
    pipeline: Pipeline, tmp_path: Path, folder: str, out: str, says: str
) -> None:
    run(pipeline, tmp_path / "work", ["v1"])

    given = penstock("report", tmp_path / folder, "--out", tmp_path / out)

    assert given.code == 2
    assert says in given.err
    assert given.err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["work"]


def test_it_serves_the_page_until_it_is_stopped(pipeline: Pipeline, tmp_path: Path) -> None:
    run(pipeline, tmp_path, ["v1", "v2"])
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    pages: list[str] = []

    def look_and_stop() -> None:
        try:
            with httpx.Client(transport=httpx.HTTPTransport(retries=8), timeout=20) as client:
                pages.append(client.get(f"http://127.0.0.1:{port}/").text)
        finally:
            os.kill(os.getpid(), signal.SIGINT)

    reader = threading.Thread(target=look_and_stop)
    reader.start()
    given = penstock("report", tmp_path, "--web", port)
    reader.join()

    assert (given.code, given.err) == (0, f"live page: http://127.0.0.1:{port}/\n")
    assert 'class="state done"' in pages[0]
    assert '<b id="count-failed">1</b>' in pages[0]
    assert not (tmp_path / "report.html").exists()

    both = penstock("report", tmp_path, "--web", port, "--out", tmp_path / "page.html")
    assert (both.code, both.err.count("\n")) == (2, 1)
    assert "give one of them" in both.err


@pytest.mark.parametrize("command", ["crawl", "retry"])
def test_a_port_that_is_not_to_be_had_is_told_before_the_run(
    command: str, pipeline: Pipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(pipeline, tmp_path / "work", ["v1"])
    what = {"crawl": ["v2", "--out", tmp_path / "work"], "retry": [tmp_path / "work"]}[command]
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]

        taken = penstock(command, *what, "--quiet", "--web", port)

    alone = penstock(command, *what, "--web-host", "0.0.0.0")
    assert taken.code == alone.code == 2
    assert taken.err == (
        f"penstock: --web {port}: port {port} of 127.0.0.1 is taken; give another port, or 0 for "
        "any that is free\n"
    )
    assert "give --web PORT with it" in alone.err


def test_the_address_is_told(pipeline: Pipeline, tmp_path: Path) -> None:
    here = penstock("crawl", "v2", "--out", tmp_path, "--web", 0, "--set", "limits.free_disk=0")
    open_to_all = penstock("retry", tmp_path, "--web", 0, "--web-host", "0.0.0.0")

    assert here.err.startswith("live page: http://127.0.0.1:")
    assert "anybody who can reach that address can read it" in open_to_all.err
    assert here.code == 0
