"""Subtitles in files: what a person reads of them, whatever the file looks like."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.media.subtitle_files import UnreadableSubtitlesError, read_subtitle_file
from stages.media.subtitles import ShownText

ROLLING = """WEBVTT
Kind: captions
Language: en

00:00:00.160 --> 00:00:02.470 align:start position:0%
~
it<00:00:00.400><c> was</c><00:00:00.640><c> the</c><00:00:00.880><c> best</c>

00:00:02.470 --> 00:00:02.480 align:start position:0%
it was the best
~

00:00:02.480 --> 00:00:05.110 align:start position:0%
it was the best
of<00:00:02.700><c> times</c><00:00:03.100><c> it</c>

00:00:05.110 --> 00:00:05.120 align:start position:0%
of times it
~

00:00:05.120 --> 00:00:08.000 align:start position:0%
of times it
was<00:00:05.400><c> the</c><00:00:05.900><c> worst</c>
""".replace("~", " ")


def read(tmp_path: Path, content: str | bytes, name: str = "a.vtt", language: str | None = None):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_subtitle_file(path, language)


def texts(tmp_path: Path, content: str | bytes, name: str = "a.vtt", language: str | None = None):
    return [cue.text for cue in read(tmp_path, content, name, language).cues]


def test_each_line_of_captions_that_roll_up_is_read_once(tmp_path):
    found = read(tmp_path, ROLLING, language="en")
    assert [cue.text for cue in found.cues] == [
        "it was the best",
        "of times it",
        "was the worst",
    ]
    assert [cue.start for cue in found.cues] == [0.16, 2.48, 5.12]
    assert (found.codec, found.language) == ("vtt", "en")


def test_who_says_a_thing_twice_is_quoted_twice(tmp_path):
    srt = "\n".join(
        f"{number}\n00:00:0{number},000 --> 00:00:0{number},900\n{text}\n"
        for number, text in enumerate(["No.", "No.", "Why?", "I said", "so."], 1)
    )
    assert texts(tmp_path, srt, "a.srt") == ["No.", "No.", "Why?", "I said", "so."]


def test_tags_styles_entities_and_dashes_are_no_words(tmp_path):
    vtt = (
        "WEBVTT\n\nSTYLE\n::cue { color: red }\n\nNOTE nobody says this\n\n"
        "intro\n00:01.000 --> 00:02.500 line:0\n"
        "<v Ann><i>Salt &amp; pepper</i>\n- <c.loud>now</c> , please\n\n"
        "1:00:00.5 --> 1:00:01.25\n{\\an8}late\u200b\\Nword\n"
    )
    found = read(tmp_path, vtt)
    assert found.cues == (
        ShownText(1.0, 2.5, "Salt & pepper now, please"),
        ShownText(3600.5, 3601.25, "late word"),
    )


@pytest.mark.parametrize(
    ("encoding", "language", "text"),
    [
        ("utf-8", None, "Grüße, мир, 世界"),
        ("utf-8-sig", None, "Grüße"),
        ("utf-16", None, "Grüße, мир"),
        ("utf-32", None, "世界"),
        ("cp1252", None, "Grüße – “good”"),
        ("cp1251", "ru", "Привет, мир"),
        ("cp1250", "pl-PL", "Zażółć gęślą jaźń"),
        ("cp932", "ja", "こんにちは"),
        ("gb18030", "zh-Hans", "你好"),
    ],
)
def test_encodings_that_files_have(tmp_path, encoding, language, text):
    content = f"1\n00:00:01,000 --> 00:00:02,000\n{text}\n".encode(encoding)
    assert texts(tmp_path, content, "a.srt", language) == [text]


def test_files_with_slips_are_read_as_far_as_they_go(tmp_path):
    srt = (
        "1\r\n00:00:01,000 --> 00:00:02,000\r\none\r\n2\r\n00:00:03,000-->00:00:04,000\r\n"
        "two\r\n\r\n"
        "3\r\n00:00:09,000 --> oops\r\nlost times\r\n\r\n"
        "4\r\n00:00:08,000 --> 00:00:07,000\r\nbackwards\r\n\r\n"
        "5\r\n00:00:06.5 --> 00:00:07.0\r\nsix"
    )
    assert texts(tmp_path, srt, "a.srt") == ["one", "two", "six", "backwards"]


@pytest.mark.parametrize("content", [b"", b"\x00\x01\x02", b"<html>gone</html>", b"WEBVTT\n\n"])
def test_a_file_without_cues_is_told_of(tmp_path, content):
    with pytest.raises(UnreadableSubtitlesError, match=r"empty|no line with times"):
        read(tmp_path, content)


@given(st.binary(max_size=200))
def test_no_file_breaks_it(tmp_path_factory, content):
    try:
        found = read(tmp_path_factory.getbasetemp(), b"WEBVTT\n\n00:01.0 --> 00:02.0\n" + content)
    except UnreadableSubtitlesError:
        return
    assert all(cue.text and cue.start <= cue.end for cue in found.cues)
