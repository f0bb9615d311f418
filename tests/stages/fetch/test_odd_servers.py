"""Odd addresses, servers, pages and streams: each ends with a stated class and one line."""

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine import Permanent, Transient
from stages.fetch.download import Download
from stages.net.addresses import canonical_source, canonical_url, has_possible_host
from tests.stages.downloading import attempt, make_clip, opened, read

OK = b"HTTP/1.1 200 OK\r\nConnection: close\r\n"
VIDEO = OK + b"Content-Type: video/mp4\r\n"
PAGE = OK + b"Content-Type: text/html\r\n\r\n"
TO = b"HTTP/1.1 302 Found\r\nConnection: close\r\nContent-Length: 0\r\nLocation: "
M3U8 = b"Content-Type: application/vnd.apple.mpegurl\r\n\r\n"
HLS = OK + M3U8 + b"#EXTM3U\n#EXT-X-TARGETDURATION:4\n"
END = b"\n#EXTINF:4,\n/gone.ts\n#EXT-X-ENDLIST\n"
DASH = (
    OK + b"Content-Type: application/dash+xml\r\n\r\n<?xml version='1.0'?>"
    b"<MPD xmlns='urn:mpeg:dash:schema:mpd:2011' type='static' mediaPresentationDuration='PT9S'>"
    b"<Period><AdaptationSet mimeType='video/mp4'><Representation id='x' bandwidth='1'>"
    b"<SegmentTemplate media='$Number$' timescale='0' duration='1'/>"
    b"</Representation></AdaptationSet></Period></MPD>"
)


class OddServer:
    """Answers every request with `answer`, byte for byte; `keeps` leaves the connection open."""

    def __init__(self) -> None:
        self.answer = b""
        self.keeps = False
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.base = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection: socket.socket) -> None:
        with connection:
            asked = connection.recv(65536)
            gone = b"/gone" in asked.partition(b"\r\n")[0]
            missing = b"HTTP/1.1 404 Gone\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
            connection.sendall(missing if gone else self.answer)
            if self.keeps:
                connection.recv(1)  # until the client hangs up

    def close(self) -> None:
        self._listening.close()


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Download]:
    quick = {"retries": 0, "fragment_retries": 0, "extractor_retries": 0}
    with opened(tmp_path_factory.mktemp("odd"), options=quick, socket_timeout=5.0) as stage:
        yield stage


@pytest.fixture
def server() -> Iterator[OddServer]:
    server = OddServer()
    yield server
    server.close()


STREAMS = [
    (HLS + b'#EXT-X-MAP:URI="a"' + END[:20] + b'\n#EXT-X-MAP:URI="b"' + END, "second EXT-X-MAP"),
    (OK + M3U8 + "\ufeff#EXTM3U\n".encode() + END, "does not begin with #EXTM3U"),
    (OK + M3U8 + b"\0\0\0\x18ftypmp42", "does not begin with #EXTM3U"),
    (OK + M3U8 + b"<html>log in</html>", "does not begin with #EXTM3U"),
    (OK + M3U8, "does not begin with #EXTM3U"),
    (HLS + b'#EXT-X-KEY:METHOD=AES-128,URI="/gone",IV=0xZZ' + END, "yt-dlp can make nothing of"),
    (HLS + b"#EXT-X-KEY:METHOD=AES-128" + END, "yt-dlp can make nothing of"),
    (HLS + b'#EXT-X-KEY:METHOD=SAMPLE-AES,URI="k"' + END, "leaves to ffmpeg, which is not used"),
    (HLS + b"#EXT-X-BYTERANGE:a@b" + END, "yt-dlp can make nothing of"),
    (HLS + b"#EXT-X-MAP:FOO=1" + END, "yt-dlp can make nothing of"),
    (HLS + b"#EXT-X-MEDIA-SEQUENCE:z" + END, "yt-dlp can make nothing of"),
    (HLS + b"#EXTINF:z,\nb.ts" + END, "yt-dlp can make nothing of"),
    (HLS + b"#EXTINF:4,\nhttp://[bad/x.ts" + END, "yt-dlp can make nothing of"),
    (HLS + b"#EXTINF:4,\nhttp://a..b/x.ts" + END, "without a possible host name"),
    (OK + M3U8 + b"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n", "yt-dlp can make nothing of"),
    (DASH, "yt-dlp can make nothing of"),
    (
        OK + b"Content-Type: application/vnd.ms-sstr+xml\r\n\r\n<SmoothStreamingMedia/>",
        "nothing of",
    ),
]

PAGES = [
    (PAGE + b"<video src='http://[bad/x.mp4'></video>", "yt-dlp can make nothing of"),
    (PAGE + b"<video src='http://a..b/x.mp4'></video>", "without a possible host name"),
    (PAGE + b"<video src='javascript:alert(1)'></video>", "only offered over javascript"),
    (PAGE[:-2] + b"Refresh: 0; url=http://[::1\r\n\r\n<html>", "yt-dlp can make nothing of"),
    (OK + b"Content-Type: text/html; charset=idna\r\n\r\n<html>\xff", "yt-dlp can make nothing of"),
    (
        OK + b'Content-Type: text/html; charset="a\0b"\r\n\r\n<html>\xff',
        "yt-dlp can make nothing of",
    ),
    (TO + b"http://a..b/x\r\n\r\n", "without a possible host name"),
    (TO + b"http://127.0.0.1:ab/\r\n\r\n", "is not an address that can be fetched"),
    (VIDEO + b"Content-Length: 10, 20\r\n\r\n", "two lengths of one answer"),
    (VIDEO + b"Content-Length: 10\r\nContent-Length: 20\r\n\r\n", "two lengths of one answer"),
]


@pytest.mark.parametrize(("answer", "words"), STREAMS + PAGES)
def test_what_is_wrong_with_a_stream_or_a_page_is_said(
    stage: Download, server: OddServer, answer: bytes, words: str
) -> None:
    server.answer = answer
    with pytest.raises(Permanent, match=words) as told:
        attempt(stage, f"{server.base}/it")
    assert told.value.kind == "unsupported"
    assert "update yt-dlp" not in told.value.reason
    assert told.value.reason.startswith(f"{server.base}/it: ")


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\0\xff\xfe not http\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1 99 Odd\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"a" * 70_000,
        b"HTTP/1.1 200 OK\r\n" + b"X: a\r\n" * 300,
        VIDEO + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        VIDEO + b"Transfer-Encoding: chunked\r\n\r\n-5\r\nabc\r\n0\r\n\r\n",
        VIDEO + b"Content-Encoding: gzip\r\n\r\nnot gzip",
    ],
)
def test_broken_answers_may_be_whole_the_next_time(
    stage: Download, server: OddServer, answer: bytes
) -> None:
    server.answer = answer
    with pytest.raises(Transient) as told:
        attempt(stage, f"{server.base}/it.mp4")
    assert told.value.kind == "transient"


@pytest.mark.parametrize(
    ("length", "keeps"),
    [
        ("Content-Length: {0}, {0}", True),
        ("Content-Length: {0},{0} , {0}", True),
        ("Content-Length: {0}\r\nContent-Length: {0}", True),
        ("Content-Length: {0}, {0}\r\nContent-Length: {0}", True),
        ("Content-Length: ", False),
        ("Content-Length: abc", False),
        ("Content-Length: -5", False),
        ("Content-Length: 99999999999999999999999999", False),
    ],
)
def test_a_length_may_be_said_twice_and_one_that_is_none_does_not_count(
    stage: Download, server: OddServer, tmp_path: Path, length: str, keeps: bool
) -> None:
    clip = make_clip(tmp_path / "clip.mp4").read_bytes()
    server.answer = VIDEO.replace(b"Connection: close\r\n", b"" if keeps else b"A: b\r\n")
    server.answer += f"{length.format(len(clip))}\r\n\r\n".encode() + clip
    server.keeps = keeps
    out, _ = attempt(stage, f"{server.base}/{abs(hash(length))}.mp4")
    assert (out / "video.mp4").read_bytes() == clip
    assert read(out)["width"] == 64


@pytest.mark.parametrize(
    "host",
    [
        *("a..b", ".a", "a..b:80", "A..B", "a" * 64 + ".example", "a b", "a%00b", "a\x7fb"),
        *("xn--ä", "ä..ö", "1.2.3.4.5", "256.256.256.256", "[v1.x]", "[::1]x", ".".join("a" * 200)),
    ],
)
def test_a_host_name_that_there_cannot_be(stage: Download, host: str) -> None:
    with pytest.raises(Permanent, match=r"is not an address: .* is no host name") as told:
        attempt(stage, f"http://{host}/x.mp4")
    assert told.value.kind == "unsupported"
    if "[" not in host:  # one such address among those that are typed stops none of the others
        assert canonical_source(f"http://{host}/x.mp4")


@pytest.mark.parametrize(
    "host",
    [
        *("a_b.example", "-a.example", "a.example.", "[::1]:80", "[fe80::1%25eth0]", "1.2.3.4"),
        *("127.1", "0x7f000001", "bücher.example", "例え.example", "u:p@a.example", "x" * 63),
    ],
)
def test_a_host_name_that_there_can_be(host: str) -> None:
    assert has_possible_host(canonical_url(f"http://{host}/x.mp4"))


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        *((f"{scheme}:x", "unreadable") for scheme in ("data", "javascript", "magnet", "mailto")),
        *((f"{scheme}://h/x", "unsupported") for scheme in ("ftp", "rtmp", "ws", "gopher")),
        ("file://elsewhere/etc/hostname", "unreadable"),
        ("file://[bad/x", "unreadable"),
        ("http://", "unsupported"),
        ("http://:80/", "unsupported"),
        ("http://h:99999/", "unsupported"),
        ("http://h:-1/", "unsupported"),
        ("http://[bad", "unsupported"),
    ],
)
def test_what_is_no_address_at_all(stage: Download, source: str, kind: str) -> None:
    with pytest.raises(Permanent) as told:
        attempt(stage, source)
    assert told.value.kind == kind


def test_bytes_that_are_no_utf8_are_asked_for_as_they_are() -> None:
    assert canonical_url("http://a.example/caf\udce9 é.mp4") == "http://a.example/caf%E9 é.mp4"


def test_a_bug_of_ours_is_none_of_a_page(
    stage: Download, server: OddServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ValueError("ours")

    server.answer = VIDEO + b"\r\n"
    monkeypatch.setattr("stages.fetch.ytdlp_options.check_filesize", broken)
    with pytest.raises(ValueError, match="ours"):
        attempt(stage, f"{server.base}/it.mp4")
