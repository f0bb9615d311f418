"""The sound of a file lies on its video's time, whatever is missing of it."""

import math
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from engine import Permanent
from stages.media.damage import Damage
from stages.sound.track import RATE, read_samples, write_track

TONE = 440


def tone(start: float, length: float, rate: int, level: float = 0.5) -> np.ndarray:
    at = np.arange(round(start * rate), round((start + length) * rate)) / rate
    return (level * np.sin(2 * math.pi * TONE * at)).astype(np.float32)


def sound_file(
    path: Path,
    pieces: list[tuple[float, float]],
    *,
    rate: int = 48_000,
    layout: str = "stereo",
    codec: str = "pcm_s16le",
) -> Path:
    """A tone in each of the pieces (start, length), and no packet between them."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, layout=layout)
        channels = stream.codec_context.channels
        for start, length in pieces:
            for begin in np.arange(start, start + length, 0.02):
                samples = tone(begin, min(0.02, start + length - begin), rate)
                data = np.repeat(samples[None, :], channels, axis=0)
                frame = av.AudioFrame.from_ndarray(
                    np.ascontiguousarray(data), format="fltp", layout=layout
                )
                frame.sample_rate, frame.time_base = rate, Fraction(1, rate)
                frame.pts = round(begin * rate)
                for packet in stream.encode(frame):
                    container.mux(packet)
        container.mux(stream.encode())
    return path


def loud(samples: np.ndarray, start: float, end: float) -> float:
    """The mean level between two seconds, 0 to 1."""
    part = samples[round(start * RATE) : round(end * RATE)].astype(float) / 32768
    return float(np.sqrt(np.mean(part**2))) if part.size else 0.0


@pytest.fixture
def track(tmp_path):
    def run(path: Path, zero: Fraction = Fraction(0)):
        target, damage = tmp_path / "audio.wav", Damage()
        facts = write_track(path, zero, target, damage)
        return facts, read_samples(target), damage.sentences()

    return run


@pytest.mark.parametrize(
    ("layout", "rate"), [("mono", 8_000), ("mono", 16_000), ("stereo", 44_100), ("5.1", 48_000)]
)
def test_every_layout_and_rate_becomes_16_khz_mono(track, tmp_path, layout, rate):
    path = sound_file(tmp_path / "clip.mkv", [(0, 2)], layout=layout, rate=rate)
    facts, samples, damage = track(path)

    channels = {"mono": 1, "stereo": 2, "5.1": 6}[layout]
    assert (facts.rate, facts.channels, facts.codec) == (rate, channels, "pcm_s16le")
    assert samples.dtype == np.int16
    assert samples.shape == (pytest.approx(2 * RATE, abs=0.01 * RATE),)
    assert damage == []
    spectrum = np.abs(np.fft.rfft(samples[RATE // 2 : RATE // 2 + RATE].astype(float)))
    assert spectrum.argmax() == TONE


def test_sound_that_begins_late_has_silence_before_it(track, tmp_path):
    path = sound_file(tmp_path / "clip.mkv", [(1.5, 1)])
    _, samples, _ = track(path)

    assert len(samples) / RATE == pytest.approx(2.5, abs=0.03)
    assert loud(samples, 0, 1.45) < 0.001
    assert loud(samples, 1.6, 2.4) == pytest.approx(0.354, abs=0.02)


def test_what_is_before_the_video_is_left_out(track, tmp_path):
    path = sound_file(tmp_path / "clip.mkv", [(0, 1), (2, 1)])
    _, samples, _ = track(path, Fraction(3, 2))

    assert len(samples) / RATE == pytest.approx(1.5, abs=0.03)
    assert loud(samples, 0, 0.45) < 0.001
    assert loud(samples, 0.6, 1.4) == pytest.approx(0.354, abs=0.02)


def test_a_gap_is_silence_and_moves_nothing(track, tmp_path):
    path = sound_file(tmp_path / "clip.mkv", [(0, 1), (3, 1), (10, 0.5)])
    _, samples, _ = track(path)

    assert len(samples) / RATE == pytest.approx(10.5, abs=0.03)
    assert loud(samples, 0.1, 0.9) == pytest.approx(0.354, abs=0.02)
    assert loud(samples, 1.1, 2.9) < 0.001
    assert loud(samples, 3.1, 3.9) == pytest.approx(0.354, abs=0.02)
    assert loud(samples, 4.1, 9.9) < 0.001
    assert loud(samples, 10.1, 10.4) == pytest.approx(0.354, abs=0.02)


def test_a_compressed_track_is_as_long_as_what_went_in(track, tmp_path):
    path = sound_file(tmp_path / "clip.mp4", [(0, 3)], codec="aac")
    facts, samples, _ = track(path)

    assert facts.codec == "aac"
    assert len(samples) / RATE == pytest.approx(3, abs=0.05)


def test_damage_is_counted_and_what_follows_keeps_its_time(track, tmp_path):
    path = sound_file(tmp_path / "clip.mp4", [(0, 6)], codec="aac")
    content = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        packets = [
            (one.pos, one.size, one.pts * one.time_base)
            for one in container.demux(audio=0)
            if one.size
        ]
    for position, size, at in packets:
        if 2 <= at < 3:
            content[position : position + size] = b"\xff" * size
    path.write_bytes(content)
    _, samples, damage = track(path)

    assert len(samples) / RATE == pytest.approx(6, abs=0.1)
    assert damage and "of sound could not be decoded" in damage[0]
    assert loud(samples, 4, 5.5) == pytest.approx(0.354, abs=0.03)


def test_a_file_without_sound_gives_none_and_leaves_nothing(track, tmp_path):
    with av.open(str(tmp_path / "clip.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        container.mux(stream.encode(av.VideoFrame(64, 48, "yuv420p")))
        container.mux(stream.encode())
    damage = Damage()

    assert write_track(tmp_path / "clip.mp4", Fraction(0), tmp_path / "a.wav", damage) is None
    assert not (tmp_path / "a.wav").exists()


@pytest.mark.parametrize(("content", "kind"), [(b"", "damaged"), (b"#!/bin/sh\necho\n", "damaged")])
def test_what_is_no_media_is_refused_with_the_reason(tmp_path, content, kind):
    path = tmp_path / "clip.mp4"
    path.write_bytes(content)
    with pytest.raises(Permanent, match=r"clip\.mp4") as refused:
        write_track(path, Fraction(0), tmp_path / "a.wav", Damage())
    assert refused.value.kind == kind
