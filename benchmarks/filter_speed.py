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
What runtimes find, against each other, is in benchmarks/filter_agreement.py.
"""

import os
import shutil
import tempfile
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from benchmarks.filter_contestants import (
    BUSY,
    FPS,
    SHORT,
    Case,
    crawl,
    network,
    penstock,
    predict,
)
from benchmarks.filter_material import (
    HEIGHT,
    WIDTH,
    random_network,
    usual_confidence,
    write_frames,
)
from benchmarks.harness import Contestant, Figures, finish, parse, parser, ratios, take_turns
from benchmarks.results import Measurement, Row, Table, Target
from engine import Item, available_cores
from engine.bench.intervals import interval
from engine.ledger.outputs.folders import commit_output, open_scratch
from stages.models.content import content_hash
from stages.models.exports import exported
from stages.models.runtimes import is_installed
from stages.models.yolo import find_weights

WORKERS = 2
"""Of the filter, which is Penstock's default."""


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
    return Table(f"What {form} gains on the CPU", rows)


def on_cpu(case: Case, torch_weights: Path, arguments: Namespace) -> Measurement:
    """torch, ONNX Runtime and OpenVINO side by side; then short videos."""
    batch, notes = arguments.batch, []
    weights: dict[str, Path | None] = {"torch": None}
    for form in ("onnx", "openvino"):
        if torch_weights.suffix != ".pt" or not is_installed(form):
            notes.append(f"without {form}: it needs .pt weights and the package {form}")
        else:
            content = content_hash(torch_weights)
            weights[form] = exported(torch_weights, content, form, case.image_size)

    contestants: dict[str, Contestant] = {}
    with ExitStack() as closing_time:
        for form, path in weights.items():
            contestants[f"Penstock, {form}"] = penstock(
                case, torch_weights, batch, closing_time, form
            )
            contestants[f"predict, {form}"] = predict(case, path or torch_weights, batch)
            if form == "torch" and available_cores() > 1:
                contestants["predict on all cores, torch"] = predict(
                    case, torch_weights, batch, available_cores()
                )
            contestants[f"the network alone, {form}"] = network(
                case, torch_weights, batch, closing_time, path
            )
        taken = take_turns(contestants, arguments.rounds)
    own = [f"Penstock, {form}" for form in weights]
    tables = [compared("One long video on the CPU", taken, own)]
    tables += [over_torch(taken, form) for form in weights if form != "torch"]
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
            f"Penstock, {form}": crawl(case, torch_weights, batch, videos, WORKERS, form),
            f"one worker, {form}": crawl(case, torch_weights, batch, videos, 1, form),
            f"the network alone, {form}": network(
                case, torch_weights, batch, closing_time, weights[form]
            ),
        }
        taken = take_turns(short, arguments.rounds)
    shorts = {name: [{FPS: turn[FPS]} for turn in turns] for name, turns in taken.items()}
    tables.append(compared(f"{videos} videos of {SHORT} frames", shorts, [f"Penstock, {form}"]))
    return result(case, tables, targets, arguments, notes)


def on_gpu(case: Case, weights: Path, arguments: Namespace) -> Measurement:
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
) -> Measurement:
    what = arguments.weights or "YOLO11n with random weights"
    frames = f"{case.frames} JPEGs of {WIDTH} by {HEIGHT} pixels"
    return Measurement(
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
        os.environ["XDG_CACHE_HOME"] = str(place / "cache")  # for the exports
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
