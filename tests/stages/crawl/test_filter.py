"""The filter stage: what it keeps and writes, with the detector that ships and real clips."""

import errno
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from pydantic import ValidationError

from engine import Cancelled, ConfigError, Drop, Item, Permanent
from engine.contract.stage import Cancellation
from engine.ledger.outputs.folders import open_scratch
from stages.crawl.filter import Filter, in_order, link_or_copy
from stages.demo.shapes import IMAGE_SIZE, WEIGHTS, Shape, draw, texture
from tests.stages.attempts import attempting

MakeItem = Callable[..., Item]
Scene = tuple[Shape, ...]

STAR = Shape("star", "yellow", 150, 100, 60, 10)
CIRCLE = Shape("circle", "red", 450, 200, 90)
SMALL_SQUARE = Shape("square", "blue", 585, 315, 40, 20)

SCENES: list[Scene] = [
    (STAR,),
    (CIRCLE,),
    (),
    (STAR, CIRCLE),
    (SMALL_SQUARE,),
    (CIRCLE, SMALL_SQUARE),
    (STAR,),
]


@pytest.mark.parametrize(("device", "needs"), [("cpu", {}), ("cuda:1", {"cuda:1": 1})])
def test_it_needs_the_gpu_that_it_is_on(tmp_path: Path, device: str, needs: dict[str, int]) -> None:
    assert Filter(Filter.Settings(device=device), tmp_path).needs() == needs


def frames_of(scenes: list[Scene], **changes: Callable[[Any], Any]) -> Callable[[Path], None]:
    """Writes what the extract stage leaves: one frame a second, each showing one scene."""

    def write(folder: Path) -> None:
        (folder / "frames").mkdir()
        lines = []
        for second, shapes in enumerate(scenes):
            name = f"{second:010.3f}.jpg"
            picture = draw(texture(640, 360, seed=second), shapes)
            picture = changes.get(f"frame{second}", lambda same: same)(picture)
            picture.save(folder / "frames" / name, quality=90)
            line = {"file": name, "timestamp": second * 1.0, "width": 640, "height": 360}
            lines.append(json.dumps({**line, "keyframe": second == 0}) + "\n")
        (folder / "frames.jsonl").write_text("".join(lines))

    return write


Keep = Callable[[Filter.Settings], None]


@pytest.fixture(scope="module")
def keep(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keep]:
    """Keeps the model of these settings loaded until the last test here is over: to load one takes
    longer than to look at a few frames."""
    kept: dict[str, Filter] = {}
    one_at_a_time = threading.Lock()

    def keep_loaded(settings: Filter.Settings) -> None:
        with one_at_a_time:
            key = settings.model_dump_json()
            if key not in kept:
                stage = Filter(settings, tmp_path_factory.mktemp("kept"))
                stage.open()
                kept[key] = stage

    yield keep_loaded
    for stage in kept.values():
        stage.close()


@pytest.fixture
def run(tmp_path: Path, keep: Keep) -> Iterator[Callable[..., Path]]:
    """Runs the stage on an item with these settings; returns the folder it wrote into."""

    def run_stage(item: Item, **settings: Any) -> Path:
        settings = {"weights": str(WEIGHTS), "image_size": IMAGE_SIZE, **settings}
        keep(Filter.Settings(**settings))
        stage = Filter(Filter.Settings(**settings), workdir=tmp_path)
        out = open_scratch(item, "filter")
        stage.open()
        try:
            stage.process(item.with_inputs({"frames": "extract"}), out)
        finally:
            stage.close()
        return out

    return run_stage


def kept_lines(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "detections.jsonl").read_text().splitlines()]


def names(out: Path) -> list[str]:
    return sorted(path.name for path in (out / "frames").iterdir())


def test_frames_that_show_a_wanted_object_are_kept(make_item: MakeItem, run: Any) -> None:
    item = make_item("a video", extract=frames_of(SCENES))
    out = run(item, classes=("star",))
    stars = ["000000.000.jpg", "000003.000.jpg", "000006.000.jpg"]
    lines = kept_lines(out)
    assert names(out) == stars
    assert [line["file"] for line in lines] == stars
    assert list(lines[0]) == [
        *("file", "timestamp", "width", "height", "keyframe"),
        *("sharpness", "brightness", "detections"),
    ]
    assert lines[1]["timestamp"] == 3.0
    assert lines[1]["keyframe"] is False
    for line in lines:
        (detection,) = line["detections"]
        assert detection["class"] == "star"
        assert 0.35 < detection["confidence"] <= 1
        assert detection["box"] == pytest.approx(STAR.box(640, 360), abs=12)
    assert json.loads((out / "filter.json").read_text()) == {
        "frames_in": 7,
        "frames_kept": 3,
        "rejected": {"shows nothing wanted": 4},
        "weights": "shapes.pt",
        "classes": ["star"],
        "names": ["circle", "square", "star", "triangle"],
    }
    for name in stars:
        assert (out / "frames" / name).samefile(item.output("extract") / "frames" / name)


def test_without_classes_every_class_is_wanted(make_item: MakeItem, run: Any) -> None:
    out = run(make_item("a video", extract=frames_of(SCENES)), classes=())
    shown = [sorted(d["class"] for d in line["detections"]) for line in kept_lines(out)]
    assert shown == [sorted(shape.kind for shape in shapes) for shapes in SCENES if shapes]


def test_small_objects_do_not_count(make_item: MakeItem, run: Any) -> None:
    item = make_item("a video", extract=frames_of(SCENES))
    out = run(item, classes=("circle", "square"), min_area=0.05)
    assert names(out) == ["000001.000.jpg", "000003.000.jpg", "000005.000.jpg"]
    assert {d["class"] for line in kept_lines(out) for d in line["detections"]} == {"circle"}


def test_blurred_dark_and_bright_frames_are_rejected_unseen(make_item: MakeItem, run: Any) -> None:
    from PIL import ImageFilter

    item = make_item(
        "a video",
        extract=frames_of(
            [(STAR,)] * 4,
            frame1=lambda picture: picture.filter(ImageFilter.GaussianBlur(8)),
            frame2=lambda picture: picture.point(lambda value: value * 0.1),
            frame3=lambda picture: picture.point(lambda value: 255 - (255 - value) * 0.1),
        ),
    )
    everything = kept_lines(run(item, classes=(), keep_empty=True, confidence=0.01))
    quality = {line["file"]: line for line in everything}
    assert quality["000001.000.jpg"]["sharpness"] < quality["000000.000.jpg"]["sharpness"] / 5
    assert 220 < quality["000003.000.jpg"]["brightness"] <= 255

    floors = {"min_brightness": 30.0, "max_brightness": 220.0}
    sharp = quality["000000.000.jpg"]["sharpness"] / 2
    out = run(item, classes=("star",), min_sharpness=sharp, **floors)
    assert names(out) == ["000000.000.jpg"]
    rejected = json.loads((out / "filter.json").read_text())["rejected"]
    # A frame can be both dark and blurred, since darkening flattens it; blur is looked at first.
    assert sum(rejected.values()) == 3
    out = run(item, classes=("star",), **floors, keep_empty=True)
    rejected = json.loads((out / "filter.json").read_text())["rejected"]
    assert rejected["too dark"] == 1
    assert rejected["too bright"] == 1


def test_a_video_without_a_kept_frame_is_dropped(make_item: MakeItem, run: Any) -> None:
    item = make_item("a video", extract=frames_of([(STAR,), (CIRCLE,)]))
    with pytest.raises(Drop) as drop:
        run(item, classes=("triangle", "square"))
    assert drop.value.reason == "no frame of 2 shows triangle or square"
    assert drop.value.kind == "nothing_wanted"
    with pytest.raises(Drop, match=r"no frame of 2 shows triangle \(2 too dark\)"):
        run(item, classes=("triangle",), min_brightness=254.0)
    with pytest.raises(Drop, match="there is no frame to look at"):
        run(make_item("an empty one", extract=frames_of([])), classes=("star",))


def test_a_video_without_a_kept_frame_goes_on_if_so_set(make_item: MakeItem, run: Any) -> None:
    item = make_item("a video", extract=frames_of([(STAR,)]))
    out = run(item, classes=("triangle",), keep_empty=True)
    assert names(out) == []
    assert kept_lines(out) == []
    assert json.loads((out / "filter.json").read_text())["frames_kept"] == 0


def outputs(out: Path) -> list[bytes]:
    return [(out / name).read_bytes() for name in ("detections.jsonl", "filter.json")]


def test_the_output_is_the_same_whatever_the_threads_and_the_batch(
    make_item: MakeItem, run: Any
) -> None:
    item = make_item("a video", extract=frames_of(SCENES))
    first, *others = [
        run(item, classes=(), device="cpu", decode_threads=threads, inference_batch=batch)
        for threads, batch in ((1, 8), (4, 1), (2, 3))
    ]
    assert [outputs(out) for out in others] == [outputs(first)] * 2


def batch_telling_network(file: Path, batch: int | None = None) -> Path:
    """An ONNX network whose one sure box has as its confidence 0.4, and 0.1 for each image that is
    in its batch: what a kernel chosen by the batch does to the last bits, made large."""
    onnx = pytest.importorskip("onnx", reason="needs the package onnx")
    import numpy as np

    make, numbers = onnx.helper, onnx.numpy_helper.from_array
    boxes = np.zeros((1, 5, 16), np.float32)
    boxes[0, :, 0] = (100, 100, 50, 50, 0.4)
    share = np.zeros((1, 5, 16), np.float32)
    share[0, 4, 0] = 0.1
    nodes = [
        make.make_node("Shape", ["images"], ["count"], start=0, end=1),
        make.make_node("Cast", ["count"], ["number"], to=onnx.TensorProto.FLOAT),
        make.make_node("Mul", ["share", "number"], ["told"]),
        make.make_node("Add", ["boxes", "told"], ["one"]),
        make.make_node("Concat", ["count", "rest"], ["shape"], axis=0),
        make.make_node("Expand", ["one", "shape"], ["output0"]),
    ]
    sizes = [batch or "batch", 3, 224, 224], [batch or "batch", 5, 16]
    given, made = (
        make.make_tensor_value_info(name, onnx.TensorProto.FLOAT, size)
        for name, size in zip(("images", "output0"), sizes, strict=True)
    )
    constants = [
        numbers(boxes, "boxes"),
        numbers(share, "share"),
        numbers(np.array([5, 16], np.int64), "rest"),
    ]
    graph = make.make_graph(nodes, "batch", [given], [made], constants)
    opset = [make.make_opsetid("", 17)]
    onnx.save(make.make_model(graph, opset_imports=opset, ir_version=9), str(file))
    return file


@pytest.mark.parametrize(("fixed", "confidence"), [(None, 0.5), (3, 0.7)])
def test_no_batch_depends_on_settings_cores_or_what_else_is_at_work(
    make_item: MakeItem,
    run: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    fixed: int | None,
    confidence: float,
) -> None:
    """Kernels round by the batch. So each frame goes alone, or in the graph's own fixed batch."""
    weights = batch_telling_network(tmp_path / "telling.onnx", fixed)
    items = [
        make_item(f"video {number}", extract=frames_of(SCENES[:number])) for number in (1, 4, 7)
    ]
    found = []
    for cores, batch in ((1, 1), (2, 8), (3, 5)):
        monkeypatch.setattr("stages.models.inference.available_cores", lambda cores=cores: cores)
        settings = {"weights": str(weights), "classes": (), "inference_batch": batch}

        def detect(item: Item, settings: dict[str, Any] = settings) -> Path:
            return run(item, device="cpu", confidence=0.1, **settings)

        with ThreadPoolExecutor(2) as workers:
            found.append([outputs(out) for out in workers.map(detect, items)])
        for item in items:
            for line in kept_lines(detect(item)):
                assert [seen["confidence"] for seen in line["detections"]] == [confidence]
    assert found[1:] == found[:1] * 2


def test_workers_with_a_video_each_find_what_one_finds(make_item: MakeItem, run: Any) -> None:
    items = [
        make_item(f"video {number}", extract=frames_of(SCENES[number:])) for number in range(4)
    ]
    one_by_one = [run(item, classes=()) for item in items]
    expected = [(out / "detections.jsonl").read_bytes() for out in one_by_one]
    with ThreadPoolExecutor(2) as workers:
        outs = list(workers.map(lambda item: run(item, classes=()), items))
    assert [(out / "detections.jsonl").read_bytes() for out in outs] == expected


def test_things_come_back_in_order_and_so_many_are_started_ahead() -> None:
    started: list[int] = []
    futures: dict[int, Future[int]] = {}

    def start(number: int) -> Future[int]:
        started.append(number)
        futures[number] = Future()
        if number < 3:
            futures[number].set_result(-number)
        return futures[number]

    outcomes = in_order(start, range(9), 2)
    assert next(outcomes) == (0, 0)
    assert started == [0, 1, 2]
    assert next(outcomes) == (1, -1)
    assert next(outcomes) == (2, -2)
    assert started == [0, 1, 2, 3, 4]
    futures[3].set_exception(ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        next(outcomes)
    assert futures[4].cancelled()
    assert started == [0, 1, 2, 3, 4, 5]
    assert futures[5].cancelled()


def test_an_attempt_that_was_given_up_stops_between_batches(make_item: MakeItem, run: Any) -> None:
    item = make_item("a video", extract=frames_of(SCENES))
    attempt = Cancellation()
    attempt.requested = True
    with attempting(attempt), pytest.raises(Cancelled):
        run(item, classes=("star",))


@pytest.mark.parametrize("content", [b"not an image", b"", None])
def test_a_frame_that_is_no_image_fails_the_item(
    make_item: MakeItem, run: Any, content: bytes | None
) -> None:
    def write(folder: Path) -> None:
        frames_of(SCENES)(folder)
        frame = folder / "frames" / "000002.000.jpg"
        frame.unlink()
        if content is not None:
            frame.write_bytes(content)

    with pytest.raises(Permanent, match=r"000002\.000\.jpg cannot be read as an image") as error:
        run(make_item("a video", extract=write), classes=("star",))
    assert error.value.kind == "unreadable_frame"


def test_where_links_are_impossible_frames_are_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    source = tmp_path / "a.jpg"
    source.write_bytes(b"pixels")
    monkeypatch.setattr(os, "link", refuse)
    link_or_copy(source, tmp_path / "b.jpg")
    assert (tmp_path / "b.jpg").read_bytes() == b"pixels"
    assert not (tmp_path / "b.jpg").samefile(source)
    with pytest.raises(FileNotFoundError):
        link_or_copy(tmp_path / "missing.jpg", tmp_path / "c.jpg")


def test_an_unknown_class_stops_the_stage_before_any_item(make_item: MakeItem, run: Any) -> None:
    with pytest.raises(ConfigError, match=r"stages\.filter\.classes: .*has no class 'sta'"):
        run(make_item("a video", extract=frames_of(SCENES)), classes=("sta",))


@pytest.mark.parametrize(
    "settings",
    [
        {"confidence": 1.5},
        {"min_area": -0.1},
        {"device": "gpu"},
        {"classes": [""]},
        {"inference_batch": 0},
        {"min_brightness": 200, "max_brightness": 100},
        {"min_sharpnes": 3},
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Filter.Settings(**settings)


def test_importing_the_stage_imports_nothing_heavy() -> None:
    code = (
        "import sys, stages.crawl.filter; print(*sorted(m.partition('.')[0] for m in sys.modules))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "stages" in ran.stdout.split()
    assert not {"torch", "ultralytics", "numpy", "cv2", "PIL", "httpx"} & set(ran.stdout.split())


def sampled(video: Path, every: float, most: int) -> Callable[[Path], None]:
    """Frames of a real video, one each `every` seconds, as the extract stage would leave them."""

    def write(folder: Path) -> None:
        (folder / "frames").mkdir()
        lines: list[str] = []
        for time, picture in pictures_of(video, every, most):
            name = f"{time:010.3f}.jpg"
            picture.save(folder / "frames" / name)
            size = {"width": picture.width, "height": picture.height}
            line = {"file": name, "timestamp": round(time, 6), **size, "keyframe": False}
            lines.append(json.dumps(line) + "\n")
        (folder / "frames.jsonl").write_text("".join(lines))

    return write


@cache
def pictures_of(video: Path, every: float, most: int) -> Sequence[tuple[float, Image.Image]]:
    """When it is shown, in seconds, and the frame, 640 pixels wide."""
    import av

    found: list[tuple[float, Image.Image]] = []
    with av.open(str(video)) as container:
        for frame in container.decode(video=0):
            if len(found) == most:
                break
            if frame.time >= len(found) * every:
                size = (640, round(640 * frame.height / frame.width))
                found.append((frame.time, frame.to_image().resize(size)))
    return found


@pytest.mark.parametrize(
    "model",
    [
        "yolov8n_int8_lamri.onnx",
        pytest.param("yolo11n_int8_droneeye.onnx", marks=pytest.mark.slow),
    ],
)
def test_people_and_bottles_in_real_clips(
    data: Path, make_item: MakeItem, run: Any, model: str
) -> None:
    weights = str(data / "models" / model)
    people = data / "video" / "intel_one-by-one-person-detection.mp4"
    out = run(make_item("people", extract=sampled(people, 2, 10)), weights=weights)
    summary = json.loads((out / "filter.json").read_text())
    assert summary["frames_in"] == 10
    assert 3 <= summary["frames_kept"] <= 9
    for line in kept_lines(out):
        for detection in line["detections"]:
            x1, y1, x2, y2 = detection["box"]
            assert 0 <= x1 < x2 <= 640
            assert 0 <= y1 < y2 <= 360

    belt = data / "video" / "intel_bottle-detection.mp4"
    item = make_item("bottles", extract=sampled(belt, 4, 8))
    out = run(item, weights=weights, classes=("bottle",))
    assert len(kept_lines(out)) == 8
    for line in kept_lines(out):
        x1, y1, x2, y2 = line["detections"][0]["box"]
        assert 1.5 < (y2 - y1) / (x2 - x1) < 5
    with pytest.raises(Drop, match="no frame of 8 shows elephant or zebra"):
        run(item, weights=weights, classes=("elephant", "zebra"))
