"""A response that was looked at and not read: who gets it, from which byte on, and who does not."""

import io
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import Drop
from stages.fetch.download import Download
from stages.fetch.guard.impersonation import missing
from stages.fetch.guard.responses import Body, Response, Watch
from stages.fetch.ytdlp_options import open_youtube_dl
from tests.stages.counting_server import CountingServer, Served, leading_to
from tests.stages.downloading import attempt, make_clip, opened

CONTENT = bytes(range(256)) * 40_000
ROUTES = {"/a": Served(CONTENT), "/short": Served(b"abc"), "/b": leading_to("/a")}
FOR_BROWSERS = pytest.mark.skipif(missing() is not None, reason="needs penstock[impersonate]")


def watch() -> Watch:
    return Watch(max_filesize=None, min_rate=0, socket_timeout=5.0)


@pytest.fixture(params=[None, pytest.param("chrome", marks=FOR_BROWSERS)])
def downloader(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Any]:
    settings = Download.Settings(impersonate=request.param)
    downloader = open_youtube_dl(settings, tmp_path, lambda address: False)
    yield downloader
    downloader.close()


@pytest.mark.parametrize("read", [0, 1, 512, 1024])
def test_the_same_request_gets_it_from_its_beginning(downloader: Any, read: int) -> None:
    with CountingServer(ROUTES) as server:
        first = downloader.urlopen(server.url("/a"))
        first.read(read)
        downloader.unread.keep()
        assert downloader.urlopen(server.url("/a")) is first
        assert first.read(len(CONTENT)) == CONTENT
        assert server.connections == 1
        assert len(downloader.answers) == 2


def test_a_request_for_where_a_redirect_led_to_gets_it(downloader: Any) -> None:
    with CountingServer(ROUTES) as server:
        first = downloader.urlopen(server.url("/b"))
        for path in ("/b", "/a"):
            downloader.unread.keep()
            assert downloader.urlopen(server.url(path)) is first
        assert server.connections == 2


@pytest.mark.parametrize(
    ("path", "options"),
    [
        ("/a", {"headers": {"Range": "bytes=5-"}}),
        ("/a", {"headers": {"Referer": "http://a.example/"}}),
        ("/a", {"headers": {"Authorization": "Basic eA=="}}),
        ("/a", {"method": "HEAD"}),
        ("/a", {"data": b"x"}),
        ("/a", {"extensions": {"timeout": 3}}),
        ("/a?b", {}),
        ("/short", {}),
    ],
)
def test_another_request_does_not_and_its_server_is_told(
    downloader: Any, path: str, options: dict[str, Any]
) -> None:
    from yt_dlp.networking import Request

    with CountingServer(ROUTES | {"/a?b": Served(b"")}) as server:
        downloader.urlopen(server.url("/a"))
        downloader.unread.keep()
        request = Request(server.url(path), **options)
        other = downloader.urlopen(request)
        assert server.connections == 2
        other.close()
        assert server.sent()  # the first was closed too, or its server would still be sending


def test_nobody_gets_one_that_its_reader_may_go_on_reading(downloader: Any) -> None:
    with CountingServer(ROUTES) as server:
        first = downloader.urlopen(server.url("/a"))
        second = downloader.urlopen(server.url("/a"))
        downloader.unread.keep()
        assert first.read(len(CONTENT)) == second.read(len(CONTENT)) == CONTENT


@pytest.mark.parametrize("read", [None, 1025, 100_000])
def test_nobody_gets_one_that_was_read(downloader: Any, read: int | None) -> None:
    with CountingServer(ROUTES) as server:
        first = downloader.urlopen(server.url("/a"))
        first.read(read)
        downloader.unread.keep()
        assert downloader.urlopen(server.url("/a")).read() == CONTENT


def test_what_is_left_is_closed_with_the_attempt(downloader: Any) -> None:
    with CountingServer(ROUTES) as server:
        downloader.urlopen(server.url("/a"))
        held = downloader.urlopen(server.url("/a"))
        downloader.unread.keep()
        downloader.close_connections()
        assert held.closed
        assert server.sent()
        assert downloader.urlopen(server.url("/a")).read() == CONTENT


def test_the_beginning_counts_once_against_the_most_that_a_file_may_have(tmp_path: Path) -> None:
    content = make_clip(tmp_path / "a.mp4").read_bytes()
    # Neither its length nor its type is said, so yt-dlp reads its beginning.
    route = Served(content, "application/octet-stream", framing="close")
    with CountingServer({"/a.mp4": route}) as server:
        for most in (len(content), len(content) - 1):
            with opened(tmp_path / str(most), max_filesize=most) as stage:
                if most == len(content):
                    attempt(stage, server.url("/a.mp4"))
                else:
                    with pytest.raises(Drop):
                        attempt(stage, server.url("/a.mp4"))
        assert server.connections == 2


def plain(content: bytes, chunked: bool) -> Any:
    """A response with this body, over a real socket."""
    ours, theirs = socket.socketpair()
    if chunked:
        head = "Transfer-Encoding: chunked"
        pieces = [content[at : at + 700] for at in range(0, len(content), 700)]
        content = b"".join(b"%x\r\n%b\r\n" % (len(one), one) for one in [*pieces, b""])
    else:
        head = f"Content-Length: {len(content)}"

    def send() -> None:
        with theirs:
            theirs.sendall(f"HTTP/1.1 200 OK\r\n{head}\r\n\r\n".encode() + content)

    threading.Thread(target=send, daemon=True).start()
    response = Response(watch(), ours)
    ours.close()
    response.begin()
    return response


class _Given(io.RawIOBase):
    """Gives its content in small pieces, as a network does."""

    def __init__(self, content: bytes) -> None:
        self._left = io.BytesIO(content)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._left.readinto(memoryview(buffer)[:300])


@given(
    size=st.integers(0, 3000),
    reads=st.lists(st.integers(0, 700), max_size=6),
    kind=st.sampled_from(["length", "chunked", "unpacked"]),
    whole=st.booleans(),
)
def test_a_rewound_body_is_the_same_body(
    size: int, reads: list[int], kind: str, whole: bool
) -> None:
    content = bytes(number * 7 % 251 for number in range(size))
    body: Any = Body(_Given(content), watch()) if kind == "unpacked" else None
    body = body or plain(content, kind == "chunked")
    at = 0
    for most in reads:
        block = body.read(most)
        assert block == content[at : at + most]
        at += len(block)
        if at < size and at <= 1024:
            assert body.rewind()
            at = 0
        elif at > 1024:
            assert not body.rewind()
    rest = body.read() if whole else body.read(size + 1)
    assert rest == content[at:]
    body.close()
