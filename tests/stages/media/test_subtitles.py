"""Subtitles come out as text, on the time of the video."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from stages.media.subtitles import ShownText, read_subtitles

ENGLISH = """1
00:00:01,000 --> 00:00:03,500
<i>It was</i> the best of times,

2
00:00:04,000 --> 00:00:06,000
- It was the worst
of times.
"""

GERMAN = """1
00:00:01,000 --> 00:00:03,500
Es war die beste aller Zeiten.
"""


def with_subtitles(path: Path, **texts: str) -> Path:
    """A video of 8 s with a track of subtitles for each language."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=5)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        tracks = []
        for language, text in texts.items():
            file = path.with_suffix(f".{language}.srt")
            file.write_text(text)
            source = av.open(str(file))
            track = container.add_stream_from_template(source.streams.subtitles[0])
            track.metadata["language"] = language
            tracks.append((source, track))
        for number in range(40):
            grey = np.full((48, 64, 3), 3 * number, np.uint8)
            container.mux(video.encode(av.VideoFrame.from_ndarray(grey, "rgb24")))
        container.mux(video.encode())
        for source, track in tracks:
            with source:
                for packet in source.demux():
                    if packet.dts is not None:
                        packet.stream = track
                        container.mux(packet)
    return path


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("subtitled") / "film.mkv"
    return with_subtitles(path, eng=ENGLISH, ger=GERMAN)


def test_subtitles_are_text_without_styles(video):
    found = read_subtitles(video, Fraction(0), None)
    assert found is not None
    assert found.language == "eng"
    assert found.cues == (
        ShownText(1.0, 3.5, "It was the best of times,"),
        ShownText(4.0, 6.0, "It was the worst of times."),
    )


def test_a_language_and_the_beginning_of_the_video_may_be_given(video):
    german = read_subtitles(video, Fraction(2), "ge")
    assert german is not None
    assert german.cues == (ShownText(0.0, 1.5, "Es war die beste aller Zeiten."),)
    assert read_subtitles(video, Fraction(0), "fr") is None


def test_where_there_are_none_there_are_none(tmp_path):
    assert read_subtitles(with_subtitles(tmp_path / "plain.mkv"), Fraction(0), None) is None
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    assert read_subtitles(tmp_path / "bad.mp4", Fraction(0), None) is None
