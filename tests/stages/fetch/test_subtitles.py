"""Subtitles come along where they are asked for: a page's, or those beside a local file."""

import logging
from pathlib import Path

import pytest

from engine import Throttled
from stages.demo.server import BareStatus, File, FirstThen, MediaServer, Text
from stages.fetch.subtitles import WantedSubtitles, choose_subtitles
from tests.stages.downloading import attempt, fetch, make_clip, opened, read

ASKED = {"writesubtitles": True, "writeautomaticsub": True}

VTT = "WEBVTT\n\n00:00.000 --> 00:01.000\nhello\n"


def entries(*suffixes: str) -> list[dict[str, str]]:
    return [{"ext": suffix, "url": f"https://a.example/x.{suffix}"} for suffix in suffixes]


YOUTUBE = {
    "id": "x",
    "language": "de",
    "subtitles": {"live_chat": entries("json"), "fr": entries("json3", "vtt")},
    "automatic_captions": {
        "en": entries("json3", "vtt"),
        "de-orig": entries("json3", "srv1", "vtt"),
        "de": entries("json3", "vtt"),
    },
}


def chosen(found, language=None, *, manual=True, automatic=True):
    made = choose_subtitles(found, WantedSubtitles(manual, automatic, language))
    return made and (made[0], made[1]["ext"], made[2])


def test_what_people_wrote_goes_before_a_machines_and_no_translation_counts():
    assert chosen(YOUTUBE) == ("de-orig", "vtt", True), "what is spoken, not a translation of it"
    assert chosen(YOUTUBE | {"language": "fr"}) == ("fr", "vtt", False)
    assert chosen(YOUTUBE, "fr") == ("fr", "vtt", False)
    assert chosen(YOUTUBE, "de") == ("de-orig", "vtt", True)
    assert chosen(YOUTUBE, "de", automatic=False) is None
    assert chosen(YOUTUBE, "en") is None, "a machine's translation"
    assert chosen(YOUTUBE | {"language": None}) == ("de-orig", "vtt", True)


def test_formats_and_names_of_languages():
    both = {"subtitles": {"en-GB": entries("ttml", "srt"), "en": entries("srt", "vtt")}}
    assert chosen(both, "en") == ("en", "vtt", False)
    assert chosen(both, "en-GB") == ("en-GB", "srt", False)
    assert chosen({"subtitles": {"en": entries("json3")}}) is None
    assert chosen({"subtitles": {"it": entries("vtt")}}) == ("it", "vtt", False)
    assert chosen({"automatic_captions": {"it": entries("vtt")}}) == ("it", "vtt", True)
    assert chosen({"automatic_captions": {"it": entries("vtt"), "en": entries("vtt")}}) is None
    assert chosen({}) is None


PAGE = (
    "<html><head><title>Talk</title></head><body><video src='/talk.mp4'>"
    "<track kind='subtitles' srclang='en' src='/talk.vtt'></video></body></html>"
)


def serve(tmp_path: Path, subtitles) -> MediaServer:
    clip = make_clip(tmp_path / "served.mp4")
    routes = {"/talk": Text(PAGE, "text/html"), "/talk.mp4": File(clip), "/talk.vtt": subtitles}
    return MediaServer(routes)


def test_a_pages_subtitles_come_only_where_they_are_asked_for(tmp_path):
    with serve(tmp_path, Text(VTT, "text/vtt")) as server:
        out = fetch(tmp_path, server.url("/talk"))
        assert "subtitles" not in read(out)
        assert "/talk.vtt" not in [one.path for one in server.requests]
        out = fetch(tmp_path, server.url("/talk"), options=ASKED)
    assert read(out)["subtitles"] == {
        "file": "video.en.vtt",
        "language": "en",
        "automatic": False,
    }
    assert (out / "video.en.vtt").read_text() == VTT
    assert {path.name for path in out.iterdir()} == {"info.json", "video.mp4", "video.en.vtt"}


def test_subtitles_that_do_not_come_cost_no_video(tmp_path, caplog):
    with (
        serve(tmp_path, BareStatus(404)) as server,
        caplog.at_level(logging.WARNING, "penstock.download"),
    ):
        out = fetch(tmp_path, server.url("/talk"), options=ASKED)
    assert {path.name for path in out.iterdir()} == {"info.json", "video.mp4"}
    [told] = [one.message for one in caplog.records if "subtitles (en)" in one.message]
    assert "did not come" in told
    assert "\n" not in told


def test_a_server_that_says_slow_down_is_obeyed_and_the_video_not_fetched_again(tmp_path):
    refusing = FirstThen(BareStatus(429, retry_after=7), 1, Text(VTT, "text/vtt"))
    with (
        serve(tmp_path, refusing) as server,
        opened(tmp_path, options=ASKED) as stage,
    ):
        with pytest.raises(Throttled):
            attempt(stage, server.url("/talk"))
        fetched = [one.path for one in server.requests].count("/talk.mp4")
        out, _ = attempt(stage, server.url("/talk"))
        assert [one.path for one in server.requests].count("/talk.mp4") == fetched
    assert (out / "video.en.vtt").read_text() == VTT


@pytest.mark.parametrize(
    ("files", "language", "taken"),
    [
        (["talk.srt"], None, ("video.und.srt", None)),
        (["talk.en.vtt", "talk.de.vtt"], None, ("video.de.vtt", "de")),
        (["talk.en.vtt", "talk.de.vtt"], "en-US", ("video.en.vtt", "en")),
        (["talk.en.vtt", "talk.SRT"], "fr", ("video.fr.srt", "fr")),
        (["talk.en.vtt"], "fr", None),
        (["talks.srt", "talk.two.words.srt", "other.srt"], None, None),
    ],
)
def test_a_file_beside_a_local_video_is_taken(tmp_path, files, language, taken):
    folder = tmp_path / "films"
    folder.mkdir()
    video = make_clip(folder / "talk.mp4")
    for name in files:
        (folder / name).write_text(VTT)
    options = ASKED | ({"subtitleslangs": [language]} if language else {})
    out = fetch(tmp_path, str(video), options=options)
    told = read(out).get("subtitles")
    assert (told and (told["file"], told["language"])) == taken
    if taken:
        assert (out / taken[0]).read_text() == VTT


def test_without_being_asked_nothing_beside_is_touched(tmp_path):
    video = make_clip(tmp_path / "talk.mp4")
    (tmp_path / "talk.srt").write_text(VTT)
    out = fetch(tmp_path, str(video))
    assert {path.name for path in out.iterdir()} == {"info.json", "video.mp4"}
