"""The address of a file that leads to a page elsewhere, and pages that are what was asked for."""

from pathlib import Path

import pytest

from engine import Permanent
from stages.demo.server import File, MediaServer, Redirect, Text, page
from tests.stages.downloading import attempt, fetch, make_clip, opened, read

FILM = "/films/film.mp4"


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return make_clip(tmp_path / "clip.mp4")


@pytest.mark.parametrize(
    "login",
    [
        page(["/trailer.mp4"]),
        page(["/trailer.mp4", "/other.mp4"]),
        Text("<html><title>Log in</title></html>"),
        page(["/trailer.mp4"], title="login: films/film.mp4"),
    ],
)
@pytest.mark.parametrize("path", [FILM, "/films/film.M3U8", "/films/film.webm?a=b.mp4"])
def test_the_trailer_on_a_login_page_is_not_the_video(
    tmp_path: Path, clip: Path, login: Text, path: str
) -> None:
    routes = {"/login": login, "/trailer.mp4": File(clip), "/other.mp4": File(clip)}
    with MediaServer(routes) as server, opened(tmp_path) as stage:
        server.routes["/there"] = Redirect(server.url("/login?sig=secret&next=1"))
        server.routes[path.partition("?")[0]] = Redirect(server.url("/there"))
        with pytest.raises(Permanent) as told:
            attempt(stage, server.url(path))
    assert told.value.kind == "not_video"
    led = f"leads to a web page, {server.url('/login?next=1')}, and not to a video"
    assert told.value.reason.startswith(f"{server.url(path)}: {led}")


def test_what_an_address_may_lead_to(tmp_path: Path, clip: Path) -> None:
    with MediaServer({"/cdn/77.mp4": File(clip), "/cdn/78": File(clip)}) as server:
        server.routes |= {
            # The file itself, by another name or none.
            "/a.mp4": Redirect(server.url("/cdn/77.mp4")),
            "/b.mp4": Redirect(server.url("/cdn/78")),
            # A page about that file, under its own address, or with it on it.
            "/c.mp4": page(["/cdn/77.mp4"]),
            "/77.mp4": Redirect(server.url("/player")),
            "/player": page(["/cdn/77.mp4?x=1"]),
            # A page's address, which leads to a page.
            "/d": Redirect(server.url("/player")),
            "/d.html": Redirect(server.url("/player")),
        }
        for name in ("a.mp4", "b.mp4", "c.mp4", "77.mp4", "d", "d.html"):
            out = fetch(tmp_path, server.url(f"/{name}"))
            assert (out / "video.mp4").read_bytes() == clip.read_bytes(), name
            assert read(out)["width"] == 64
