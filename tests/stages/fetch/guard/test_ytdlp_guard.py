"""No connection to a private address, whichever way it is reached; with real sockets."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from engine import Permanent
from stages.demo.server import Exchange, File, MediaServer, Redirect, Route, Text, page, stream
from stages.fetch.download import Download
from stages.fetch.guard.impersonation import missing
from stages.fetch.ytdlp_options import open_youtube_dl
from stages.net.errors import classify
from tests.stages.downloading import attempt, make_clip, opened

INSIDE = "127.0.0.2"
"""Stands for a private network in tests where 127.0.0.1 has to stand for the internet."""


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return make_clip(tmp_path / "clip.mp4")


@pytest.fixture(
    params=[
        None,
        pytest.param(
            "chrome",
            marks=pytest.mark.skipif(missing() is not None, reason="needs penstock[impersonate]"),
        ),
    ]
)
def browser(request: pytest.FixtureRequest) -> str | None:
    """What requests look like: each way has a library of its own, and one guard holds for both."""
    name: str | None = request.param
    return name


def resolve(monkeypatch: pytest.MonkeyPatch, name: str, address: str) -> None:
    """Make `name` a host name for `address`."""
    look_up = socket.getaddrinfo

    def with_name(host: str, *args: Any, **options: Any) -> Any:
        return look_up(address if host == name else host, *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", with_name)


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "127.1", "0x7f000001", "2130706433", "0.0.0.0", "[::1]",
     "[::ffff:127.0.0.1]"],
)  # fmt: skip
def test_this_machine_is_refused_however_it_is_spelt(
    tmp_path: Path, clip: Path, host: str, browser: str | None
) -> None:
    with MediaServer({"/a.mp4": File(clip)}) as server:
        source = server.url("/a.mp4").replace("127.0.0.1", host)
        with opened(tmp_path, allow_private=False, impersonate=browser) as stage:
            with pytest.raises(Permanent, match="--allow-private") as caught:
                attempt(stage, source)
            assert caught.value.kind == "private_address"
        assert server.requests == []


def test_a_name_is_judged_by_the_address_it_is_connected_at(
    tmp_path: Path, clip: Path, monkeypatch: pytest.MonkeyPatch, browser: str | None
) -> None:
    resolve(monkeypatch, "video.example", "127.0.0.1")
    with MediaServer({"/a.mp4": File(clip)}) as server:
        source = server.url("/a.mp4").replace("127.0.0.1", "video.example")
        with (
            opened(tmp_path, allow_private=False, impersonate=browser) as stage,
            pytest.raises(Permanent) as caught,
        ):
            attempt(stage, source)
        assert "127.0.0.1" in caught.value.reason
        assert server.requests == []
        with opened(tmp_path, impersonate=browser) as stage:
            out, _ = attempt(stage, source)
            assert (out / "video.mp4").exists()


def leading_to(target: str) -> dict[str, Route]:
    """What a public server may lead to an address with, by the path that is asked for."""
    hls = "application/vnd.apple.mpegurl"
    og = f'<html><head><title>a</title><meta property="og:video" content="{target}"></head></html>'
    ld = json.dumps(
        {"@context": "https://schema.org", "@type": "VideoObject", "name": "a", "url": target,
         "contentUrl": target, "uploadDate": "2026-01-01", "thumbnailUrl": target}
    )  # fmt: skip
    dash = f"""<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"
        mediaPresentationDuration="PT1S"><Period><AdaptationSet mimeType="video/mp4">
        <Representation id="v" bandwidth="1" width="64" height="48" codecs="avc1.42c00d">
        <BaseURL>{target}</BaseURL></Representation></AdaptationSet></Period></MPD>"""
    segment = "#EXTM3U\n#EXT-X-TARGETDURATION:1\n{}#EXTINF:1,\n/open.ts\n#EXT-X-ENDLIST\n"
    key = f'#EXT-X-KEY:METHOD=AES-128,URI="{target}"\n'
    variant = f"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1,RESOLUTION=64x48\n{target}\n"
    return {
        "/redirect": Redirect(target),
        "/moved": Redirect("/redirect", 308),
        "/page": page([target]),
        "/og": Text(og),
        "/ld": Text(f'<html><script type="application/ld+json">{ld}</script></html>'),
        "/stream": stream([(target, 1.0)]),
        "/segment": stream([("/redirect", 1.0)]),
        "/key": Text(segment.format(key), hls),
        "/map": Text(segment.format(f'#EXT-X-MAP:URI="{target}"\n'), hls),
        "/variant": Text(variant, hls),
        "/dash": Text(dash, "application/dash+xml"),
    }


SPELT = [INSIDE, "inside.example", "2130706434", "0x7f.2", f"[::ffff:{INSIDE}]"]


@pytest.mark.parametrize(
    ("way", "host"),
    [(way, host) for way in leading_to("") for host in SPELT[:2]]
    + [(way, host) for way in ("/redirect", "/stream") for host in SPELT[2:]],
)
def test_what_a_public_server_leads_to_is_judged_too(
    tmp_path: Path,
    clip: Path,
    monkeypatch: pytest.MonkeyPatch,
    host: str,
    way: str,
    browser: str | None,
) -> None:
    resolve(monkeypatch, "inside.example", INSIDE)

    def refused(address: str) -> bool:
        return address.removeprefix("::ffff:") == INSIDE

    with MediaServer({"/a.mp4": File(clip)}, host=INSIDE) as inside, MediaServer() as outside:
        outside.routes |= leading_to(inside.url("/a.mp4").replace(INSIDE, host))
        outside.routes["/open.ts"] = File(clip)
        downloader = open_youtube_dl(Download.Settings(impersonate=browser), tmp_path, refused)
        downloader.params["paths"] = {"home": str(tmp_path)}
        source = outside.url(way)
        with pytest.raises(Exception, match="private") as caught:
            downloader.extract_info(source)
        downloader.close()
        ending = classify(caught.value, source)
        assert isinstance(ending, Permanent)
        assert (ending.kind, INSIDE in ending.reason) == ("private_address", True)
        assert inside.requests == []
        assert outside.requests != []


def test_a_redirect_leads_to_no_other_scheme(
    tmp_path: Path, clip: Path, browser: str | None
) -> None:
    routes = {"/file": Redirect(clip.as_uri()), "/ftp": Redirect("ftp://127.0.0.1/a.mp4")}
    with MediaServer(routes) as server, opened(tmp_path, impersonate=browser) as stage:
        for path in routes:
            with pytest.raises(Permanent):
                attempt(stage, server.url(path))


def test_a_proxy_may_be_private_but_not_where_it_is_sent(
    tmp_path: Path, clip: Path, browser: str | None
) -> None:
    with MediaServer({"http://video.example/a.mp4": File(clip)}) as proxy:
        with opened(
            tmp_path, allow_private=False, proxy=proxy.url(""), impersonate=browser
        ) as stage:
            out, _ = attempt(stage, "http://video.example/a.mp4")
            assert (out / "video.mp4").read_bytes() == clip.read_bytes()
            asked = len(proxy.requests)
            for host in ("10.0.0.1", "127.0.0.1%2e", "[fec0::1]", "0x7f.1", "①②⑦.0.0.1"):
                with pytest.raises(Permanent) as caught:
                    attempt(stage, f"http://{host}/a.mp4")
                assert caught.value.kind == "private_address"
        assert len(proxy.requests) == asked


def test_nothing_outside_the_instance_is_changed(tmp_path: Path, clip: Path) -> None:
    import yt_dlp

    with (
        MediaServer({"/a.mp4": File(clip)}) as server,
        opened(tmp_path, allow_private=False),
        yt_dlp.YoutubeDL({"quiet": True, "logger": None}) as plain,
    ):
        assert plain.extract_info(server.url("/a.mp4"), download=False)["id"] == "a"


def test_video_over_a_protocol_with_sockets_of_its_own_is_refused(tmp_path: Path) -> None:
    downloader = open_youtube_dl(Download.Settings(), tmp_path, lambda address: False)
    downloader.params["paths"] = {"home": str(tmp_path)}
    offered = {
        "id": "a", "title": "a", "extractor": "x", "extractor_key": "x", "ext": "flv",
        "url": "rtmp://example.com/a", "webpage_url": "https://example.com/a",
    }  # fmt: skip
    with pytest.raises(Permanent, match="only offered over rtmp"):
        downloader.process_ie_result(offered, download=True)
    downloader.close()


def watched(server: MediaServer, clip: Path, seen: dict[str, list[str | None]]) -> Route:
    """The clip; what came as Authorization is written down by the Host that was asked."""

    def answer(exchange: Exchange) -> None:
        seen.setdefault(exchange.headers["Host"], []).append(exchange.headers["Authorization"])
        File(clip)(exchange)

    return answer


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_password_does_not_follow_to_another_server(
    tmp_path: Path, clip: Path, status: int, browser: str | None
) -> None:
    seen: dict[str, list[str | None]] = {}
    with MediaServer() as server, MediaServer(host=INSIDE) as host, MediaServer() as port:
        for one in (server, host, port):
            one.routes["/v.mp4"] = watched(one, clip, seen)
        server.routes |= {
            "/host.mp4": Redirect(host.url("/v.mp4"), status),
            "/port.mp4": Redirect(port.url("/v.mp4"), status),
            "/same.mp4": Redirect("/v.mp4", status),
        }
        for path in ("/host.mp4", "/port.mp4", "/same.mp4"):
            with opened(tmp_path / path[1:5], impersonate=browser) as stage:
                attempt(stage, server.url(path).replace("//", "//user:word@"))
        word = "Basic dXNlcjp3b3Jk"
        assert {*seen[server.url("")[7:]]} == {word}
        assert {*seen[host.url("")[7:]], *seen[port.url("")[7:]]} == {None}


def test_a_password_goes_to_the_pieces_of_its_own_server_alone(
    tmp_path: Path, clip: Path, browser: str | None
) -> None:
    seen: dict[str, list[str | None]] = {}
    part = make_clip(tmp_path / "part.ts")
    with MediaServer() as server, MediaServer(host=INSIDE) as other:
        for one in (server, other):
            one.routes["/0.ts"] = watched(one, part, seen)
        server.routes["/v.m3u8"] = stream([("/0.ts", 1.0), (other.url("/0.ts"), 1.0)])
        with opened(tmp_path, impersonate=browser) as stage:
            attempt(stage, server.url("/v.m3u8").replace("//", "//user:word@"))
            assert seen[server.url("")[7:]] == ["Basic dXNlcjp3b3Jk"]
            assert seen[other.url("")[7:]] == [None]
            seen.clear()
            server.routes["/plain.m3u8"] = stream([("/0.ts", 1.0)])
            attempt(stage, server.url("/plain.m3u8"))  # another item's: its address holds none
            assert seen[server.url("")[7:]] == [None]


PLUGIN = """
import pathlib
from yt_dlp.extractor.common import InfoExtractor
pathlib.Path({ran!r}).touch()
class HomeIE(InfoExtractor):
    _VALID_URL = r"http://home\\.example/"
    def _real_extract(self, url):
        raise RuntimeError("the plugin")
"""


@pytest.mark.parametrize("loaded", [False, True])
def test_plugins_of_the_home_folder_run_where_that_is_asked_for(
    tmp_path: Path, loaded: bool
) -> None:
    folder = tmp_path / "yt-dlp" / "plugins" / "mine" / "yt_dlp_plugins" / "extractor"
    folder.mkdir(parents=True)
    ran = tmp_path / "ran"
    (folder / "home.py").write_text(PLUGIN.format(ran=str(ran)))
    code = (
        "from pathlib import Path\n"
        "from stages.fetch.download import Download\n"
        f"stage = Download(Download.Settings(plugins={loaded}), Path({str(tmp_path)!r}))\n"
        "stage.open()\n"
        "stage.close()\n"
        "from yt_dlp.globals import all_plugins_loaded\n"
        f"assert all_plugins_loaded.value is {loaded}\n"  # as it was, for whoever else is here
    )
    environment = os.environ | {"XDG_CONFIG_HOME": str(tmp_path)}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, timeout=60)
    assert ran.exists() == loaded
