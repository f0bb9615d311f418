"""Files that end before their containers do, and what becomes of one that a server cuts off."""

from pathlib import Path

import av
import numpy as np
import pytest

from engine import Transient
from stages.demo.server import Exchange, File, MediaServer, stream
from stages.fetch.cut_off import is_cut_off
from tests.stages.downloading import attempt, make_clip, opened, read


def clip_in(path: Path, **options: str) -> Path:
    with av.open(str(path), "w", options=options) as container:
        made = container.add_stream("libx264", rate=10)
        made.width, made.height, made.pix_fmt = 64, 48, "yuv420p"
        for number in range(20):
            pixels = np.full((48, 64, 3), number * 9, np.uint8)
            container.mux(made.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(made.encode())
    return path


@pytest.mark.parametrize("name", ["a.mp4", "a.mov", "a.mkv", "a.avi"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.99])
def test_a_container_tells_that_it_breaks_off(tmp_path: Path, name: str, share: float) -> None:
    file = clip_in(tmp_path / name)
    assert not is_cut_off(file)
    whole = file.read_bytes()
    file.write_bytes(whole[: int(len(whole) * share)])
    assert is_cut_off(file)
    file.write_bytes(whole + b"\0\0")
    assert not is_cut_off(file)


def test_what_does_not_tell_counts_as_whole(tmp_path: Path) -> None:
    live = clip_in(tmp_path / "live.mkv", live="1")
    pieces = clip_in(tmp_path / "pieces.mp4", movflags="frag_keyframe+empty_moov")
    packets = clip_in(tmp_path / "a.ts")
    text = tmp_path / "text.mp4"
    text.write_text("no video")
    empty = tmp_path / "empty.mp4"
    empty.touch()
    for file in (live, pieces, packets, text, empty):
        assert not is_cut_off(file), file
    live.write_bytes(live.read_bytes()[:-50])
    assert not is_cut_off(live)
    for head in (
        b"\x1a\x45\xdf\xa3",
        b"\x1a\x45\xdf\xa3\x01",
        b"RIFF",
        b"\0\0\0\1ftyp",
        b"\0\0\0\0mdat",
    ):
        text.write_bytes(head)
        is_cut_off(text)


class CutOff:
    """Sends all but the last bytes, over HTTP/1.0 and without a length, the first `times`."""

    def __init__(self, clip: Path, times: int) -> None:
        self.clip, self.times = clip.read_bytes(), times

    def __call__(self, exchange: Exchange) -> None:
        self.times -= exchange.command == "GET"
        exchange.protocol_version = "HTTP/1.0"
        exchange.send_response(200)
        exchange.send_header("Content-Type", "video/mp4")
        exchange.end_headers()
        exchange.body(self.clip if self.times < 0 else self.clip[:-200])
        exchange.close_connection = True


@pytest.mark.parametrize("moov", ["faststart", ""])
def test_a_file_that_is_cut_off_without_a_length_is_fetched_again(
    tmp_path: Path, moov: str
) -> None:
    clip = clip_in(tmp_path / "clip.mp4", **({"movflags": moov} if moov else {}))
    with MediaServer({"/a.mp4": CutOff(clip, 2)}) as server, opened(tmp_path) as stage:
        for _ in range(2):
            with pytest.raises(Transient, match="the connection ended before the file did"):
                attempt(stage, server.url("/a.mp4"))
        out, _ = attempt(stage, server.url("/a.mp4"))
    assert (out / "video.mp4").read_bytes() == clip.read_bytes()
    assert "cut_off" not in read(out)


def test_a_file_that_always_breaks_off_is_taken_for_what_there_is(tmp_path: Path) -> None:
    clip = clip_in(tmp_path / "clip.mp4", movflags="faststart")
    with MediaServer({"/a.mp4": CutOff(clip, 99)}) as server, opened(tmp_path) as stage:
        for _ in range(2):
            with pytest.raises(Transient):
                attempt(stage, server.url("/a.mp4"))
        out, _ = attempt(stage, server.url("/a.mp4"))
        assert read(out)["cut_off"] is True
        # With a length it is what the server has, and whole as far as anyone can tell.
        part = tmp_path / "part.mp4"
        part.write_bytes(clip.read_bytes()[:-200])
        server.routes["/b.mp4"] = File(part)
        out, _ = attempt(stage, server.url("/b.mp4"))
        assert "cut_off" not in read(out)


def test_pieces_that_each_begin_at_zero_last_as_long_as_their_list_says(tmp_path: Path) -> None:
    piece = File(make_clip(tmp_path / "piece.ts", seconds=2))
    routes = {f"/{number}.ts": piece for number in range(5)}
    routes |= {"/five.m3u8": stream([(f"/{number}.ts", 2.0) for number in range(5)])}
    routes |= {"/one.m3u8": stream([("/0.ts", 2.0)])}
    with MediaServer(routes) as server, opened(tmp_path) as stage:
        out, _ = attempt(stage, server.url("/five.m3u8"))
        assert read(out)["duration"] == 10.0
        out, _ = attempt(stage, server.url("/one.m3u8"))
        assert read(out)["duration"] == pytest.approx(2.0, abs=0.11)
