"""Frames per second of the filter stage, beside ultralytics' predict on the same files.

    python -m benchmarks.filter_speed                             # yolo11n made here, on the CPU
    python -m benchmarks.filter_speed --device cuda --half        # on a GPU, with the batch swept
    python -m benchmarks.filter_speed --weights mine.pt --confidence 0.35

JPEG files go in and detections come out. The stage reads, measures, detects, links what it keeps
and writes its outputs; predict is given the folder of the same files, the same weights, the same
thresholds and the same batch. Of the stage it is also said what share of its time the model was
busy: the seconds inside calls of the network and its suppression, over the wall time times the
inferences that may run at once. The limit is the network alone, on tensors that are where it
computes, as many inferences at once as the stage runs.

Without --weights the network is YOLO11n with random weights from a fixed seed: what a frame costs
is the real one's, and the confidence is set so that some ten objects a frame are found.
"""

import json
import os
import shutil
import sqlite3
import tempfile
import warnings
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from benchmarks.harness import Contestant, Figures, finish, parse, parser, ratios, take_turns, timed
from benchmarks.machine import cores
from benchmarks.results import Result, Row, Table, Target
from engine import SOURCE, Item, Pipeline, Stage, Step
from engine.config import load_config
from engine.intervals import interval
from engine.item import commit_output, open_scratch
from engine.run import run_pipeline
from stages.demo.shapes import random_scene
from stages.detector import Detector
from stages.filter import Filter
from stages.network_input import as_input
from stages.yolo import find_weights, import_torchvision, import_ultralytics

WIDTH, HEIGHT = 640, 360
NETWORK_SHAPE = (640, 384)
SHORT = 15
"""Frames of a short video."""
WORKERS = 2
"""Of the filter, which is Penstock's default."""

FPS, PROCESSOR, BUSY = "frames/s", "CPU s a frame", "model busy, share"


@dataclass(frozen=True, slots=True)
class Case:
    """What all contestants are given."""

    folder: Path
    frames: int
    image_size: int
    confidence: float
    device: str
    half: bool

    @property
    def files(self) -> Path:
        return Item.at(self.folder, "long").output("extract") / "frames"

    def settings(self, weights: Path, batch: int) -> Filter.Settings:
        return Filter.Settings(
            weights=str(weights),
            classes=(),
            confidence=self.confidence,
            image_size=self.image_size,
            inference_batch=batch,
            device=self.device,
            half=self.half,
            decode_threads=max(2, (os.cpu_count() or 2) - 2) if self.device != "cpu" else 2,
            keep_empty=True,
        )


def write_frames(folder: Path, count: int) -> None:
    """What the extract stage leaves: `count` JPEGs of synthetic scenes, and their list."""
    (folder / "frames").mkdir()
    with (folder / "frames.jsonl").open("w") as lines:
        for second in range(count):
            name = f"{second:010.3f}.jpg"
            random_scene(second, WIDTH, HEIGHT)[0].save(folder / "frames" / name, quality=90)
            line = {"file": name, "timestamp": float(second), "width": WIDTH, "height": HEIGHT}
            lines.write(json.dumps({**line, "keyframe": True}) + "\n")


def random_network(file: Path, frames: Path) -> None:
    """YOLO11n with random weights, normalised on these frames so that what it sees matters to it.

    As they are drawn, the weights let the signal fade to nothing and every place looks alike.
    """
    import cv2
    import torch

    torch.manual_seed(0)
    made = import_ultralytics().YOLO("yolo11n.yaml", verbose=False)
    images = [cv2.imread(str(path)) for path in sorted(frames.iterdir())[:8]]
    planes = [torch.from_numpy(cv2.resize(image, NETWORK_SHAPE)) for image in images]
    batch = torch.stack(planes).permute(0, 3, 1, 2).flip(1).float() / 255
    for module in made.model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None
    with torch.no_grad():
        made.model.train()(batch)
    made.model.eval()
    made.save(file)


def usual_confidence(weights: Path, frames: Path) -> float:
    """The threshold over which the network has ten boxes a frame to consider."""
    import cv2
    import torch

    detector = Detector(weights, device="cpu")
    images = [cv2.imread(str(path)) for path in sorted(frames.iterdir())[:8]]
    pixels = torch.stack([detector.prepare(image).pixels for image in images])
    with torch.inference_mode():
        output = detector.model(pixels)
    detector.close()
    output = output[0] if isinstance(output, list | tuple) else output
    surest = output[:, 4:].amax(1).flatten().sort(descending=True).values
    return float(surest[10 * len(images)])


def export(weights: Path, form: str) -> Path:
    """The weights in another format, for inputs of any size, made beside them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = import_ultralytics().YOLO(str(weights))
        return Path(made.export(format=form, dynamic=True, verbose=False))


def rated(frames: int, turn: Contestant) -> Contestant:
    """The same turn, in frames a second and processor time a frame."""

    def rate() -> Figures:
        figures = turn()
        return {
            FPS: frames / figures["wall s"],
            PROCESSOR: figures["CPU s"] / frames,
            **{name: value for name, value in figures.items() if name == BUSY},
        }

    return rate


def penstock(case: Case, weights: Path, batch: int, closing: ExitStack) -> Contestant:
    """The stage over the long video."""
    stage = Filter(case.settings(weights, batch), case.folder)
    stage.open()
    closing.callback(stage.close)
    item = Item.at(case.folder, "long")

    def work() -> None:
        out = open_scratch(item, "filter")
        stage.process(item, out)
        shutil.rmtree(out)

    turn = timed(work)

    def measured() -> Figures:
        before = stage.detector.busy
        figures = turn()
        busy = (stage.detector.busy - before) / stage.detector.streams
        return {**figures, BUSY: busy / figures["wall s"]}

    return rated(case.frames, measured)


def predict(case: Case, weights: Path, batch: int, threads: int = 1) -> Contestant:
    """ultralytics' predict over the folder; by itself it gives torch one thread."""
    import torch

    model = import_ultralytics().YOLO(str(weights), task="detect")
    import_torchvision()
    settings = case.settings(weights, batch)

    def work() -> None:
        torch.set_num_threads(threads)
        results = model.predict(
            case.files,
            stream=True,
            batch=batch,
            conf=settings.confidence,
            iou=settings.iou,
            imgsz=settings.image_size,
            device=None if case.device == "auto" else case.device,
            quantize=16 if case.half else None,
            verbose=False,
        )
        assert sum(1 for _ in results) == case.frames

    return rated(case.frames, timed(work))


def network(case: Case, weights: Path, batch: int, closing: ExitStack) -> Contestant:
    """The network alone, over and over on one batch of tensors that are where it computes."""
    import cv2
    import torch

    settings = case.settings(weights, batch)
    detector = Detector(
        weights,
        confidence=settings.confidence,
        image_size=settings.image_size,
        batch=batch,
        device=settings.device,
        half=settings.half,
    )
    closing.callback(detector.close)
    images = [cv2.imread(str(path)) for path in sorted(case.files.iterdir())[: detector.batch]]
    pixels = [detector.prepare(image).pixels for image in images]
    ready = as_input(pixels, detector.model)
    times = -(-case.frames // len(images))

    def work() -> None:
        for inference in [detector.run(lambda model: model(ready)) for _ in range(times)]:
            inference.result()
        if ready.device.type == "cuda":
            torch.cuda.synchronize()

    return rated(times * len(images), timed(work))


class Extract(Stage):
    """Stands in for the stage before: every video has the same few frames."""

    def process(self, item: Item, out: Path) -> None:
        """Links what `main` has drawn."""
        shutil.copytree(
            self.workdir.parent / "short", out, copy_function=os.link, dirs_exist_ok=True
        )


def crawl(case: Case, weights: Path, batch: int, videos: int, workers: int) -> Contestant:
    """A run of the engine over short videos, timed while the filter has work."""
    pipeline = Pipeline("short", "Short videos.", [Step(Extract, SOURCE), Step(Filter, "extract")])
    settings = case.settings(weights, batch).model_dump(mode="json", exclude_none=True)
    chosen = [f"stages.filter.{name}={json.dumps(value)}" for name, value in settings.items()]
    chosen += [f"stages.filter.workers={workers}", "stages.filter.queue=32", "limits.free_disk=0"]
    config = load_config(pipeline, None, {}, chosen, {})

    def turn() -> Figures:
        with tempfile.TemporaryDirectory(dir=case.folder) as folder:
            sources = (f"video {number}" for number in range(videos))
            report = run_pipeline(pipeline, config, Path(folder), sources)
            assert report.items["done"] == videos
            return {FPS: videos * SHORT / filter_seconds(Path(folder))}

    return turn


def filter_seconds(workdir: Path) -> float:
    """From the first attempt of the filter to the end of its last: without loading the model."""
    with closing(sqlite3.connect(workdir / "penstock.db")) as ledger:
        first, last = ledger.execute(
            "SELECT min(started), max(ended) FROM attempts WHERE stage = 'filter'"
        ).fetchone()
    return float(last - first)


def compared(title: str, taken: Mapping[str, Sequence[Figures]], own: Sequence[str]) -> Table:
    """The medians, and against each other how much faster the first of `own` of its format is."""
    rows = []
    for name, turns in taken.items():
        figures = {key: interval([turn[key] for turn in turns]) for key in turns[0]}
        form = name.rpartition(", ")[2]
        mine = next(one for one in own if one.endswith(form))
        if name != mine:
            figures["Penstock's frames/s, ratio"] = ratios(taken[mine], turns, FPS)
        rows.append(Row(name, figures))
    return Table(title, rows)


def over_torch(taken: Mapping[str, Sequence[Figures]], form: str) -> Table:
    """How much faster each contestant is with weights in this format than with torch's.

    The network's own ratio is the limit of what the stage can gain: reading, measuring and writing
    frames costs the same with either.
    """
    names = ("Penstock", "predict", "the network alone")
    rows = [
        Row(
            name,
            {
                f"frames/s, {form} over torch": ratios(
                    taken[f"{name}, {form}"], taken[f"{name}, torch"], FPS
                )
            },
        )
        for name in names
    ]
    return Table("What the format gains on the CPU", rows)


def on_cpu(case: Case, torch_weights: Path, arguments: Namespace) -> Result:
    """torch, ONNX Runtime and OpenVINO side by side; then short videos."""
    batch, notes = arguments.batch, []
    weights = {"torch": torch_weights}
    for form, package in (("onnx", "onnx"), ("openvino", "openvino")):
        if torch_weights.suffix != ".pt" or find_spec(package) is None:
            notes.append(f"without {form}: it needs .pt weights and the package {package}")
        else:
            weights[form] = export(torch_weights, form)

    contestants: dict[str, Contestant] = {}
    with ExitStack() as closing_time:
        for form, path in weights.items():
            contestants[f"Penstock, {form}"] = penstock(case, path, batch, closing_time)
            contestants[f"predict, {form}"] = predict(case, path, batch)
            if form == "torch" and cores() > 1:
                contestants["predict on all cores, torch"] = predict(case, path, batch, cores())
            contestants[f"the network alone, {form}"] = network(case, path, batch, closing_time)
        taken = take_turns(contestants, arguments.rounds)
    own = [f"Penstock, {form}" for form in weights]
    tables = [compared("One long video on the CPU", taken, own)]
    if "openvino" in weights:
        tables.append(over_torch(taken, "openvino"))
    targets = [
        Target(
            "frames/s of the stage over predict's, torch",
            ratios(taken["Penstock, torch"], taken["predict, torch"], FPS),
            1.3,
            at_least=True,
        ),
        Target(
            "share of the stage's time that the model is busy, torch",
            interval([turn[BUSY] for turn in taken["Penstock, torch"]]),
            0.95,
            at_least=True,
        ),
    ]
    if "openvino" in weights:
        ratio = ratios(taken["Penstock, openvino"], taken["Penstock, torch"], FPS)
        targets.append(
            Target("frames/s of the stage, OpenVINO over torch", ratio, 3, at_least=True)
        )

    form = "openvino" if "openvino" in weights else "torch"
    videos = 4 if arguments.quick else 20
    with ExitStack() as closing_time:
        short = {
            f"Penstock, {form}": crawl(case, weights[form], batch, videos, WORKERS),
            f"one worker, {form}": crawl(case, weights[form], batch, videos, 1),
            f"the network alone, {form}": network(case, weights[form], batch, closing_time),
        }
        taken = take_turns(short, arguments.rounds)
    shorts = {name: [{FPS: turn[FPS]} for turn in turns] for name, turns in taken.items()}
    tables.append(compared(f"{videos} videos of {SHORT} frames", shorts, [f"Penstock, {form}"]))
    return result(case, tables, targets, arguments, notes)


def on_gpu(case: Case, weights: Path, arguments: Namespace) -> Result:
    """The batch swept; the network's own rate is the limit."""
    import torch

    tables, targets = [], []
    for batch in (16, 32) if arguments.quick else (8, 16, 32, 64, 128):
        with ExitStack() as closing_time:
            contestants = {
                f"Penstock, batch {batch}": penstock(case, weights, batch, closing_time),
                f"predict, batch {batch}": predict(case, weights, batch),
                f"the network alone, batch {batch}": network(case, weights, batch, closing_time),
            }
            taken = take_turns(contestants, arguments.rounds)
        own, _, alone = contestants
        tables.append(compared(f"Batches of {batch}", taken, [own]))
        ratio = ratios(taken[own], taken[alone], FPS)
        targets.append(
            Target(f"share of the network's own rate, batch {batch}", ratio, 0.9, at_least=True)
        )
    name = torch.cuda.get_device_name(case.device if ":" in case.device else 0)
    return result(case, tables, targets, arguments, [f"on {name}"])


def result(
    case: Case,
    tables: Sequence[Table],
    targets: Sequence[Target],
    arguments: Namespace,
    notes: Sequence[str],
) -> Result:
    what = arguments.weights or "YOLO11n with random weights"
    frames = f"{case.frames} JPEGs of {WIDTH} by {HEIGHT} pixels"
    return Result(
        name="filter_speed_gpu" if case.device != "cpu" else "filter_speed",
        title=f"The filter stage and ultralytics' predict on {frames}",
        tables=tables,
        targets=targets,
        rounds=arguments.rounds,
        quick=arguments.quick,
        notes=[
            f"{what} at {case.image_size} pixels, confidence {case.confidence:.2g}"
            + (", half precision" if case.half else ""),
            *notes,
        ],
    )


def command_line() -> ArgumentParser:
    made = parser(__doc__, rounds=5)
    made.add_argument("--weights", help="a .pt file; without, YOLO11n made here")
    made.add_argument("--confidence", type=float, help="default: ten boxes a frame are looked at")
    made.add_argument("--image-size", type=int, default=640)
    made.add_argument("--batch", type=int, default=8, help="frames per inference, on a CPU")
    made.add_argument("--frames", type=int, help="of the long video (256; on a GPU 4096)")
    made.add_argument("--device", default="cpu", help='as in stages.filter.device: "cpu", "cuda"')
    made.add_argument("--half", action="store_true", help="half precision, on a GPU")
    return made


def main() -> None:
    arguments = parse(command_line())
    on_a_cpu = arguments.device == "cpu"
    usual = 256 if on_a_cpu else 4096
    frames = arguments.frames or (usual // 4 if arguments.quick else usual)
    with tempfile.TemporaryDirectory(prefix="penstock-filter-speed-") as folder:
        place = Path(folder)
        item = Item.at(place, "long")
        scratch = open_scratch(item, "extract")
        write_frames(scratch, frames)
        commit_output(item, "extract", scratch, "benchmark")
        (place / "short").mkdir()
        write_frames(place / "short", SHORT)
        drawn = item.output("extract") / "frames"
        weights = place / "yolo11n.pt"
        if arguments.weights:
            weights = Path(shutil.copy(find_weights(arguments.weights), place))
        else:
            random_network(weights, drawn)
        confidence = arguments.confidence or usual_confidence(weights, drawn)
        case = Case(
            place, frames, arguments.image_size, confidence, arguments.device, arguments.half
        )
        measure = on_cpu if on_a_cpu else on_gpu
        found = measure(case, weights, arguments)
    finish(found, arguments)


if __name__ == "__main__":
    main()
