"""Webhooks of servers that mean harm, or are broken: nothing private is reached, nothing that they
answer fills the memory, and none holds up the calls to others; nor does a clock that is set."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from engine import Item
from stages.serve import webhooks
from stages.serve.desk.tokens import Tokens
from stages.serve.queue.calls_table import CallsTable
from stages.serve.routes import job_routes
from tests.engine.toys import Toy, line, toy
from tests.stages.serve.serving import SECONDS, SITE, Serving, serving, token_file
from tests.threaded_server import serving_requests

ENDLESS = 300_000_000
"""Bytes that nobody is to read."""

CHUNK = b"x" * 65_536


class Sites(ThreadingHTTPServer):
    """Several sites by their paths; `called` has these, in order."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Site)
        self.called: list[str] = []
        self.read = 0
        """Bytes of the endless answer that were taken."""
        self.changed = threading.Condition()

    def wait_for(self, path: str, times: int = 1) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: self.called.count(path) >= times, SECONDS), (
                self.called
            )


class Site(BaseHTTPRequestHandler):
    server: Sites

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        with self.server.changed:
            self.server.called.append(self.path)
            self.server.changed.notify_all()
        code = self.path.strip("/")
        self.send_response(int(code) if code.isdigit() else 200)
        if code.startswith("3"):
            self.send_header("Location", f"http://127.0.0.1:{self.server.server_port}/inner")
        self.end_headers()
        while code == "endless" and self.server.read < ENDLESS:
            self.server.read += self.wfile.write(CHUNK)

    do_GET = do_POST

    def log_message(self, *about: Any) -> None:
        pass


@pytest.fixture
def tokens(tmp_path: Path) -> Tokens:
    return Tokens.read(token_file(tmp_path, site='webhook_secret = "a secret of the site\'s"'))


@pytest.fixture
def sites(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sites]:
    """Sites that the name public.example leads to, in the place of an address of the internet."""
    monkeypatch.setattr(webhooks, "FIRST", 0.01)
    monkeypatch.setattr(webhooks, "LOOK", 0.01)
    monkeypatch.setattr(webhooks, "is_private", lambda address: address != "127.0.0.1")
    real = socket.getaddrinfo

    def look_up(host: str, *about: Any, **more: Any) -> Any:
        return real("127.0.0.1" if host == "public.example" else host, *about, **more)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    with serving_requests(Sites()) as made:
        yield made


@contextmanager
def site_service(fast: Path, tokens: Tokens) -> Iterator[Serving]:
    with serving(line(toy("a")), fast, tokens=tokens) as service:
        yield service


def post(service: Serving, webhook: str, name: str = "v") -> Any:
    data = {"url": f"https://example.org/{name}.mp4", "webhook": webhook}
    return service.client.post("/jobs", json=data, headers=SITE)


@pytest.mark.parametrize("status", [301, 302, 307])
def test_a_redirect_is_not_followed(
    fast: Path, tokens: Tokens, sites: Sites, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    url = f"http://public.example:{sites.server_port}/{status}"
    with site_service(fast, tokens) as service:
        id_ = post(service, url).json()["id"]
        sites.wait_for(f"/{status}", 2)
        assert service.seen_by(id_, SITE)["state"] == "done"
    assert set(sites.called) == {f"/{status}"}
    said = {one.getMessage() for one in caplog.records if "webhook" in one.getMessage()}
    assert said == {f"webhook {url} of job {id_}: answered {status}; redirects are not followed"}


def test_a_name_is_looked_up_once_for_a_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that leads elsewhere a moment later: what was judged is what is called."""
    found = ["93.184.216.34", "10.0.0.1"]

    def look_up(host: str, port: int, **about: Any) -> list[Any]:
        return [(2, 1, 6, "", (found.pop(0), port))]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    assert webhooks.placed("https://bücher.example/hook", allow_private=False) == (
        "https://93.184.216.34:443/hook",
        "xn--bcher-kva.example",
        "xn--bcher-kva.example",
    )
    with pytest.raises(webhooks.PrivateWebhook, match=r"leads to the private address 10\.0\.0\.1"):
        webhooks.placed("https://bücher.example/hook", allow_private=False)


def test_no_answer_is_read(fast: Path, tokens: Tokens, sites: Sites) -> None:
    url = f"http://public.example:{sites.server_port}"
    with site_service(fast, tokens) as service:
        post(service, f"{url}/endless")
        post(service, f"{url}/200", "w")
        sites.wait_for("/endless")
        sites.wait_for("/200")
    assert sorted(sites.called) == ["/200", "/endless"], "both are taken, and not made again"
    assert sites.read < ENDLESS / 10, "what the sockets hold"


def test_an_address_that_cannot_be_called_holds_up_no_other(
    fast: Path, tokens: Tokens, sites: Sites, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"http://public.example:{sites.server_port}"
    with site_service(fast, tokens) as service:
        for wrong in (f"{url}/a\x01b", "http://a..b/hook"):
            refused = post(service, wrong)
            assert refused.status_code == 422
            assert "is no address that can be called" in refused.json()["detail"]
        # As one that was taken before that was looked at.
        monkeypatch.setattr(job_routes, "webhook_address", lambda url: url)
        assert post(service, f"{url}/a\x01b").status_code == 202
        assert post(service, f"{url}/200", "w").status_code == 202
        sites.wait_for("/200")


def test_a_clock_that_is_set_back_holds_up_no_call(
    fast: Path, tokens: Tokens, sites: Sites, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is set back once a call is put off."""
    real, put_off = time.time, CallsTable.put_off

    def set_back(*about: Any) -> None:
        put_off(*about)
        monkeypatch.setattr(time, "time", lambda: real() - 3600)

    monkeypatch.setattr(CallsTable, "put_off", set_back)
    with site_service(fast, tokens) as service:
        post(service, f"http://public.example:{sites.server_port}/500")
        sites.wait_for("/500", 3)


def test_a_clock_that_is_set_ahead_ends_no_job_that_waits(
    fast: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, go, at_work = time.time, threading.Event(), threading.Event()

    class Held(Toy):
        def act(self, item: Item, out: Path) -> Any:
            at_work.set()
            assert go.wait(SECONDS)
            return super().act(item, out)

    with serving(line(toy("a", base=Held)), fast, at_once=1) as service:
        service.posted("first")
        assert at_work.wait(SECONDS)
        data = {"url": "https://example.org/second.mp4", "within": 1800}
        second = service.client.post("/jobs", json=data).json()["id"]
        monkeypatch.setattr(time, "time", lambda: real() + 3600)
        go.set()
        assert service.ended(second)["state"] == "done"
