"""Servers that send too much, too slowly, or packed: real ones, through the real stage."""

import gzip
import shutil
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import brotli
import pytest

from engine import Drop, Ending, Permanent, Transient
from stages.demo.server import Exchange, File, FirstThen, MediaServer, Route, Text, page, stream
from stages.fetch.guard import responses, unpacking
from tests.stages.downloading import attempt, fetch, make_clip, opened, read

ONCE = {"retries": 0, "fragment_retries": 0, "extractor_retries": 0}
HTML = "text/html; charset=utf-8"
HLS = "application/vnd.apple.mpegurl"


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return make_clip(tmp_path / "clip.mp4", noise=True)


@pytest.fixture(autouse=True)
def small_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(responses, "MOST_TEXT", 100_000)
    monkeypatch.setattr(responses, "MOST_AROUND", 200_000)
    monkeypatch.setattr(responses, "SLOW_TIMEOUTS", 0.0)


def endless(exchange: Exchange, kind: str, start: bytes = b"", more: bytes = bytes(8192)) -> None:
    """A body that says no length and does not end."""
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nConnection: close\r\n\r\n"
    exchange.close_connection = True
    exchange.wfile.write(head.encode() + start)
    while not exchange.server.media.stopping.is_set():
        exchange.wfile.write(more)


def packed(coding: str, body: bytes, kind: str = HTML) -> Route:
    pack: dict[str, Callable[[bytes], bytes]] = {
        "gzip": gzip.compress,
        "deflate": lambda data: zlib.compress(data)[2:-4],
        "deflate, as most send it": zlib.compress,
        "br": lambda data: bytes(brotli.compress(data, quality=5)),
        "gzip, br": lambda data: bytes(brotli.compress(gzip.compress(data), quality=5)),
    }
    content = pack[coding](body)

    def answer(exchange: Exchange) -> None:
        name = coding.removesuffix(", as most send it")
        exchange.send(200, kind, content, content_encoding=name)

    return answer


CODINGS = ["gzip", "deflate", "deflate, as most send it", "br", "gzip, br"]


def ending_of(folder: Path, source: str, **settings: Any) -> Ending:
    with pytest.raises(Ending) as caught:
        fetch(folder, source, **({"options": ONCE} | settings))
    return caught.value


@pytest.mark.parametrize("coding", CODINGS)
def test_a_packed_page_is_read_like_a_plain_one(tmp_path: Path, clip: Path, coding: str) -> None:
    whole = page(["/clip.mp4"], "A title" + " x" * 40_000)
    routes = {"/p": packed(coding, whole.content.encode()), "/clip.mp4": File(clip)}
    with MediaServer(routes) as server:
        out = fetch(tmp_path, server.url("/p"))
    assert read(out)["title"].startswith("A title x")
    assert (out / "video.mp4").read_bytes() == clip.read_bytes()


@pytest.mark.parametrize("coding", CODINGS)
def test_a_packed_video_is_unpacked(tmp_path: Path, clip: Path, coding: str) -> None:
    with MediaServer({"/v.mp4": packed(coding, clip.read_bytes(), "video/mp4")}) as server:
        out = fetch(tmp_path, server.url("/v.mp4"))
    assert (out / "video.mp4").read_bytes() == clip.read_bytes()


@pytest.mark.parametrize("coding", CODINGS)
def test_a_page_that_unpacks_to_too_much_fails(tmp_path: Path, coding: str) -> None:
    blanks = b"<!doctype html><html>" + b" " * 30_000_000
    with MediaServer({"/p": packed(coding, blanks)}) as server:
        ending = ending_of(tmp_path, server.url("/p"))
        assert isinstance(ending, Permanent)
        assert (ending.kind, server.url("/p") in ending.reason) == ("oversized", True)


def test_no_more_is_unpacked_than_is_asked_for() -> None:
    """Ten bytes of brotli may hold 16 MB."""

    class Given:
        def __init__(self, body: bytes) -> None:
            self._left = body

        def read(self, most: int) -> bytes:
            block, self._left = self._left[:most], self._left[most:]
            return block

    bombs = {
        "br": brotli.compress(bytes(200_000_000), quality=5),
        "gzip": gzip.compress(bytes(30_000_000)),
    }
    for coding, bomb in bombs.items():
        (unpacker,) = unpacking.unpackers(coding)
        body = unpacking.Unpacked(Given(bomb), unpacker())
        assert len(body._next(1000)) < 2_000_000


def test_what_is_packed_too_often_or_cut_off_fails(tmp_path: Path) -> None:
    body = gzip.compress(b"<html>" + bytes(range(256)) * 100)

    def often(exchange: Exchange) -> None:
        exchange.send(200, HTML, body, content_encoding=", ".join(["gzip"] * 1000))

    def cut(exchange: Exchange) -> None:
        exchange.send(200, HTML, body[:-20], content_encoding="gzip")

    with MediaServer({"/often": often, "/cut": cut}) as server:
        assert ending_of(tmp_path, server.url("/often")).kind == "oversized"
        assert ending_of(tmp_path, server.url("/cut")).kind == "transient"


def chunks(exchange: Exchange) -> None:
    """A page in chunks that does not end."""
    exchange.close_connection = True
    exchange.wfile.write(
        b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    while not exchange.server.media.stopping.is_set():
        exchange.wfile.write(b"400\r\n" + b"<p>lorem</p> ".ljust(1024) + b"\r\n")


def trailers(exchange: Exchange) -> None:
    exchange.close_connection = True
    exchange.wfile.write(
        b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"6\r\n<html>\r\n0\r\n"
    )
    while not exchange.server.media.stopping.is_set():
        exchange.wfile.write(b"X-More: yes\r\n" * 500)


def go_on(exchange: Exchange) -> None:
    while not exchange.server.media.stopping.is_set():
        exchange.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n" * 500)


def wide_head(exchange: Exchange) -> None:
    exchange.close_connection = True
    exchange.wfile.write(b"HTTP/1.1 200 OK\r\n")
    for number in range(90):
        exchange.wfile.write(f"X-{number}: {'a' * 60_000}\r\n".encode())
    exchange.wfile.write(b"\r\n<html>")


def redirect(exchange: Exchange) -> None:
    exchange.close_connection = True
    exchange.wfile.write(b"HTTP/1.1 302 Found\r\nLocation: /other\r\nConnection: close\r\n\r\n")
    while not exchange.server.media.stopping.is_set():
        exchange.wfile.write(bytes(8192))


def refusal(exchange: Exchange) -> None:
    """A status of error with a body that does not end."""
    exchange.close_connection = True
    exchange.wfile.write(b"HTTP/1.1 404 Not Found\r\nConnection: close\r\n\r\n")
    while not exchange.server.media.stopping.is_set():
        exchange.wfile.write(bytes(8192))


def endless_page(exchange: Exchange) -> None:
    endless(exchange, HTML, b"<!doctype html><html>", b"<p>lorem ipsum</p>\n" * 400)


def endless_feed(exchange: Exchange) -> None:
    start = b"<?xml version='1.0'?><rss version='2.0'><channel><title>f</title>"
    item = b"<item><title>v</title><link>http://example.com/a.mp4</link></item>\n"
    endless(exchange, "application/rss+xml", start, item * 100)


def endless_list(exchange: Exchange) -> None:
    endless(exchange, HLS, b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n", b"#EXTINF:1,\n/0.ts\n" * 400)


def long_line(exchange: Exchange) -> None:
    exchange.close_connection = True
    exchange.wfile.write(b"HTTP/1.1 200 OK\r\nX-Long: ")
    while not exchange.server.media.stopping.is_set():
        exchange.wfile.write(b"a" * 8192)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (endless_page, "oversized"),
        (endless_feed, "oversized"),
        (endless_list, "oversized"),
        (chunks, "oversized"),
        (trailers, "oversized"),
        (go_on, "oversized"),
        (wide_head, "oversized"),
        (redirect, "oversized"),
        (long_line, "transient"),
        (refusal, "not_found"),
    ],
)
def test_what_does_not_end_is_not_read_on(tmp_path: Path, answer: Route, kind: str) -> None:
    with MediaServer({"/p": answer}) as server:
        ending = ending_of(tmp_path, server.url("/p"))
        assert ending.kind == kind
        assert ending.reason.startswith(server.url("/p"))


def encrypted(key: Route, segment: Route) -> dict[str, Route]:
    text = stream([("/0.ts", 1.0)]).content
    keyed = text.replace("#EXTINF", '#EXT-X-KEY:METHOD=AES-128,URI="/key"\n#EXTINF', 1)
    return {"/v.m3u8": Text(keyed, HLS), "/key": key, "/0.ts": segment}


def test_a_streams_key_is_bounded_like_a_page(tmp_path: Path) -> None:
    routes = encrypted(
        lambda exchange: endless(exchange, "application/octet-stream"),
        File(make_clip(tmp_path / "part.ts")),
    )
    with MediaServer(routes) as server:
        assert ending_of(tmp_path, server.url("/v.m3u8")).kind == "oversized"


def dash(server: MediaServer, segment: str) -> Text:
    """A DASH manifest of one piece after another."""
    return Text(
        f"""<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"
        mediaPresentationDuration="PT10S" profiles="urn:mpeg:dash:profile:isoff-live:2011"><Period>
        <AdaptationSet mimeType="video/mp4"><Representation id="v" bandwidth="1000" width="64"
        height="48" codecs="avc1.42c00d"><SegmentList duration="1">
        <SegmentURL media="{server.url(segment)}"/><SegmentURL media="{server.url(segment)}"/>
        </SegmentList></Representation></AdaptationSet></Period></MPD>""",
        "application/dash+xml",
    )


@pytest.mark.parametrize("way", ["/v.mp4", "/v.m3u8", "/v.mpd"])
def test_a_video_without_end_is_dropped_once_it_is_too_large(tmp_path: Path, way: str) -> None:
    part = make_clip(tmp_path / "part.ts").read_bytes()
    routes: dict[str, Route] = {
        "/v.mp4": lambda exchange: endless(exchange, "video/mp4", part),
        "/v.m3u8": stream([("/0.ts", 1.0), ("/0.ts", 1.0)]),
        "/0.ts": lambda exchange: endless(exchange, "video/mp2t", part),
    }
    with MediaServer(routes) as server, opened(tmp_path, max_filesize=500_000) as stage:
        server.routes["/v.mpd"] = dash(server, "/0.ts")
        with pytest.raises(Drop, match="max_filesize, 500000 bytes") as caught:
            attempt(stage, server.url(way))
        assert caught.value.kind == "too_large"
        left = [file.stat().st_size for file in tmp_path.glob("items/*/.download.partial/*")]
    assert sum(left) < 5_000_000


def test_pieces_add_up(tmp_path: Path) -> None:
    part = make_clip(tmp_path / "part.ts")
    size = part.stat().st_size
    routes = {"/v.m3u8": stream([("/0.ts", 1.0)] * 50), "/0.ts": File(part)}
    with MediaServer(routes) as server:
        ending = ending_of(tmp_path, server.url("/v.m3u8"), max_filesize=size * 10)
        assert isinstance(ending, Drop)
        assert 9 <= len(server.asked("/0.ts")) <= 12


def test_without_max_filesize_there_is_a_bound_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(responses, "MOST_FILE", 300_000)
    with MediaServer({"/v.mp4": lambda exchange: endless(exchange, "video/mp4")}) as server:
        assert ending_of(tmp_path, server.url("/v.mp4")).kind == "too_large"


def test_a_piece_that_does_not_end_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(responses, "MOST_PIECE", 300_000)
    routes: dict[str, Route] = {
        "/v.m3u8": stream([("/0.ts", 1.0)]),
        "/0.ts": lambda exchange: endless(exchange, "video/mp2t"),
    }
    with MediaServer(routes) as server:
        ending = ending_of(tmp_path, server.url("/v.m3u8"))
    assert (type(ending), ending.kind) == (Permanent, "oversized")


def test_a_packed_piece_that_does_not_end_is_dropped(tmp_path: Path) -> None:
    routes = {
        "/v.m3u8": stream([("/0.ts", 1.0)]),
        "/0.ts": packed("gzip", bytes(30_000_000), "video/mp2t"),
    }
    with MediaServer(routes) as server:
        ending = ending_of(tmp_path, server.url("/v.m3u8"), max_filesize=1_000_000)
    assert ending.kind == "too_large"


@pytest.mark.parametrize("way", ["/v.mp4", "/v.m3u8"])
def test_a_video_that_fills_the_disk_ends_and_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    routes: dict[str, Route] = {
        "/v.mp4": lambda exchange: endless(exchange, "video/mp4"),
        "/v.m3u8": stream([("/v.mp4", 1.0)]),
    }
    full = shutil.disk_usage(tmp_path)._replace(free=2_000_000)
    with MediaServer(routes) as server, opened(tmp_path, options=ONCE) as stage:
        monkeypatch.setattr(shutil, "disk_usage", lambda folder: full)
        with pytest.raises(Transient, match="free some") as caught:
            attempt(stage, server.url(way))
        assert caught.value.kind == "no_room"
    assert not list(tmp_path.glob("items/*/.download.partial/video*"))


class Drip(NamedTuple):
    """Sends `before` at once and then a byte now and then."""

    before: bytes

    def __call__(self, exchange: Exchange) -> None:
        exchange.close_connection = True
        exchange.wfile.write(self.before)
        while not exchange.server.media.stopping.wait(0.02):
            exchange.wfile.write(b"a")


@pytest.mark.parametrize(
    "before",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nX-Long: ",
        b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<!doctype html><html>" + b" " * 600,
        b"HTTP/1.1 200 OK\r\nContent-Type: video/mp4\r\nContent-Length: 100000\r\n\r\n" + bytes(9),
    ],
    ids=["start", "head", "page", "video"],
)
def test_a_server_that_drips_does_not_hold_a_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: bytes
) -> None:
    monkeypatch.setattr(responses, "SLOW_SECONDS", 0.3)
    with MediaServer({"/v": Drip(before)}) as server:
        ending = ending_of(tmp_path, server.url("/v"))
        assert (type(ending), ending.kind) == (Transient, "too_slow")
        assert "stages.download.min_rate" in ending.reason


def test_pieces_that_drip_add_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of them comes in less time than one response has."""
    monkeypatch.setattr(responses, "SLOW_SECONDS", 2.0)
    monkeypatch.setattr(responses, "SLOW_RESPONSES", 0.2)

    def late(exchange: Exchange) -> None:
        exchange.server.media.stopping.wait(0.08)
        exchange.send(200, "video/mp2t", b"a")

    routes: dict[str, Route] = {"/v.m3u8": stream([("/0.ts", 1.0)] * 1000), "/0.ts": late}
    with MediaServer(routes) as server:
        ending = ending_of(tmp_path, server.url("/v.m3u8"), min_rate=20_000)
        assert ending.kind == "too_slow"
        assert len(server.asked("/0.ts")) < 200


def test_slow_and_honest_is_no_fault(
    tmp_path: Path, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(responses, "SLOW_SECONDS", 0.1)
    size = clip.stat().st_size
    quick = File(clip)
    slow = FirstThen(quick, 1, File(clip, bytes_per_second=size / 0.6))
    with MediaServer({"/slow.mp4": slow, "/quick.mp4": quick}) as server:
        out = fetch(tmp_path, server.url("/slow.mp4"))
        assert (out / "video.mp4").stat().st_size == size
        began = time.monotonic()
        # The user's own bound makes it slow: nothing is waited for.
        fetch(
            tmp_path, server.url("/quick.mp4"), rate_limit=2 * size, min_rate=100 * size,
            options={"buffersize": 1024, "noresizebuffer": True},
        )  # fmt: skip
        assert time.monotonic() - began > 0.3


@pytest.mark.parametrize("promised", [-10, 10])
def test_a_length_that_is_a_lie(tmp_path: Path, clip: Path, promised: int) -> None:
    body = clip.read_bytes()

    def lie(exchange: Exchange) -> None:
        exchange.head(200, "video/mp4", len(body) + promised)
        exchange.body(body)

    with MediaServer({"/v.mp4": lie}) as server:
        if promised > 0:
            assert ending_of(tmp_path, server.url("/v.mp4")).kind == "transient"
        else:
            out = fetch(tmp_path, server.url("/v.mp4"))
            assert (out / "video.mp4").read_bytes() == body[:promised]


def test_a_page_that_is_cut_off_is_no_page(tmp_path: Path) -> None:
    def cut(exchange: Exchange) -> None:
        exchange.head(200, HTML, 10_000)
        exchange.body(b"<!doctype html><html>" + b" " * 600)

    with MediaServer({"/p": cut}) as server:
        assert ending_of(tmp_path, server.url("/p")).kind == "transient"
