"""One film of many clips: pictures are copied as they are, and the sound is encoded once.

A clip with AAC of its own is some milliseconds longer than its pictures, for an encoder works in
blocks of 1,024 samples, and that adds up over a lesson. So sound stays samples until here.
"""

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from stages.lesson.captions import TimedText
from stages.lesson.voices.pcm import RATE, read_wav
from stages.media.media_file import open_for_copying, open_media

TICKS = 1000
"""Of a second, for captions and chapters."""

QUICK = {"aac_coder": "fast"}
"""Takes half the time of FFmpeg's usual way, and is nearer to what was spoken: by 14 dB at 128 kbit
a second."""

UNKNOWN_LANGUAGE = "und"

ASS_HEADER = b"""[Script Info]
ScriptType: v4.00+

[V4+ Styles]
Format: Name, Fontname, Fontsize, PrimaryColour
Style: Default,Arial,16,&Hffffff

[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
"""
"""What FFmpeg's encoder of captions wants before it opens; the packets are made here."""


@dataclass(frozen=True, slots=True)
class FilmPiece:
    """A clip: H.264 without B-frames, and a WAV file of just as many samples."""

    pictures: Path
    sound: Path
    frames: int


@dataclass(frozen=True, slots=True)
class FilmChapter:
    start: float
    end: float
    title: str


def write_film(
    pieces: Sequence[FilmPiece],
    captions: Sequence[TimedText],
    chapters: Sequence[FilmChapter],
    target: Path,
    *,
    title: str,
    language: str,
    bitrate: int,
) -> None:
    """An MP4 that a browser can begin to play while it is still being fetched. `language` is as in
    BCP 47."""
    code = language_code(language)
    with av.open(str(target), "w", format="mp4", options={"movflags": "+faststart"}) as film:
        film.metadata.update({"title": title, "comment": "Made by AI with Penstock."})
        with open_media(pieces[0].pictures) as first:
            video: Any = film.add_stream_from_template(first.streams.video[0])
        video.time_base = first_time_base(pieces[0].pictures)
        audio: Any = film.add_stream("aac", rate=RATE, layout="mono", options=QUICK)
        audio.bit_rate = bitrate
        audio.metadata["language"] = code
        text: Any = film.add_stream("mov_text") if captions else None
        if text is not None:
            text.time_base = Fraction(1, TICKS)
            text.codec_context.subtitle_header = ASS_HEADER
            text.metadata["language"] = code
        if chapters:
            film.set_chapters(
                [
                    {
                        "id": number,
                        "start": round(one.start * TICKS),
                        "end": round(one.end * TICKS),
                        "time_base": Fraction(1, TICKS),
                        "metadata": {"title": one.title},
                    }
                    for number, one in enumerate(chapters)
                ]
            )
        streams = [_video_packets(pieces, video), _audio_packets(pieces, audio)]
        if text is not None:
            streams.append(_caption_packets(captions, text))
        for packet in _by_time(streams):
            film.mux_one(packet)


def language_code(language: str) -> str:
    """The three letters of ISO 639-2 that MP4 has for a language of BCP 47; "und" where there are
    none."""
    from yt_dlp.utils import ISO639Utils

    first = language.lower().partition("-")[0]
    if len(first) == 2:
        return ISO639Utils.short2long(first) or UNKNOWN_LANGUAGE
    return first if len(first) == 3 else UNKNOWN_LANGUAGE


def first_time_base(path: Path) -> Fraction:
    with open_for_copying(path) as clip:
        return clip.streams.video[0].time_base or Fraction(1, 25)


def _by_time(streams: Sequence[Iterator[Any]]) -> Iterator[Any]:
    """The packets of all streams, the earliest first."""
    return heapq.merge(*streams, key=lambda packet: packet.dts * float(packet.time_base))


def _video_packets(pieces: Sequence[FilmPiece], stream: Any) -> Iterator[Any]:
    begin = Fraction(0)
    for piece in pieces:
        with open_for_copying(piece.pictures) as clip:
            source = clip.streams.video[0]
            rate = Fraction(source.average_rate or 25)
            base = source.time_base or Fraction(1, rate)
            for packet in clip.demux(source):
                if packet.dts is None:
                    continue
                packet.pts = packet.dts = int(packet.dts + begin / base)
                packet.stream = stream
                yield packet
            begin += piece.frames / rate


def _audio_packets(pieces: Sequence[FilmPiece], stream: Any) -> Iterator[Any]:
    fifo, written = av.AudioFifo(), 0
    for piece in pieces:
        samples = read_wav(piece.sound)
        frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="s16", layout="mono")
        frame.sample_rate, frame.time_base, frame.pts = RATE, Fraction(1, RATE), written
        written += len(samples)
        fifo.write(frame)
        while (block := fifo.read(1024)) is not None:
            yield from stream.encode(block)
    if (rest := fifo.read()) is not None:
        yield from stream.encode(rest)
    yield from stream.encode(None)


def _caption_packets(captions: Sequence[TimedText], stream: Any) -> Iterator[Any]:
    """As 3GPP Timed Text has them: two bytes of length, then UTF-8."""
    for one in captions:
        text, start = one.text.encode(), round(one.start * TICKS)
        packet: Any = av.Packet(len(text).to_bytes(2, "big") + text)
        packet.pts = packet.dts = start
        packet.duration = max(1, round(one.end * TICKS) - start)
        packet.time_base, packet.stream = Fraction(1, TICKS), stream
        yield packet
