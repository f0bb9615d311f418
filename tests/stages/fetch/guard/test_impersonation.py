"""Requests that look like a browser's, behind the same guard and the same bounds as all others."""

import gzip
import os
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest

from engine import ConfigError, Drop, Ending, Permanent, Throttled, Transient
from stages.crawl.checks import crawl_checks
from stages.crawl.describe import Describe
from stages.crawl.filter import Filter
from stages.demo.server import BareStatus, Exchange, File, MediaServer, Redirect, Text, page, stream
from stages.fetch.download import Download
from stages.fetch.guard import curl_transfer, impersonation, responses
from stages.fetch.ytdlp_options import open_youtube_dl
from stages.net.errors import classify
from tests.acceptance.command import crawl
from tests.acceptance.refused import check_refused_at_start
from tests.stages.downloading import attempt, fetch, make_clip, opened

needs_curl = pytest.mark.skipif(
    impersonation.missing() is not None, reason="needs the extra penstock[impersonate]"
)

INSIDE = "127.0.0.2"
ONCE = {"retries": 0, "fragment_retries": 0, "extractor_retries": 0}


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return make_clip(tmp_path / "clip.mp4", noise=True)


class Seen:
    """Answers as `route` does, and keeps the headers that came."""

    def __init__(self, route: Any) -> None:
        self.route = route
        self.headers: list[dict[str, str]] = []

    def __call__(self, exchange: Exchange) -> None:
        self.headers.append({name.lower(): value for name, value in exchange.headers.items()})
        self.route(exchange)

    def all(self, name: str) -> list[str | None]:
        return [headers.get(name) for headers in self.headers]


def ending_of(folder: Path, source: str, **settings: Any) -> Ending:
    with pytest.raises(Ending) as caught:
        fetch(folder, source, **({"options": ONCE, "impersonate": "chrome"} | settings))
    return caught.value


@needs_curl
@pytest.mark.parametrize("way", ["/v.mp4", "/moved", "/page", "/v.m3u8"])
def test_every_request_looks_like_that_browser(tmp_path: Path, clip: Path, way: str) -> None:
    ts = tmp_path / "v.ts"
    shutil.copy(clip, ts)
    routes = {
        "/v.mp4": Seen(File(clip)),
        "/moved": Seen(Redirect("/v.mp4", 307)),
        "/page": Seen(page(["/v.mp4"])),
        "/v.m3u8": Seen(stream([("/v.ts", 1.0)])),
        "/v.ts": Seen(File(ts)),
    }
    with MediaServer(routes) as server:
        out = fetch(tmp_path, server.url(way), impersonate="chrome")
        (video,) = out.glob("video.*")
        assert video.read_bytes() == clip.read_bytes()
    for route in routes.values():
        assert all("Chrome/" in str(agent) for agent in route.all("user-agent"))
        assert None not in route.all("sec-ch-ua")
    assert routes[way].headers


@needs_curl
def test_unset_only_what_is_asked_for_looks_like_one(tmp_path: Path, clip: Path) -> None:
    route = Seen(File(clip))
    with MediaServer({"/v.mp4": route}) as server:
        fetch(tmp_path / "plain", server.url("/v.mp4"))
        assert {*route.all("sec-ch-ua")} == {None}
        route.headers.clear()
        asking = {"extractor_args": {"generic": {"impersonate": [""]}}}
        fetch(tmp_path / "asking", server.url("/v.mp4"), options=asking)
        first, *_, last = route.all("sec-ch-ua")
        assert first is not None
        assert last is None


class Encrypted(MediaServer):
    """The same with a certificate that nobody vouches for. `hello` is the first that a client
    said."""

    def __init__(self, routes: Any, pem: Path) -> None:
        super().__init__(routes)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pem)
        plain = self._server.get_request
        self.hello = b""

        def get_request() -> Any:
            connection, address = plain()
            connection.settimeout(10)
            self.hello = self.hello or connection.recv(4096, socket.MSG_PEEK)
            return context.wrap_socket(connection, server_side=True), address

        self._server.get_request = get_request  # type: ignore[method-assign]

    def url(self, path: str) -> str:
        return super().url(path).replace("http:", "https:")


@pytest.fixture(scope="session")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificate")
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl to make a certificate")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
         "-nodes", "-subj", "/CN=127.0.0.1", "-keyout", "key.pem", "-out", "certificate.pem"],
        cwd=folder, check=True, capture_output=True,
    )  # fmt: skip
    both = folder / "both.pem"
    both.write_text((folder / "key.pem").read_text() + (folder / "certificate.pem").read_text())
    return both


@needs_curl
def test_the_fingerprint_is_a_browsers(tmp_path: Path, clip: Path, pem: Path) -> None:
    trusting = {"nocheckcertificate": True}
    hellos = []
    for browser in ("chrome", None):
        with Encrypted({"/v.mp4": File(clip)}, pem) as server:
            folder = tmp_path / str(browser)
            out = fetch(folder, server.url("/v.mp4"), impersonate=browser, options=trusting)
            assert (out / "video.mp4").read_bytes() == clip.read_bytes()
            hellos.append(server.hello)
    # Chrome offers HTTP/2, compressed certificates, and ciphers that do not exist (RFC 8701).
    by_curl, by_python = hellos
    assert b"\x02h2" in by_curl
    assert b"\x02h2" not in by_python

    def first_cipher(hello: bytes) -> bytes:
        at = 44 + hello[43] + 2
        return hello[at : at + 2]

    assert first_cipher(by_curl)[0] == first_cipher(by_curl)[1]
    assert first_cipher(by_curl)[0] & 0x0F == 0x0A
    assert first_cipher(by_python)[0] & 0x0F != 0x0A


@needs_curl
def test_a_certificate_that_nobody_vouches_for_fails(tmp_path: Path, clip: Path, pem: Path) -> None:
    with Encrypted({"/v.mp4": File(clip)}, pem) as server:
        assert ending_of(tmp_path, server.url("/v.mp4")).kind == "certificate"
        assert server.requests == []


# The guard. What a public server may lead to is in test_ytdlp_guard, for both ways to ask.


@needs_curl
def test_the_address_that_was_judged_is_the_one_that_is_connected_to(
    tmp_path: Path, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name exists here alone, and is another address at the second look."""
    answers = ["127.0.0.1", INSIDE]
    look_up = socket.getaddrinfo
    judged = []

    def changing(host: str, *args: Any, **options: Any) -> Any:
        return look_up(answers.pop(0) if host == "video.example." else host, *args, **options)

    def refused(address: str) -> bool:
        judged.append(address)
        return address == INSIDE

    monkeypatch.setattr(socket, "getaddrinfo", changing)
    with MediaServer({"/v.mp4": File(clip)}) as server:
        settings = Download.Settings(impersonate="chrome")
        downloader = open_youtube_dl(settings, tmp_path, refused)
        source = server.url("/v.mp4").replace("127.0.0.1", "video.example.")
        response = downloader.urlopen(source)
        assert response.read() == clip.read_bytes()
        with pytest.raises(Exception, match="private") as caught:
            downloader.urlopen(source)
        downloader.close()
        assert judged == ["127.0.0.1", "127.0.0.1", INSIDE]
        ending = classify(caught.value, source)
        assert getattr(ending, "kind", None) == "private_address"
        assert len(server.requests) == 1


@needs_curl
def test_a_proxy_of_the_environment_is_used_and_none_is_none(
    tmp_path: Path, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxied = {"http://video.example/v.mp4": File(clip)}
    with MediaServer(proxied) as proxy, MediaServer({"/v.mp4": File(clip)}) as server:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url(""))
        monkeypatch.setenv("no_proxy", "other.example")
        fetch(tmp_path / "a", "http://video.example/v.mp4", impersonate="chrome")
        asked = len(proxy.requests)
        assert asked > 0
        fetch(tmp_path / "b", server.url("/v.mp4"), impersonate="chrome", proxy="")
        assert len(proxy.requests) == asked


@needs_curl
def test_cookies_are_kept_and_stay_with_their_host(tmp_path: Path, clip: Path) -> None:
    def gives(exchange: Exchange) -> None:
        exchange.send(302, "text/plain", b"", location="/page", set_cookie="visit=7; Path=/")

    seen, elsewhere = Seen(File(clip)), Seen(File(clip))
    with MediaServer() as server, MediaServer({"/v.mp4": elsewhere}, host=INSIDE) as other:
        asked = Seen(page([other.url("/v.mp4"), "/v.mp4"]))
        server.routes |= {"/": gives, "/page": asked, "/v.mp4": seen}
        with opened(tmp_path, impersonate="chrome") as stage:
            _, produced = attempt(stage, server.url("/"))
            sources = [item.source for item in produced]
        with opened(tmp_path, impersonate="chrome") as stage:
            jar = stage._downloader.cookiejar
            stage._downloader.urlopen(server.url("/")).read()
            assert [cookie.value for cookie in jar] == ["7"]
            for source in sources:
                attempt(stage, source)
    assert asked.all("cookie") == ["visit=7"] * len(asked.headers)
    assert {*seen.all("cookie")} == {"visit=7"}
    assert {*elsewhere.all("cookie")} == {None}


# The bounds


def endless(kind: str, start: bytes = b"", coding: str = "") -> Any:
    def answer(exchange: Exchange) -> None:
        head = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nConnection: close\r\n"
        head += f"Content-Encoding: {coding}\r\n\r\n" if coding else "\r\n"
        exchange.close_connection = True
        exchange.wfile.write(head.encode() + start)
        while not exchange.server.media.stopping.is_set():
            exchange.wfile.write(bytes(8192))

    return answer


def bomb(exchange: Exchange) -> None:
    exchange.send(
        200, "text/html", gzip.compress(b"<html>" + b" " * 50_000_000), content_encoding="gzip"
    )


def headers_without_end(exchange: Exchange) -> None:
    exchange.close_connection = True
    exchange.wfile.write(b"HTTP/1.1 200 OK\r\n")
    while not exchange.server.media.stopping.is_set():
        exchange.wfile.write(b"X-More: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n")


@needs_curl
@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (endless("text/html", b"<html>"), "oversized"),
        (endless("application/vnd.apple.mpegurl", b"#EXTM3U\n"), "oversized"),
        (bomb, "oversized"),
        (headers_without_end, "oversized"),
        (Text("#EXTM3U\n" + "#EXTINF:1,\n/a.ts\n" * 20_000), "oversized"),
        (endless("video/mp4"), "too_large"),
    ],
    ids=["page", "list", "bomb", "headers", "long list", "video"],
)
def test_what_does_not_end_is_not_read_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: Any, kind: str
) -> None:
    monkeypatch.setattr(responses, "MOST_TEXT", 200_000)
    with MediaServer({"/it": answer}) as server:
        bound = {"max_filesize": 1_000_000} if kind == "too_large" else {}
        ending = ending_of(tmp_path, server.url("/it"), **bound)
        assert (type(ending), ending.kind) == (Drop if kind == "too_large" else Permanent, kind)


@needs_curl
def test_what_one_step_unpacks_to_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(curl_transfer, "MOST_PENDING", 1_000_000)
    with MediaServer({"/it": bomb}) as server:
        assert ending_of(tmp_path, server.url("/it")).kind == "oversized"


@needs_curl
def test_a_server_that_drips_does_not_hold_a_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(responses, "SLOW_SECONDS", 0.3)
    monkeypatch.setattr(responses, "SLOW_TIMEOUTS", 0.0)

    def drip(exchange: Exchange) -> None:
        exchange.head(200, "video/mp4", 100_000)
        while not exchange.server.media.stopping.wait(0.02):
            exchange.wfile.write(b"a")

    with MediaServer({"/v": drip}) as server:
        ending = ending_of(tmp_path, server.url("/v"))
        assert (type(ending), ending.kind) == (Transient, "too_slow")


def silent(exchange: Exchange) -> None:
    exchange.server.media.stopping.wait(20)


@needs_curl
def test_a_server_that_says_nothing_is_given_up(tmp_path: Path) -> None:
    with MediaServer({"/v": silent}) as server:
        ending = ending_of(tmp_path / "a", server.url("/v"), lookup_timeout=0.3)
        assert ending.kind == "lookup_timeout"
        ending = ending_of(tmp_path / "b", server.url("/v"), socket_timeout=0.3)
        assert (type(ending), "in time" in ending.reason) == (Transient, True)


@needs_curl
def test_a_download_that_was_cut_goes_on_where_it_was(tmp_path: Path, clip: Path) -> None:
    size = clip.stat().st_size
    with MediaServer({"/v.mp4": File(clip, cut=0.5)}) as server:
        with opened(tmp_path, impersonate="chrome", options=ONCE) as stage:
            with pytest.raises(Transient, match="before the file did"):
                attempt(stage, server.url("/v.mp4"))
            server.routes["/v.mp4"] = File(clip)
            out, _ = attempt(stage, server.url("/v.mp4"))
        assert server.requests[-1].range == f"bytes={size // 2}-"
    assert (out / "video.mp4").read_bytes() == clip.read_bytes()


@needs_curl
@pytest.mark.parametrize(
    ("status", "kind"), [(403, "forbidden"), (404, "not_found"), (500, "transient")]
)
def test_a_refusal_is_the_same_as_without(tmp_path: Path, status: int, kind: str) -> None:
    with MediaServer({"/v.mp4": BareStatus(status)}) as server:
        assert ending_of(tmp_path, server.url("/v.mp4")).kind == kind


@contextmanager
def nothing_left() -> Iterator[None]:
    """Nothing is open after the block that was not before it."""

    def held() -> tuple[int, int]:
        return len(os.listdir("/proc/self/fd")), threading.active_count()  # noqa: PTH208

    descriptors, threads = held()
    yield
    assert held()[0] <= descriptors
    assert held()[1] <= threads


@needs_curl
@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs /proc")
def test_nothing_stays_open(tmp_path: Path, clip: Path) -> None:
    routes = {"/v.mp4": File(clip), "/endless": endless("video/mp4"), "/no": BareStatus(403)}
    with MediaServer(routes) as server:
        fetch(tmp_path / "first", server.url("/v.mp4"), impersonate="chrome")
        with nothing_left():
            with opened(tmp_path, impersonate="chrome", options=ONCE, max_filesize=10**6) as stage:
                for path in ("/v.mp4", "/endless", "/no", "/v.mp4?2"):
                    with nullcontext() if "v.mp4" in path else pytest.raises(Ending):
                        attempt(stage, server.url(path))
                for _ in range(3):
                    stage._downloader.urlopen(server.url("/endless")).read(10)
            server.close()


@pytest.mark.slow
@needs_curl
def test_it_works_in_a_process_of_its_own(tmp_path: Path, clip: Path) -> None:
    route = Seen(File(clip))
    with MediaServer({"/v.mp4": route}) as server:
        sets = {"stages.download.impersonate": "any", "stages.download.placement": "process"}
        ran = crawl(server.url("/v.mp4"), out=tmp_path / "out", sets=sets)
    assert ran.code == 0, ran.said
    assert None not in route.all("sec-ch-ua")


# Settings


@needs_curl
def test_an_unknown_browser_ends_the_run_before_it_begins(tmp_path: Path) -> None:
    with MediaServer() as server:
        for name in ("netscape", "chrome-1", "", "chrome:::", "a b"):
            sets = {"stages.download.impersonate": name or '""'}
            ran = crawl(server.url("/v.mp4"), out=tmp_path / "out", sets=sets)
            check_refused_at_start(ran, "stages.download.impersonate", "chrome", "firefox", "any")
        assert server.requests == []


def test_without_the_extra_the_line_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(impersonation, "missing", lambda: "curl_cffi is not installed")
    with pytest.raises(ConfigError, match=r"not installed; .*pip install 'penstock\[impersonate\]"):
        Download(Download.Settings(impersonate="chrome"), tmp_path).open()


@needs_curl
@pytest.mark.parametrize("name", ["any", "Chrome", "safari-18.4", "firefox", "chrome:macos"])
def test_browsers_are_named_as_yt_dlp_does(tmp_path: Path, name: str) -> None:
    with opened(tmp_path, impersonate=name):
        pass


def test_options_name_the_setting(tmp_path: Path) -> None:
    stage = Download(Download.Settings(options={"impersonate": "chrome"}), tmp_path)
    with pytest.raises(ConfigError, match=r"stages\.download\.impersonate"):
        stage.open()


def doctored(impersonate: str | None) -> tuple[str, str]:
    settings = {
        "download": Download.Settings(impersonate=impersonate),
        "filter": Filter.Settings(),
        "describe": Describe.Settings(),
    }
    (check,) = (one for one in crawl_checks(settings) if one.name == "impersonation")
    return check.verdict, check.text


def test_doctor_says_whether_the_extra_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    if impersonation.missing() is None:
        assert doctored("chrome")[0] == "ok"
        assert doctored("netscape")[0] == "problem"
        assert doctored(None)[0] == "ok"
    monkeypatch.setattr("stages.crawl.checks.missing", lambda: "curl_cffi is not installed")
    verdict, text = doctored(None)
    assert (verdict, "needed only" in text, "penstock[impersonate]" in text) == ("ok", True, True)


@pytest.mark.parametrize(
    ("said", "expected", "kind"),
    [
        (
            "Got HTTP Error 403 caused by Cloudflare anti-bot challenge; try again with  "
            '--extractor-args "generic:impersonate"',
            Throttled,
            "bot_wall",
        ),
        (
            "The extractor is attempting impersonation, but no impersonate target is available. "
            "See  https://github.com/yt-dlp/yt-dlp#impersonation  for information",
            Permanent,
            "unsupported",
        ),
        (
            'Impersonate target "chrome" is not available. See --list-impersonate-targets for '
            "available targets.",
            Permanent,
            "unsupported",
        ),
    ],
)
def test_sites_that_want_a_browser_say_what_to_install(
    said: str, expected: type[Ending], kind: str
) -> None:
    from yt_dlp.utils import ExtractorError

    ending = classify(ExtractorError(said, expected=True), "http://video.example/")
    assert isinstance(ending, expected)
    assert (ending.kind, "penstock[impersonate]" in ending.reason) == (kind, True)
