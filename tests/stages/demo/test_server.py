"""The media server, asked by a plain HTTP client."""

import socket
import time
from pathlib import Path

import httpx
import pytest

from stages.demo.server import (
    BareStatus,
    File,
    FirstThen,
    MediaServer,
    Received,
    Redirect,
    feed,
    page,
    stream,
)


@pytest.fixture
def media(tmp_path: Path) -> Path:
    path = tmp_path / "a.mp4"
    path.write_bytes(bytes(range(200)))
    return path


def test_files_whole_and_in_part(media: Path) -> None:
    with MediaServer({"/a.mp4": File(media)}) as server:
        whole = httpx.get(server.url("/a.mp4?token=1"))
        assert whole.content == media.read_bytes()
        assert whole.headers["Content-Type"] == "video/mp4"
        for asked, first, last in (("bytes=150-", 150, 199), ("bytes=0-9", 0, 9)):
            part = httpx.get(server.url("/a.mp4"), headers={"Range": asked})
            assert part.status_code == 206
            assert part.content == bytes(range(first, last + 1))
            assert part.headers["Content-Range"] == f"bytes {first}-{last}/200"
        beyond = httpx.get(server.url("/a.mp4"), headers={"Range": "bytes=200-"})
        assert (beyond.status_code, beyond.headers["Content-Range"]) == (416, "bytes */200")
        head = httpx.head(server.url("/a.mp4"))
        assert (head.content, head.headers["Content-Length"]) == (b"", "200")
        assert server.requests[1] == Received("GET", "/a.mp4", "bytes=150-")
        assert [one.method for one in server.asked("/a.mp4")] == ["GET"] * 4 + ["HEAD"]


def test_a_rate_is_kept(media: Path) -> None:
    media.write_bytes(bytes(4000))
    with MediaServer({"/a.mp4": File(media, bytes_per_second=20_000)}) as server:
        started = time.monotonic()
        assert len(httpx.get(server.url("/a.mp4")).content) == 4000
        assert time.monotonic() - started >= 0.19


def test_leaving_does_not_wait_for_slow_answers(media: Path) -> None:
    media.write_bytes(bytes(100_000))
    with (
        MediaServer({"/a.mp4": File(media, bytes_per_second=100)}) as server,
        httpx.stream("GET", server.url("/a.mp4")) as answer,
    ):
        next(answer.iter_raw(1))
        started = time.monotonic()
        server.close()
        assert time.monotonic() - started < 5


def test_pages_feeds_and_streams_name_their_videos() -> None:
    routes = {
        "/page": page(["/a.mp4?x=1&y=2"], "One & only"),
        "/feed": feed(["http://example.com/a"]),
        "/v.m3u8": stream([("/0.ts", 1.5), ("/1.ts", 0.5)]),
    }
    with MediaServer(routes) as server:
        html = httpx.get(server.url("/page"))
        assert html.headers["Content-Type"].startswith("text/html")
        assert '<video src="/a.mp4?x=1&amp;y=2" controls>' in html.text
        assert "<title>One &amp; only</title>" in html.text
        assert "<link>http://example.com/a</link>" in httpx.get(server.url("/feed")).text
        lines = httpx.get(server.url("/v.m3u8")).text.splitlines()
        assert lines[-5:] == [
            "#EXTINF:1.500,",
            "/0.ts",
            "#EXTINF:0.500,",
            "/1.ts",
            "#EXT-X-ENDLIST",
        ]
        assert "#EXT-X-TARGETDURATION:2" in lines


def test_misbehaviour_on_demand(media: Path) -> None:
    routes = {
        "/busy": FirstThen(BareStatus(429, retry_after=3), 2, File(media)),
        "/moved": Redirect("/busy", 301),
        "/cut": File(media, cut=0.5),
        "/cut-once": FirstThen(File(media, cut=0.5), 1, File(media)),
    }
    with MediaServer(routes) as server:

        def statuses(path: str, times: int) -> list[int]:
            return [httpx.get(server.url(path)).status_code for _ in range(times)]

        moved = httpx.get(server.url("/moved"))
        assert (moved.status_code, moved.headers["Location"]) == (301, "/busy")
        assert httpx.get(server.url("/busy")).headers["Retry-After"] == "3"
        assert statuses("/busy", 3) == [429, 200, 200]
        assert statuses("/nowhere", 1) == [404]
        for path in ("/cut", "/cut-once"):
            with pytest.raises(httpx.RemoteProtocolError):
                httpx.get(server.url(path))
        assert httpx.get(server.url("/cut-once")).content == media.read_bytes()


def test_clients_that_hang_up_are_tolerated(media: Path, capfd: pytest.CaptureFixture[str]) -> None:
    media.write_bytes(bytes(20_000_000))
    with MediaServer({"/a.mp4": File(media)}) as server:
        address = server.url("").removeprefix("http://").split(":")
        for _ in range(3):
            with socket.create_connection((address[0], int(address[1]))) as client:
                client.sendall(b"GET /a.mp4 HTTP/1.1\r\nHost: x\r\n\r\n")
                client.recv(100)
        assert httpx.get(server.url("/nowhere")).status_code == 404
    assert capfd.readouterr() == ("", "")
