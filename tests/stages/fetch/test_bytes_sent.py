"""What a download costs its server: no byte of a file is sent twice, and no connection is made to
look at it first. Measured at the server, which counts every byte that it could send."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from engine import SOURCE, Pipeline, Step, Transient
from engine.config.load import load_config
from engine.flow.opening import run_pipeline
from stages.demo.server import page, stream
from stages.fetch.download import Download
from stages.fetch.guard import unread
from stages.fetch.guard.impersonation import missing
from tests.stages.counting_server import CountingServer, Served, leading_to
from tests.stages.downloading import attempt, make_clip, opened

TYPES = {
    ".mp4": "video/mp4",
    ".webm": "video/webm",
    ".gif": "image/gif",
    ".mkv": "video/x-matroska",
}

MOST = 1.05
"""The most bytes on the wire for each byte of the files."""

BROWSERS = [
    None,
    pytest.param(
        "chrome",
        marks=pytest.mark.skipif(missing() is not None, reason="needs penstock[impersonate]"),
    ),
]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """A file of each kind, by its ending."""
    folder = tmp_path_factory.mktemp("files")
    return {
        ending: make_clip(folder / f"a{ending}", width=160, height=120, noise=True).read_bytes()
        for ending in TYPES
    }


@pytest.fixture(params=BROWSERS)
def stage(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Download]:
    with opened(tmp_path, impersonate=request.param) as stage:
        yield stage


WAYS = {
    "length and ranges": Served(b""),
    "length": Served(b"", ranges=False),
    "chunked": Served(b"", framing="chunked", ranges=False),
    "end of the connection": Served(b"", framing="close", ranges=False),
    "slow": Served(b"", bytes_per_second=1e6),
    "of no known type": Served(b"", "application/octet-stream"),
    "without a type": Served(b"", ""),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_direct_link_is_sent_once_over_one_connection(
    stage: Download, files: dict[str, bytes], way: str
) -> None:
    like = WAYS[way]
    with CountingServer({}) as server:
        for ending, content in files.items():
            kind = TYPES[ending] if like.content_type == "video/mp4" else like.content_type
            server.routes[f"/a{ending}"] = replace(like, content=content, content_type=kind)
            out, _ = attempt(stage, server.url(f"/a{ending}"))
            assert (out / f"video{ending}").read_bytes() == content
        assert server.sent() <= MOST * sum(map(len, files.values()))
        assert [one.path for one in server.requests] == [f"/a{ending}" for ending in files]
        assert server.connections == len(files)


def test_a_redirect_adds_nothing_but_itself(stage: Download, files: dict[str, bytes]) -> None:
    routes = {
        "/a.mp4": leading_to("/b.mp4"),
        "/b.mp4": leading_to("/c.mp4"),
        "/c.mp4": Served(files[".mp4"]),
    }
    with CountingServer(routes) as server:
        out, _ = attempt(stage, server.url("/a.mp4"))
        assert (out / "video.mp4").read_bytes() == files[".mp4"]
        assert server.sent() <= MOST * len(files[".mp4"])
        assert [one.path for one in server.requests].count("/c.mp4") == 1


def text(route: object) -> Served:
    return Served(route.content.encode(), route.content_type)  # type: ignore[attr-defined]


def test_pages_and_streams_are_sent_once_too(
    stage: Download, files: dict[str, bytes], tmp_path: Path
) -> None:
    piece = make_clip(tmp_path / "piece.ts", width=160, height=120, noise=True).read_bytes()
    dash = (
        '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
        'mediaPresentationDuration="PT1S"><Period><AdaptationSet mimeType="video/mp4">'
        '<Representation id="v" bandwidth="1" width="160" height="120" codecs="avc1.42c00d">'
        "<BaseURL>/c.mp4</BaseURL></Representation></AdaptationSet></Period></MPD>"
    )
    picture = Served(bytes(500_000), "image/jpeg")
    shown = page(["/a.mp4"], '"><meta property="og:image" content="/poster.jpg">')
    routes = {
        "/page": text(shown),
        "/poster.jpg": picture,
        "/v.m3u8": text(stream([("/0.ts", 1.0), ("/1.ts", 1.0)])),
        "/v.mpd": Served(dash.encode(), "application/dash+xml"),
        **{path: Served(piece, "video/mp2t") for path in ("/0.ts", "/1.ts")},
        **{path: Served(files[".mp4"]) for path in ("/a.mp4", "/c.mp4")},
    }
    with CountingServer(routes) as server:
        for path in ("/page", "/v.m3u8", "/v.mpd"):
            attempt(stage, server.url(path))
        assert server.sent() <= MOST * (2 * len(piece) + 2 * len(files[".mp4"]))
        asked = [one.path for one in server.requests]
        assert all(asked.count(path) == 1 for path in ("/0.ts", "/1.ts", "/a.mp4", "/c.mp4"))
        assert "/poster.jpg" not in asked


def test_what_is_cut_is_asked_for_from_where_it_broke_off(
    stage: Download, files: dict[str, bytes]
) -> None:
    whole = files[".mp4"]
    half = len(whole) // 2
    stage._downloader.params["retries"] = 0
    with CountingServer({"/a.mp4": Served(whole, breaks_at=half)}) as server:
        with pytest.raises(Transient):
            attempt(stage, server.url("/a.mp4"))
        server.routes["/a.mp4"] = Served(whole)
        out, _ = attempt(stage, server.url("/a.mp4"))
        assert (out / "video.mp4").read_bytes() == whole
        assert server.sent() <= MOST * len(whole)
        assert [one.range for one in server.requests] == [None, f"bytes={half}-"]


def test_what_is_cut_behind_a_redirect_is_looked_up_again(
    stage: Download, files: dict[str, bytes]
) -> None:
    """A redirect may lead to an address that expires."""
    whole = files[".mp4"]
    half = len(whole) // 2
    stage._downloader.params["retries"] = 0
    routes = {"/a.mp4": leading_to("/b.mp4"), "/b.mp4": Served(whole, breaks_at=half)}
    with CountingServer(routes) as server:
        with pytest.raises(Transient):
            attempt(stage, server.url("/a.mp4"))
        server.routes = {"/a.mp4": leading_to("/c.mp4"), "/c.mp4": Served(whole)}
        out, _ = attempt(stage, server.url("/a.mp4"))
        assert (out / "video.mp4").read_bytes() == whole
        asked = [(one.path, one.range) for one in server.requests]
        assert asked[-1] == ("/c.mp4", f"bytes={half}-")


def test_many_links_in_workers_of_their_own_are_sent_once(
    tmp_path: Path, files: dict[str, bytes]
) -> None:
    routes = {
        f"/{number}{ending}": Served(content, TYPES[ending])
        for ending, content in files.items()
        for number in range(3)
    }
    pipeline = Pipeline(name="fetch", summary="Fetches.", steps=[Step(Download, after=SOURCE)])
    overrides = ["stages.download.allow_private=true", "stages.download.workers=2"]
    config = load_config(pipeline, None, {}, overrides, {})
    with CountingServer(routes) as server:
        report = run_pipeline(pipeline, config, tmp_path, [server.url(path) for path in routes])
        assert report.items["done"] == len(routes)
        assert server.sent() <= MOST * sum(len(route.content) for route in routes.values())
        assert server.connections == len(routes)


def test_a_response_that_nobody_read_for_long_is_not_used(
    stage: Download, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its server may have given up by then."""
    monkeypatch.setattr(unread, "LASTS", 0.0)
    with CountingServer({"/a.mp4": Served(files[".mp4"])}) as server:
        out, _ = attempt(stage, server.url("/a.mp4"))
        assert (out / "video.mp4").read_bytes() == files[".mp4"]
        assert server.connections == 2
