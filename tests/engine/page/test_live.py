"""The live page's server: beside a run, never in its way."""

import json
import re
import resource
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest

from engine import UsageError
from engine.flow.run import Run
from engine.page import connection, live
from engine.page.live import LivePage
from engine.page.port import Port
from tests.engine.page.serving import served
from tests.engine.toys import Toy, line, run, toy

Event = tuple[str, dict[str, Any]]


def events(stream: httpx.Response) -> Iterator[Event]:
    """The server-sent events of a response: kind and data."""
    kind = ""
    for text in stream.iter_lines():
        name, _, value = text.partition(": ")
        if name == "event":
            kind = value
        elif name == "data":
            yield kind, json.loads(value)


def first(stream: Iterator[Event], wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    return next(data for kind, data in stream if kind == "update" and wanted(data))


@pytest.fixture(autouse=True)
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """It looks as often as it can."""
    monkeypatch.setattr(live, "REFRESH", 0.02)
    monkeypatch.setattr(live, "REST", 1)


def seen(news: dict[str, Any]) -> int:
    """How many attempts whoever is told this has then seen."""
    return int(news["timeline"]["from"]) + len(news["timeline"]["item"])


def test_the_page_shows_how_the_run_stands(tmp_path: Path) -> None:
    with served(tmp_path) as running:
        html = running.get().text
    assert 'class="state running"' in html
    assert "data-live" in html
    assert '<script src="page.js"></script>' in html


def test_events_tell_what_is_new_and_that_the_run_has_ended(tmp_path: Path) -> None:
    with (
        served(tmp_path, does={"v3": ["permanent"]}) as running,
        httpx.stream("GET", f"{running.port.url}events", timeout=20) as response,
    ):
        told = events(response)
        before = first(told, lambda news: news["timeline"]["item"] != [])
        assert before["timeline"]["open"], "v1 is held"
        (tmp_path / "release").touch()
        rest = list(told)

    assert rest[-1][0] == "end"
    kind, last = rest[-2]
    assert kind == "update"
    assert 'class="state done"' in last["parts"]["overview"]
    assert '<b id="count-failed">1</b>' in last["parts"]["overview"]
    assert last["timeline"]["open"] == []
    updates = [before, *(news for kind, news in rest if kind == "update")]
    assert seen(last) == 5 + 4
    for earlier, later in pairwise(updates):
        assert later["timeline"]["from"] == seen(earlier)


def test_who_comes_back_is_told_only_what_was_missed(tmp_path: Path) -> None:
    with served(tmp_path) as running:
        url = f"{running.port.url}events"
        with httpx.stream("GET", url, timeout=20) as response:
            first(events(response), lambda news: seen(news) == 2)
        with httpx.stream("GET", url, headers={"Last-Event-ID": "0.2.1"}, timeout=20) as response:
            again = first(events(response), lambda news: True)
        with httpx.stream("GET", f"{url}?seen=nonsense", timeout=20) as response:
            anew = first(events(response), lambda news: True)
    assert (again["timeline"]["from"], again["timeline"]["item"]) == (2, [])
    assert (anew["timeline"]["from"], len(anew["timeline"]["item"])) == (0, 2)


def test_a_client_that_does_not_read_holds_up_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "GOODBYE", 0.2)
    with served(tmp_path, items=300) as running:
        address = httpx.URL(running.port.url)
        clients = [socket.create_connection((address.host, address.port or 0)) for _ in range(3)]
        for client, path in zip(clients, ("events", "plotly.js", ""), strict=True):
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            client.sendall(f"GET /{path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            client.recv(1)

        running.release()

        for client in clients:
            client.close()
    assert running.report is not None
    assert running.report.items["done"] == 300


def test_idle_connections_are_few_and_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "MOST", 20)
    monkeypatch.setattr(connection, "PATIENCE", 1.0)
    with served(tmp_path) as running, ExitStack() as stack:
        address = httpx.URL(running.port.url)
        clients = [
            stack.enter_context(socket.create_connection((address.host, address.port or 0), 20))
            for _ in range(120)
        ]
        with suppress(OSError):
            for client in clients:
                client.sendall(b"GET / HT")
        # Those over the bound end at once, the others once they have had their time.
        assert [ended(client) for client in clients] == [True] * 120
        assert running.get().status_code == 200, "there is room again"
        with httpx.Client(base_url=running.port.url, timeout=20) as browser:
            for _ in range(3):
                assert browser.get("metrics").status_code == 200
        with httpx.stream("GET", running.port.url + "events", timeout=20) as stream:
            told = events(stream)
            next(told)
            time.sleep(1.5)  # an answer may take longer than a request
            running.release()
            assert list(told)[-1][0] == "end"


def ended(client: socket.socket) -> bool:
    """Wait until the other side has closed the connection."""
    with suppress(ConnectionResetError):
        while client.recv(4096):
            pass
    return True


def test_half_a_request_is_told_that_its_time_is_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of which nothing has come is only closed: a browser keeps some for later."""
    monkeypatch.setattr(connection, "PATIENCE", 0.1)
    told = []
    with served(tmp_path) as running:
        at = httpx.URL(running.port.url)
        for sent in (b"GET / HTTP/1.1\r\nHost: loc", b""):
            with socket.create_connection((at.host, at.port or 0), 20) as client:
                client.sendall(sent)
                told.append(client.makefile("rb").read())
        running.release()
    slow, silent = told
    assert slow.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
    assert slow.endswith(b"send it again\n")
    assert silent == b""


def test_a_process_of_few_files_serves_fewer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (256, 1024))
    assert connection.most_connections() == 32
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY,) * 2)
    assert connection.most_connections() == connection.MOST


def test_a_ledger_that_cannot_be_read_ends_no_run(tmp_path: Path) -> None:
    with served(tmp_path) as running:
        assert running.get().status_code == 200
        running.page._book.workdir = tmp_path / "elsewhere"
        answer = running.get()
        running.release()
    assert answer.status_code == 503
    assert "is not a work folder" in answer.text
    assert running.report is not None
    assert running.report.items["done"] == 5


def test_a_site_whose_name_leads_here_may_not_read(tmp_path: Path) -> None:
    with served(tmp_path) as running:
        for host in ("evil.example", "evil.example:80", "localhost.evil.example"):
            for path in ("", "events", "metrics"):
                assert running.get(path, headers={"Host": host}).status_code == 400
        assert running.get("metrics", headers={"Host": "localhost"}).status_code == 200


def test_metrics_count_what_the_run_does(tmp_path: Path) -> None:
    with served(tmp_path) as running:
        with httpx.stream("GET", f"{running.port.url}events", timeout=20) as response:
            first(events(response), lambda news: seen(news) == 2)
        text = running.get("metrics").text
        openmetrics = running.get("metrics", headers={"Accept": "application/openmetrics-text"})
    lines = dict(line.rsplit(" ", 1) for line in text.splitlines() if line[:1] != "#")
    assert float(lines['penstock_stage_items_total{outcome="done",stage="b"}']) == 1
    assert float(lines['penstock_items_ended_total{outcome="done"}']) == 1
    assert float(lines['penstock_stage_in_hand_items{stage="a"}']) == 1
    assert openmetrics.text.endswith("# EOF\n")


def test_the_documentation_names_every_metric(tmp_path: Path) -> None:
    page = Path(__file__).parents[3] / "docs" / "report.md"
    with served(tmp_path) as running:
        text = running.get("metrics").text
    given = set(re.findall(r"^(penstock_\w+)", text, re.MULTILINE))
    assert given == set(re.findall(r"^\| `(penstock_\w+)` \|", page.read_text(), re.MULTILINE))


@pytest.mark.skipif(shutil.which("promtool") is None, reason="needs promtool")
def test_promtool_finds_nothing_to_say_of_the_metrics(tmp_path: Path) -> None:
    with served(tmp_path) as running:
        text = running.get("metrics").text
    lint = subprocess.run(
        ["promtool", "check", "metrics"], input=text, capture_output=True, text=True
    )
    assert (lint.returncode, lint.stdout, lint.stderr) == (0, "", "")


def test_a_taken_port_is_refused_in_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(UsageError, match=f"port {port} of 127.0.0.1 is taken"):
            Port(port)


def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(UsageError, match="--web"):
        Port(0, "192.0.2.1")
    with pytest.raises(UsageError, match="--web-host"):
        Port(0, "no.such.host.invalid")


def test_only_this_machine_can_reach_it_unless_told() -> None:
    for host, public in ((None, False), ("::1", False), ("0.0.0.0", True)):
        try:
            port = Port(0, host)
        except UsageError:
            assert host == "::1", "a machine may lack IPv6"
            continue
        assert port.is_public == public
        port.close()


def test_a_run_that_cannot_start_is_not_said_to_be_done(tmp_path: Path) -> None:
    class Unopenable(Toy):
        def open(self) -> None:
            raise UsageError("there is no such model")

    pipeline = line(toy("a", base=Unopenable))
    outcomes: list[str] = []

    def prepare(run: Run) -> list[Any]:
        page = LivePage(pipeline, tmp_path, Port(0), run.snapshot, lambda: run.outcome)

        async def note_the_end() -> None:
            try:
                await page.serve()
            finally:
                outcomes.append(run.outcome)

        return [note_the_end]

    with pytest.raises(UsageError):
        run(pipeline, tmp_path, ["v1"], prepare=prepare)

    assert outcomes == ["stopped"]
