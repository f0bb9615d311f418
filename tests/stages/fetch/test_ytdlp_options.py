"""Settings turned into yt-dlp's options, and what is said of impossible ones."""

import logging
from pathlib import Path
from typing import Any

import pytest

from engine import ConfigError, Drop
from stages.demo.server import File, MediaServer
from stages.fetch.download import Download
from stages.fetch.ytdlp_options import open_youtube_dl
from tests.stages.downloading import attempt, make_clip, opened


def offer(*formats: tuple[str, int, int, str]) -> dict[str, Any]:
    """A video as a site's code describes it: (name, width, height, codec) of each format."""
    return {
        "id": "a", "title": "a", "extractor": "x", "extractor_key": "x",
        "webpage_url": "https://example.com/a",
        "formats": [
            {"format_id": name, "url": f"https://example.com/{name}.mp4", "ext": "mp4",
             "width": width, "height": height, "vcodec": codec, "acodec": "none", "tbr": height}
            for name, width, height, codec in formats
        ],
    }  # fmt: skip


def chosen(tmp_path: Path, size: int | None, offered: dict[str, Any]) -> str:
    downloader = open_youtube_dl(Download.Settings(size=size), tmp_path, lambda address: False)
    try:
        return str(downloader.process_ie_result(offered, download=False)["format_id"])
    finally:
        downloader.close()


LADDER = [("240", 426, 240), ("360", 640, 360), ("720", 1280, 720), ("1080", 1920, 1080)]


@pytest.mark.parametrize(
    ("size", "expected"),
    [(100, "240"), (640, "360"), (641, "720"), (1280, "720"), (4000, "1080"), (None, "1080")],
)
@pytest.mark.parametrize("upright", [False, True])
def test_the_smallest_format_that_is_large_enough(
    tmp_path: Path, size: int | None, expected: str, upright: bool
) -> None:
    formats = [(n, h, w, "avc1") if upright else (n, w, h, "avc1") for n, w, h in LADDER]
    assert chosen(tmp_path, size, offer(*formats)) == expected


def test_among_equals_the_codec_that_decodes_fastest(tmp_path: Path) -> None:
    formats = [("av1", 640, 360, "av01"), ("h264", 640, 360, "avc1"), ("vp9", 640, 360, "vp9")]
    assert chosen(tmp_path, 640, offer(*formats)) == "h264"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"options": {"formatt": "b"}}, "no option 'formatt'; did you mean 'format'"),
        ({"options": {"format": "b["}}, "options: yt-dlp does not take this"),
        ({"options": {"outtmpl": "x"}}, "outtmpl is the stage's own"),
        ({"options": {"proxy": "x"}}, "set stages.download.proxy instead"),
        ({"cookies": Path("/no/such/cookies.txt")}, "cannot read '/no/such/cookies.txt'"),
        ({"cookies": Path(__file__)}, "stages.download.cookies: yt-dlp does not take this"),
        ({"cookies_from_browser": "lynx"}, "'lynx' is not BROWSER"),
    ],
)
def test_impossible_settings_are_named_when_the_stage_opens(
    tmp_path: Path, settings: dict[str, Any], said: str
) -> None:
    stage = Download(Download.Settings(**settings), tmp_path)
    with pytest.raises(ConfigError) as caught:
        stage.open()
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_options_of_yt_dlp_win_over_the_stages(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mp4")
    given = {"match_filter": "title != clip", "http_headers": {"User-Agent": "a test"}}
    with (
        MediaServer({"/clip.mp4": File(clip), "/other.mp4": File(clip)}) as server,
        opened(tmp_path, options=given) as stage,
    ):
        with pytest.raises(Drop) as caught:
            attempt(stage, server.url("/clip.mp4"))
        assert caught.value.kind == "filtered"
        out, _ = attempt(stage, server.url("/other.mp4"))
        assert (out / "video.mp4").exists()


def test_a_video_in_yt_dlps_archive_is_dropped(tmp_path: Path) -> None:
    archive = tmp_path / "archive.txt"
    archive.write_text("youtube dQw4w9WgXcQ\n")
    with opened(tmp_path, options={"download_archive": str(archive)}) as stage:
        with pytest.raises(Drop) as caught:
            attempt(stage, "https://www.youtube.com/watch?v=dQw4w9WgXcQ")
        assert caught.value.kind == "archived"


def test_yt_dlps_messages_go_to_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    clip = make_clip(tmp_path / "clip.mp4")
    with (
        MediaServer({"/clip.mp4": File(clip)}) as server,
        opened(tmp_path) as stage,
        caplog.at_level(logging.DEBUG, "penstock.download"),
    ):
        attempt(stage, server.url("/clip.mp4"))
    assert "Extracting URL" in caplog.text
