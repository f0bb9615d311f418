"""Whatever a request says, it is refused in one line, or is data and nothing else."""

import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine import StopRun
from stages.serve.queue.jobs_table import JobsTable
from tests.engine import toys
from tests.engine.toys import line, toy
from tests.stages.serve.serving import Serving, serving

JSON = {"Content-Type": "application/json"}

NASTY = (
    "$(touch pwned); `id`",
    "<script>alert(1)</script>",
    "{{ 7 * 7 }}{% raw %}",
    "%s%n%x",
    "line\nof a log\r\nSet-Cookie: a=b",
    "\x1b[31mred\x1b[0m",
    "‮gnp.exe",
    "'; DROP TABLE served_jobs; --",
    "\x00",
    "a" * 7000,
)


@pytest.fixture(scope="module")
def service() -> Iterator[Serving]:
    with toys.fast_folder() as folder, serving(line(toy("a")), folder) as one:
        yield one


@pytest.mark.parametrize("text", NASTY, ids=range(len(NASTY)))
def test_what_a_job_says_is_data(service: Serving, text: str) -> None:
    for data in (
        {"url": f"https://example.org/{text}"},
        {"url": text},
        {"videoPath": text},
        {"upload": text[:64]},
        {"url": "https://example.org/v", "profile": text[:200]},
        {"url": "https://example.org/v", "options": {text: text}},
    ):
        answer = service.client.post("/jobs", json=data)
        told = answer.json()
        if answer.status_code == 202:
            assert service.ended(told["id"])["data"] == data
            continue
        assert answer.status_code in (404, 409, 422), answer.text
        assert answer.headers["Content-Type"] == "application/problem+json"
        detail = told["detail"]
        assert detail.isprintable() or "‮" in detail, detail
        assert len(detail) <= 500


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/a.mp4",
        "http://2130706433/",
        "http://[::1]/",
        "http://localhost/",
        "file:///etc/passwd",
        "http://10.0.0.1/x",
    ],
)
def test_private_addresses_are_refused_at_once(service: Serving, url: str) -> None:
    answer = service.client.post("/jobs", json={"url": url})
    assert answer.status_code == 422, answer.text


@pytest.mark.parametrize(
    ("how", "status"),
    [
        ({"json": {}}, 422),
        ({"json": {"url": "https://a.org/", "videoPath": "/a"}}, 422),
        ({"json": {"url": "https://a.org/", "else": 1}}, 422),
        ({"json": []}, 422),
        ({"content": b"{", "headers": {"Content-Type": "application/json"}}, 422),
        ({"content": b"x" * 70_000}, 413),
        ({"json": {"url": "https://a.org/"}, "headers": {"Sec-Fetch-Site": "cross-site"}}, 403),
        ({"json": {"url": "https://a.org/"}, "headers": {"Host": "evil.example"}}, 400),
        ({"data": {"url": "https://a.org/"}, "headers": {"Sec-Fetch-Site": "none"}}, 422),
    ],
)
def test_wrong_requests_are_refused(service: Serving, how: Any, status: int) -> None:
    answer = service.client.post("/jobs", **how)
    assert answer.status_code == status, answer.text


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ({"data": {"url": "https://a.org/"}}, "with the header Content-Type: application/json"),
        ({"content": b"{", "headers": JSON}, "the body is no JSON"),
        ({"content": b'{"url": "\xff"}', "headers": JSON}, "the body is no JSON"),
        ({"json": {"url": "https://a.org/", "else": 1}}, "else: there is no such field"),
        ({"json": {"url": 7}}, "url: has to be text"),
        ({"json": {"priority": 5000}}, "priority: has to be 1000 at most"),
        ({"json": {"options": []}}, "options: has to be an object"),
        ({"json": {}}, "a job has one of 'url', 'videoPath' and 'upload'"),
        ({"json": {}, "headers": {"Host": "a.org"}}, "have a proxy before it send the header Host"),
    ],
)
def test_a_refusal_says_what_to_do(service: Serving, how: Any, told: str) -> None:
    answer = service.client.post("/jobs", **how)
    assert told in answer.json()["detail"]
    assert answer.headers["Content-Type"] == "application/problem+json"


def test_a_full_disk_is_told_without_the_server_s_paths(
    service: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*asked: Any) -> Any:
        raise StopRun("the disk is full: the ledger /srv/w/penstock.db cannot be written")

    monkeypatch.setattr(JobsTable, "accept", full)
    answer = service.post()
    assert answer.status_code == 507
    assert answer.json()["detail"] == "the service's disk is full; ask again when there is room"


def test_an_address_that_a_refusal_names_is_there(service: Serving) -> None:
    for answer in (service.client.get("/nowhere"), service.client.put("/jobs")):
        [at] = re.findall(r"/[\w/.]+", answer.json()["detail"])
        assert service.client.get(at).status_code == 200


def test_broken_clients_hold_nothing_up(service: Serving) -> None:
    url = service.client.base_url
    broken = [socket.create_connection((url.host, url.port)) for _ in range(20)]
    head = b"POST /jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n"
    for number, one in enumerate(broken):
        one.sendall(head[: 10 + number * 4])
    broken[0].sendall(b"\xff\xfe\r\n\r\n")
    id_ = service.posted("among the broken")
    with service.client.stream("GET", f"/jobs/{id_}/events"):
        pass  # left in the middle
    assert service.ended(id_)["state"] == "done"
    for one in broken:
        one.close()


def test_every_address_is_described(service: Serving, tmp_path: Path) -> None:
    paths = service.client.get("/openapi.json").json()["paths"]
    assert {"/jobs", "/jobs/{id}", "/jobs/{id}/events", "/uploads/{id}", "/readyz"} <= set(paths)
    for operations in paths.values():
        for operation in operations.values():
            assert operation["description"], operation
            assert "default" in operation["responses"], operation
