"""Uploads go on where they broke off, are whole or not there, and become jobs."""

import base64
import os
import shutil
import socket
from pathlib import Path
from typing import Any

import httpx
import pytest

from stages.serve.desk.uploads import LASTS, Uploads, safe_name
from stages.serve.routes.upload_routes import MEDIA_TYPE
from tests.engine.toys import line, toy
from tests.stages.serve.serving import Serving, serving

TUS = {"Tus-Resumable": "1.0.0"}
VIDEO = bytes(range(256)) * 40


def begun(service: Serving, length: int = len(VIDEO), name: str = "talk.mp4") -> str:
    told = f"filename {base64.b64encode(name.encode()).decode()}"
    headers = {**TUS, "Upload-Length": str(length), "Upload-Metadata": told}
    answer = service.client.post("/uploads", headers=headers)
    assert answer.status_code == 201, answer.text
    return answer.headers["Location"]


def sent(service: Serving, at: str, offset: int, content: Any) -> httpx.Response:
    headers = {
        **TUS,
        "Upload-Offset": str(offset),
        "Content-Type": MEDIA_TYPE,
    }
    return service.client.patch(at, headers=headers, content=content)


def offset_of(service: Serving, at: str) -> int:
    return int(service.client.head(at, headers=TUS).headers["Upload-Offset"])


def test_an_upload_in_pieces_becomes_a_job(fast: Path) -> None:
    with serving(line(toy("a")), fast) as service:
        at = begun(service)
        id_ = at.rpartition("/")[2]
        assert sent(service, at, 0, VIDEO[:5000]).headers["Upload-Offset"] == "5000"
        assert sent(service, at, 0, VIDEO[:5000]).status_code == 409
        refused = service.client.post("/jobs", json={"upload": id_})
        assert refused.status_code == 409
        assert "5000 of 10240" in refused.json()["detail"]
        assert sent(service, at, 5000, VIDEO[5000:] + b"more").status_code == 413
        assert sent(service, at, offset_of(service, at), VIDEO[5000:]).status_code == 204
        made = service.client.post("/jobs", json={"upload": id_})
        assert made.status_code == 202, made.text
        assert service.ended(made.json()["id"])["state"] == "done"
        assert (fast / "uploads" / id_ / "talk.mp4").read_bytes() == VIDEO
        assert service.client.delete(at, headers=TUS).status_code == 204
        assert service.client.head(at, headers=TUS).status_code == 404


def test_what_came_before_a_connection_broke_stays(fast: Path) -> None:
    with serving(line(toy("a")), fast) as service:
        at = begun(service)
        url = service.client.base_url
        head = (
            f"PATCH {at} HTTP/1.1\r\nHost: {url.host}\r\nTus-Resumable: 1.0.0\r\n"
            f"Upload-Offset: 0\r\nContent-Type: {MEDIA_TYPE}\r\n"
            f"Content-Length: {len(VIDEO)}\r\n\r\n"
        )
        with socket.create_connection((url.host, url.port)) as broken:
            broken.sendall(head.encode() + VIDEO[:3000])
            while offset_of(service, at) == 0 and sent(service, at, 0, b"").status_code != 423:
                pass  # until the service has it in hand
        while sent(service, at, (has := offset_of(service, at)), VIDEO[has:]).status_code != 204:
            pass  # until it has seen that the connection is gone
        assert has <= 3000
        [folder] = (fast / "uploads").iterdir()
        assert (folder / "talk.mp4").read_bytes() == VIDEO


def test_too_large_and_too_full_are_refused(fast: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(line(toy("a")), fast, most_bytes=1000) as service:
        headers = {**TUS, "Upload-Length": "1001"}
        assert service.client.post("/uploads", headers=headers).status_code == 413
        usage = shutil.disk_usage(fast)
        full = type(usage)(usage.total, usage.total, 0)
        monkeypatch.setattr(shutil, "disk_usage", lambda path: full)
        headers["Upload-Length"] = "10"
        assert service.client.post("/uploads", headers=headers).status_code == 507
        assert service.client.post("/uploads").status_code == 412


def test_leftovers_are_swept(tmp_path: Path) -> None:
    uploads = Uploads(tmp_path, 1000)
    old, wanted, fresh = (uploads.create("", 10, f"{n}.mp4") for n in range(3))
    for one in (old, wanted):
        for path in [tmp_path / one.id, *(tmp_path / one.id).iterdir()]:
            before = path.stat().st_mtime - LASTS - 60
            os.utime(path, (before, before))
    uploads.sweep({wanted.id})
    assert {path.name for path in tmp_path.iterdir()} == {wanted.id, fresh.id}


def test_jobs_that_ended_long_ago_are_forgotten(fast: Path) -> None:
    """And nothing of those that are under way."""
    with serving(line(toy("a")), fast, remembered=0.0, at_once=1) as service:
        key = {"Idempotency-Key": "k"}
        first = service.posted(headers=key)
        service.ended(first)
    with serving(line(toy("a")), fast, remembered=0.0) as service:
        while service.client.get(f"/jobs/{first}").status_code != 404:
            pass  # until it has swept
        assert service.posted(headers=key) != first


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("talk.mp4", "talk.mp4"),
        ("../../etc/passwd", "passwd"),
        ("C:\\films\\a b.mov", "a-b.mov"),
        ("info.json", "video-info.json"),
        (".hidden", "hidden"),
        ("$(rm -rf ~); <b>.mp4", "rm--rf-b-.mp4"),
        ("", "video-"),
        ("视频 1.mp4", "视频-1.mp4"),
        ("U\u0308bung.mov", "Übung.mov"),
        ("é" * 150 + ".mp4", "é" * 98 + ".mp4"),
    ],
)
def test_names_can_do_no_harm(given: str, name: str) -> None:
    assert safe_name(given) == name
