"""Callers see their own jobs alone, have quotas, and are called back with a signature."""

import base64
import hashlib
import hmac
import json
import queue
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from engine import UsageError
from stages.serve import webhooks
from stages.serve.desk.tokens import Tokens
from stages.serve.webhooks import PrivateWebhook, placed
from tests.engine.toys import line, toy
from tests.stages.serve.serving import OTHER, SITE, serving, token_file
from tests.threaded_server import serving_requests

SECRET = "a secret of the site's"
CALLERS = {"site": f'webhook_secret = "{SECRET}"', "other": "jobs = 1\nrequests = 5"}


@pytest.fixture
def tokens(tmp_path: Path) -> Tokens:
    return Tokens.read(token_file(tmp_path, **CALLERS))


def test_a_token_file_that_others_can_read_is_told_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = token_file(tmp_path, **CALLERS)
    for mode, told in ((0o600, 0), (0o640, 0), (0o644, 1)):
        path.chmod(mode)
        Tokens.read(path)
        assert len(caplog.records) == told
    assert "chmod" in caplog.text


def test_callers_are_told_apart(fast: Path, tokens: Tokens) -> None:
    with serving(line(toy("a")), fast, tokens=tokens) as service:
        assert service.post().status_code == 401
        assert service.post(headers={"Authorization": "Bearer the-token-of-the"}).status_code == 401
        id_ = service.posted(headers=SITE)
        assert service.client.get(f"/jobs/{id_}", headers=SITE).status_code == 200
        assert service.client.get(f"/jobs/{id_}", headers=OTHER).status_code == 404
        assert service.client.get("/jobs", headers=OTHER).json()["jobs"] == []
        asked = [service.client.get("/jobs", headers=OTHER) for _ in range(4)]
        assert asked[-1].status_code == 429
        assert int(asked[-1].headers["Retry-After"]) > 0
        assert service.client.get("/jobs", headers=SITE).status_code == 200
        assert "penstock_service_jobs" in service.client.get("/metrics", headers=SITE).text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "it holds no token"),
        ("[a]\ntoken = 'secret'", "token: has to have 16 characters at least"),
        ("[a]\ntoken = 'secret-secret-secret'\njob = 1", "job: there is no such field"),
        ("secret", "this is no TOML"),
        ("[a]\ntoken = 'secret-secret-secret'\n[b]\ntoken = 'secret-secret-secret'", "one token"),
    ],
)
def test_a_wrong_file_is_one_line_without_the_token(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "tokens.toml"
    path.write_text(text)
    with pytest.raises(UsageError, match=said) as refused:
        Tokens.read(path)
    assert "secret" not in str(refused.value)
    assert "\n" not in str(refused.value)


class Called(BaseHTTPRequestHandler):
    answers: "queue.SimpleQueue[int]"
    calls: "queue.SimpleQueue[tuple[dict[str, str], bytes]]"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(self.answers.get())
        self.end_headers()
        self.calls.put(({name.lower(): value for name, value in self.headers.items()}, body))

    def log_message(self, *about: Any) -> None:
        pass


@contextmanager
def site(*answers: int) -> Iterator[tuple[str, "queue.SimpleQueue[tuple[dict[str, str], bytes]]"]]:
    """A web site that answers so to one call after the other: its address, and its calls."""
    calls: queue.SimpleQueue[tuple[dict[str, str], bytes]] = queue.SimpleQueue()
    given: queue.SimpleQueue[int] = queue.SimpleQueue()
    for answer in answers:
        given.put(answer)
    handler = type("Handler", (Called,), {"answers": given, "calls": calls})
    with serving_requests(HTTPServer(("127.0.0.1", 0), handler)) as server:
        yield f"http://127.0.0.1:{server.server_port}/hook", calls


def test_a_webhook_is_signed_and_tried_until_it_is_taken(
    fast: Path, tokens: Tokens, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that comes after the one that has ended the job goes on with it."""
    monkeypatch.setattr(webhooks, "FIRST", 0.01)
    monkeypatch.setattr(webhooks, "LOOK", 0.01)
    monkeypatch.setattr(webhooks, "is_private", lambda address: False)
    with site(500, 302, 204) as (url, calls):
        with serving(line(toy("a")), fast, tokens=tokens) as service:
            data = {"url": "https://example.org/v.mp4", "webhook": url}
            made = service.client.post("/jobs", json=data, headers=SITE)
            assert made.status_code == 202, made.text
            calls.get(timeout=60)
        with serving(line(toy("a")), fast, tokens=tokens) as service:
            calls.get(timeout=60)
            headers, body = calls.get(timeout=60)
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    digest = hmac.new(SECRET.encode(), signed, hashlib.sha256).digest()
    assert headers["webhook-signature"] == f"v1,{base64.b64encode(digest).decode()}"
    told = json.loads(body)
    assert (told["type"], told["data"]["id"]) == ("job.ended", made.json()["id"])
    assert told["data"]["state"] == "done"


@pytest.mark.parametrize("url", ["http://127.0.0.1/", "http://localhost:80/", "http://[::1]/"])
def test_a_webhook_leads_to_no_private_address(url: str) -> None:
    with pytest.raises(PrivateWebhook):
        placed(url, allow_private=False)


def test_a_webhook_takes_a_secret(fast: Path) -> None:
    with serving(line(toy("a")), fast) as service:
        data = {"url": "https://example.org/v.mp4", "webhook": "https://example.org/hook"}
        refused: httpx.Response = service.client.post("/jobs", json=data)
        assert refused.status_code == 422
        assert "webhook_secret" in refused.json()["detail"]
