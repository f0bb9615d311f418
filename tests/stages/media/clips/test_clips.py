"""A stretch of a video as a file: the right frames at the right times, with its sound."""

import errno
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from engine import Permanent
from stages.media.clips.clip import WrittenClip
from stages.media.clips.copied import NotCopyableError, copy_stretch
from stages.media.clips.encoded import encode_stretch

RATE = 25
FRAMES = 120
BEEP = 3.0, 3.2
SOUND = 48_000


def bars(number: int) -> np.ndarray:
    """The number as eight bars, white for one."""
    bits = np.array([255 * (number >> bit & 1) for bit in range(8)], np.uint8)
    return np.tile(np.repeat(bits, 8), (48, 1))


def marked(path: Path, codec: str = "libx264", sound: str = "aac", delay: float = 0.0) -> Path:
    """A video of 4.8 s whose frames show their numbers, a keyframe every second, and
    a beep. `delay` is when it begins on the container's clock."""
    with av.open(str(path), "w") as container:
        options = {"g": "25", "sc_threshold": "0"} if codec == "libx264" else {"g": "25"}
        video = container.add_stream(codec, rate=RATE, options=options)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        audio = container.add_stream(sound, SOUND, layout="mono")
        for number in range(FRAMES):
            frame = av.VideoFrame.from_ndarray(bars(number), "gray8")
            frame.pts = number + round(delay * RATE)
            frame.time_base = Fraction(1, RATE)
            container.mux(video.encode(frame.reformat(format="yuv420p")))
            at = number / RATE + np.arange(SOUND // RATE) / SOUND
            tone = np.where((at >= BEEP[0]) & (at < BEEP[1]), np.sin(2 * np.pi * 880 * at), 0)
            heard = av.AudioFrame.from_ndarray(tone.astype(np.float32)[None], "fltp", "mono")
            heard.sample_rate, heard.time_base = SOUND, Fraction(1, SOUND)
            heard.pts = number * SOUND // RATE + round(delay * SOUND)
            container.mux(audio.encode(heard))
        container.mux([*video.encode(), *audio.encode()])
    return path


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return marked(tmp_path_factory.mktemp("clips") / "marked.mp4", delay=0.5)


def numbers(path: Path) -> dict[float, int]:
    """The number of the frame that a clip shows, by its time in the clip."""
    shown = {}
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            columns = frame.to_ndarray(format="gray8")[:, 4::8].mean(axis=0)
            number = sum(1 << bit for bit, level in enumerate(columns) if level > 128)
            shown[float(frame.pts * frame.time_base)] = number
    return shown


def beeps(path: Path) -> tuple[float, float]:
    """The seconds of the clip between which the beep is heard."""
    times: list[float] = []
    with av.open(str(path)) as container:
        for frame in container.decode(audio=0):
            samples = np.abs(frame.to_ndarray()[0])
            loud = np.flatnonzero(samples > 0.3)
            times += [float(frame.pts * frame.time_base) + at / SOUND for at in loud]
    return min(times), max(times)


def check(path: Path, clip: WrittenClip, first: int, last: int) -> None:
    shown = numbers(path)
    assert list(shown.values()) == list(range(first, last + 1))
    start = float(clip.start)
    for time, number in shown.items():
        assert start + time == pytest.approx(number / RATE, abs=0.002)
    assert float(clip.end) == pytest.approx((last + 1) / RATE, abs=0.002)
    if start <= BEEP[0] and clip.end >= BEEP[1]:
        begins, ends = beeps(path)
        assert start + begins == pytest.approx(BEEP[0], abs=0.02)
        assert start + ends == pytest.approx(BEEP[1], abs=0.02)


@pytest.mark.parametrize(
    ("name", "codec", "sound", "becomes"),
    [
        ("a.mp4", "libx264", "aac", "clip.mp4"),
        ("a.mkv", "libx264", "aac", "clip.mp4"),
        ("a.ts", "libx264", "aac", "clip.mp4"),
        ("a.webm", "libvpx", "libopus", "clip.webm"),
        ("a.avi", "mpeg4", "ac3", "clip.mp4"),
        ("b.mkv", "ffv1", "pcm_s16le", "clip.mkv"),
    ],
)
def test_a_copy_begins_with_the_keyframe_before_and_says_so(tmp_path, name, codec, sound, becomes):
    path = marked(tmp_path / name, codec, sound)
    clip = copy_stretch(path, Fraction("2.4"), Fraction("3.6"), tmp_path)
    assert clip.file == becomes
    first = round(clip.start * RATE)
    assert 60 - RATE < first <= 60
    assert float(clip.start) == pytest.approx(first / RATE, abs=0.002)
    if codec == "libx264":
        assert first == 50
    shown = numbers(tmp_path / clip.file)
    assert set(shown.values()) >= set(range(first, 90))
    assert max(shown.values()) <= 93, "those that others refer to come along"
    for time, number in shown.items():
        assert float(clip.start) + time == pytest.approx(number / RATE, abs=0.002)
    begins, ends = beeps(tmp_path / clip.file)
    assert float(clip.start) + begins == pytest.approx(BEEP[0], abs=0.03)
    assert float(clip.start) + ends == pytest.approx(BEEP[1], abs=0.03)


def test_what_is_encoded_anew_is_exact(video, tmp_path):
    clip = encode_stretch(video, Fraction("2.4"), Fraction("3.6"), tmp_path, crf=20)
    assert (clip.start, clip.end) == (Fraction("2.4"), Fraction("3.6"))
    check(tmp_path / clip.file, clip, 60, 89)


def test_the_whole_video_is_a_stretch_too(video, tmp_path):
    clip = copy_stretch(video, Fraction(0), Fraction("4.8"), tmp_path)
    check(tmp_path / clip.file, clip, 0, FRAMES - 1)
    clip = encode_stretch(video, Fraction(0), Fraction("4.8"), tmp_path, crf=20)
    check(tmp_path / clip.file, clip, 0, FRAMES - 1)


def test_the_same_stretch_has_the_same_bytes(video, tmp_path):
    def made(name: str) -> list[bytes]:
        folder = tmp_path / name
        folder.mkdir()
        copied = copy_stretch(video, Fraction(1), Fraction(2), folder)
        first = (folder / copied.file).read_bytes()
        encoded = encode_stretch(video, Fraction(1), Fraction(2), folder, crf=20)
        return [first, (folder / encoded.file).read_bytes()]

    assert made("one") == made("two")


def test_what_no_container_takes_is_not_copied(tmp_path):
    path = tmp_path / "clip.gif"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("gif", rate=10)
        stream.width, stream.height, stream.pix_fmt = 33, 17, "rgb8"
        for number in range(20):
            picture = np.full((17, 33, 3), 12 * number, np.uint8)
            frame = av.VideoFrame.from_ndarray(picture, "rgb24").reformat(format="rgb8")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with pytest.raises(NotCopyableError):
        copy_stretch(path, Fraction("0.5"), Fraction(1), tmp_path)
    clip = encode_stretch(path, Fraction("0.5"), Fraction(1), tmp_path, crf=20)
    with av.open(str(tmp_path / clip.file)) as container:
        shown = list(container.decode(video=0))
    assert len(shown) == 5
    assert (shown[0].width, shown[0].height) == (34, 18), "half of the colours: even sides"


def test_colours_stay_what_they_are(tmp_path):
    path = tmp_path / "red.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        picture = np.full((48, 64, 3), (200, 60, 30), np.uint8)
        for _ in range(10):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        container.mux(stream.encode())
    clip = encode_stretch(path, Fraction(0), Fraction(1), tmp_path, crf=12)
    with av.open(str(tmp_path / clip.file)) as container:
        shown = next(container.decode(video=0)).to_ndarray(format="rgb24")
    assert np.abs(shown.reshape(-1, 3).mean(axis=0) - (200, 60, 30)).max() < 6


def test_a_turned_video_stays_upright(data, tmp_path):
    path = data / "edge" / "decord_video_90.mov"
    copied = copy_stretch(path, Fraction(0), Fraction("0.1"), tmp_path)
    with av.open(str(tmp_path / copied.file)) as container:
        assert next(container.decode(video=0)).rotation == -90
    encoded = encode_stretch(path, Fraction(0), Fraction("0.1"), tmp_path, crf=20)
    with av.open(str(tmp_path / encoded.file)) as container:
        shown = next(container.decode(video=0))
    assert (shown.width, shown.height, shown.rotation) == (320, 568, 0)


def test_a_stretch_without_frames_is_told_of(video, tmp_path):
    with pytest.raises(Permanent, match="no frame of this stretch of marked") as failed:
        encode_stretch(video, Fraction(100), Fraction(101), tmp_path, crf=20)
    assert failed.value.kind == "damaged"


def test_a_full_disk_is_no_reason_to_encode(video, tmp_path, monkeypatch):
    def full(*_: Any, **__: Any) -> Any:
        raise av.error.OSError(errno.ENOSPC, "No space left on device", "clip.mp4")

    monkeypatch.setattr("stages.media.clips.copied.open_clip", full)
    with pytest.raises(OSError, match="No space left"):
        copy_stretch(video, Fraction(1), Fraction(2), tmp_path)
