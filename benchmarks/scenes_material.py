"""What the benchmarks of scenes work on: a film with cuts at known seconds, spoken through."""

import os
from collections.abc import Iterator
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import av
import numpy as np

from benchmarks.crawl_material import KEPT
from stages.sound.track import RATE
from stages.speech.spans import SampleSpan, padded
from stages.speech.vad import SpeechDetector

Samples = np.ndarray[Any, np.dtype[np.int16]]
Picture = np.ndarray[Any, np.dtype[np.uint8]]

_AROUND = RATE // 5
"""Samples of silence kept before and after speech: no pause is as long as one that is left out."""


def recording(name: str) -> Samples:
    """A recording of the package moonshine-voice, at RATE. Ends the benchmark where it is not."""
    package = find_spec("moonshine_voice")
    folders = package.submodule_search_locations if package is not None else None
    if not folders:
        raise SystemExit("the recordings are in the package moonshine-voice: pip install it")
    return load_sound(Path(folders[0]) / "assets" / f"{name}.wav")


def load_sound(path: Path) -> Samples:
    """The sound of a file, at RATE, one channel."""
    with av.open(str(path)) as container:
        resampler = av.AudioResampler("s16", "mono", RATE)
        frames = [*container.decode(audio=0), None]
        found = [one.to_ndarray()[0] for frame in frames for one in resampler.resample(frame)]
    return np.concatenate(found)


def spoken(samples: Samples) -> Samples:
    """The recording without its longer pauses."""
    found = SpeechDetector(0.35).find(samples)
    kept: list[SampleSpan] = padded(found, _AROUND, len(samples))
    return np.concatenate([samples[one.start : one.end] for one in kept])


def film(seconds: float, scenes: int, rate: int, size: tuple[int, int] = (96, 54)) -> Path:
    """A film of so many scenes of one length, with somebody speaking all the time; made once and
    kept. `rate`: frames a second."""
    name = f"film-{seconds:g}s-{scenes}-scenes-{rate}-{size[0]}x{size[1]}.mp4"
    target = KEPT / name
    if not target.exists():
        KEPT.mkdir(parents=True, exist_ok=True)
        # Not until it is whole has it the name under which it is found again.
        making = KEPT / f"making-{os.getpid()}-{name}"
        _write(making, seconds, scenes, rate, size)
        making.rename(target)
    return target


def _write(path: Path, seconds: float, scenes: int, rate: int, size: tuple[int, int]) -> None:
    voice = spoken(recording("two_cities"))
    with av.open(str(path), "w") as made:
        video: Any = made.add_stream("libx264", rate=rate, options={"preset": "ultrafast"})
        video.width, video.height, video.pix_fmt = *size, "yuv420p"
        video.gop_size = 12
        sound: Any = made.add_stream("aac", rate=RATE, layout="mono")
        frames = round(seconds * rate)
        said = 0
        for number, picture in enumerate(_pictures(frames, scenes, size)):
            made.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            until = (number + 1) * RATE // rate
            made.mux(sound.encode(_heard(voice, said, until)))
            said = until
        made.mux(video.encode())
        made.mux(sound.encode())


def _pictures(frames: int, scenes: int, size: tuple[int, int]) -> Iterator[Picture]:
    """Each scene is a pattern of its own, over which the camera pans."""
    width, height = size
    shown = -1
    picture = np.zeros((height, width, 3), np.uint8)
    for number in range(frames):
        scene = number * scenes // frames
        if scene != shown:
            shown, picture = scene, _pattern(scene, width, height)
        yield np.ascontiguousarray(np.roll(picture, number // 4, axis=1))


def _pattern(seed: int, width: int, height: int) -> Picture:
    chance = np.random.default_rng(seed)
    coarse = chance.integers(0, 256, (1 + height // 18, 1 + width // 18, 3), np.uint8)
    return coarse.repeat(18, axis=0).repeat(18, axis=1)[:height, :width]


def _heard(voice: Samples, begin: int, end: int) -> av.AudioFrame:
    samples = np.take(voice, np.arange(begin, end), mode="wrap")
    wave = samples.astype(np.float32).reshape(1, -1) / 32768
    frame = av.AudioFrame.from_ndarray(wave, format="fltp", layout="mono")
    frame.sample_rate, frame.pts, frame.time_base = RATE, begin, Fraction(1, RATE)
    return frame
