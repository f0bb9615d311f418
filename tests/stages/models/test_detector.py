"""The detector on real weights: every format it loads, and what it says when it cannot."""

import gc
import io
import itertools
import os
import pickle
import shutil
import socket
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, UnidentifiedImageError

from engine import ConfigError, UsageError
from stages.demo.shapes import IMAGE_SIZE, KINDS, WEIGHTS, Shape, random_scene
from stages.models import yolo
from stages.models.detector import Detection, Detector, predict_in_batches
from stages.models.inference import Streams
from stages.models.loading import choose_device, gpu_of, uncollected
from stages.models.network_input import batches_of
from stages.models.yolo import cache_folder, find_weights, import_torchvision, import_ultralytics
from tests.stages.real_frames import frames_of

SIZE = (640, 360)
SCENES = range(500, 532)
REPOSITORY = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def detector() -> Detector:
    return Detector(WEIGHTS, image_size=IMAGE_SIZE, confidence=0.4, device="cpu")


@pytest.fixture(scope="module")
def scenes() -> list[tuple[np.ndarray, tuple[Shape, ...]]]:
    return [(bgr(picture), shapes) for picture, shapes in (random_scene(s, *SIZE) for s in SCENES)]


def bgr(picture: Any) -> np.ndarray:
    return np.asarray(picture)[:, :, ::-1].copy()


def overlap(a: Sequence[float], b: Sequence[float]) -> float:
    """Intersection over union of two boxes."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    common = max(width, 0) * max(height, 0)
    area = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (a, b))
    return common / (area - common)


def right(detection: Detection, shapes: Sequence[Shape]) -> bool:
    """Whether the detection is one of the shapes: the same kind, more or less the same box."""
    return any(
        shape.kind == detection.name and overlap(shape.box(*SIZE), detection.box) > 0.7
        for shape in shapes
    )


def assert_alike(found: list[list[Detection]], expected: list[list[Detection]]) -> None:
    """The same objects, but for the rounding of another runtime or another padding."""
    for some, others in zip(found, expected, strict=True):
        assert sorted(d.name for d in some) == sorted(d.name for d in others)
        for detection in some:
            assert any(
                detection.name == other.name
                and overlap(detection.box, other.box) > 0.9
                and abs(detection.confidence - other.confidence) < 0.1
                for other in others
            )


def test_it_finds_the_shapes_where_they_are(
    detector: Detector, scenes: list[tuple[np.ndarray, tuple[Shape, ...]]]
) -> None:
    assert tuple(detector.names.values()) == KINDS
    found = detector.detect([image for image, _ in scenes])
    pairs = list(zip(found, (shapes for _, shapes in scenes), strict=True))
    detections = [right(detection, shapes) for many, shapes in pairs for detection in many]
    assert sum(detections) / len(detections) > 0.95
    assert sum(detections) / sum(len(shapes) for _, shapes in pairs) > 0.95
    for many in found:
        assert [d.confidence for d in many] == sorted((d.confidence for d in many), reverse=True)
        assert all(d.confidence > 0.4 for d in many)
        assert all(
            0 <= d.box[0] < d.box[2] <= 640 and 0 <= d.box[1] < d.box[3] <= 360 for d in many
        )


def test_it_finds_the_same_again_and_alone(
    detector: Detector, scenes: list[tuple[np.ndarray, tuple[Shape, ...]]]
) -> None:
    images = [image for image, _ in scenes[:10]]
    together = detector.detect(images)
    assert detector.detect(images) == together
    if detector.batch == 1:  # on a CPU
        assert [detector.detect([image])[0] for image in images] == together
    assert_alike([detector.detect([image])[0] for image in images], together)
    assert detector.detect([]) == []


@pytest.mark.parametrize("form", ["pt", "onnx", pytest.param("openvino", marks=pytest.mark.slow)])
def test_on_a_cpu_neither_batch_nor_cores_nor_load_change_a_bit(
    exported: Callable[..., Path],
    scenes: list[tuple[np.ndarray, tuple[Shape, ...]]],
    monkeypatch: pytest.MonkeyPatch,
    form: str,
) -> None:
    weights = WEIGHTS if form == "pt" else exported(form, True)
    # Of another shape in between, and small: there the kernels for a batch differ on any processor.
    images = [image if at % 5 else image[:, :200].copy() for at, (image, _) in enumerate(scenes)]
    found = []
    for cores, batch in ((1, 8), (2, 1), (5, 3)):
        monkeypatch.setattr("stages.models.inference.available_cores", lambda cores=cores: cores)
        detector = Detector(weights, image_size=224, confidence=0.1, batch=batch, device="cpu")
        assert detector.streams == cores
        with ThreadPoolExecutor(2) as workers:
            twice = list(workers.map(detector.detect, (images, images[::-1])))
        detector.close()
        assert twice[0] == twice[1][::-1]
        found.append(twice[0])
    assert sum(map(len, found[0])) > 30
    assert found[1:] == found[:1] * 2


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """The shapes model in another format, for 640 by 384 pixels or for any size."""

    def make(form: str, dynamic: bool) -> Path:
        pytest.importorskip(form, reason=f"needs {form}, which the project does without")
        weights = Path(shutil.copy(WEIGHTS, tmp_path_factory.mktemp("exported")))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made = import_ultralytics().YOLO(str(weights))
            size = 640 if dynamic else (384, 640)
            return Path(made.export(format=form, imgsz=size, dynamic=dynamic, verbose=False))

    return make


def as_predict_finds(weights: Path, images: list[np.ndarray]) -> list[list[tuple[float, ...]]]:
    """What ultralytics' own predict finds in each image alone, with one thread: each object's box,
    confidence and class's number. Batches and more threads may round otherwise.
    """
    model = import_ultralytics().YOLO(str(weights), task="detect")
    import_torchvision()
    import torch

    def predict() -> list[list[tuple[float, ...]]]:
        options = {"conf": 0.1, "iou": 0.7, "imgsz": 640, "device": "cpu", "verbose": False}
        model.predict(images[0], **options)  # sets up, and with it threads of its own number
        torch.set_num_threads(1)
        results = [model.predict(image, **options)[0] for image in images]
        return [[tuple(row) for row in result.boxes.data.tolist()] for result in results]

    with ThreadPoolExecutor(1) as thread:  # torch counts the threads of each thread apart
        return thread.submit(predict).result()


def rows_of(detector: Detector, images: list[np.ndarray]) -> list[list[tuple[float, ...]]]:
    numbers = {name: number for number, name in detector.names.items()}
    return [
        [(*found.box, found.confidence, float(numbers[found.name])) for found in many]
        for many in detector.detect(images)
    ]


@pytest.mark.parametrize(
    ("form", "dynamic"),
    [
        ("pt", True),
        ("onnx", True),
        pytest.param("onnx", False, marks=pytest.mark.slow),
        pytest.param("openvino", True, marks=pytest.mark.slow),
        pytest.param("openvino", False, marks=pytest.mark.slow),
    ],
)
def test_it_finds_what_predict_finds_to_the_last_bit(
    exported: Callable[..., Path],
    scenes: list[tuple[np.ndarray, tuple[Shape, ...]]],
    form: str,
    dynamic: bool,
) -> None:
    weights = WEIGHTS if form == "pt" else exported(form, dynamic)
    images = [image for image, _ in scenes[:13]]
    detector = Detector(weights, image_size=640, confidence=0.1, batch=8, device="cpu")
    found = rows_of(detector, images)
    assert sum(map(len, found)) > 30
    assert found == as_predict_finds(weights, images)


@pytest.mark.slow
@pytest.mark.parametrize("model", ["yolov8n_int8_lamri.onnx", "yolo11n_int8_droneeye.onnx"])
def test_it_finds_what_predict_finds_in_real_frames(data: Path, model: str) -> None:
    weights = data / "models" / model
    people = data / "video" / "intel_one-by-one-person-detection.mp4"
    images = [
        bgr(Image.open(io.BytesIO(frame)).convert("RGB")) for frame in frames_of(people, 10.0)
    ]
    found = rows_of(Detector(weights, image_size=640, confidence=0.1), images)
    assert any(found)
    assert found == as_predict_finds(weights, images)


def test_threads_that_share_it_do_not_disturb_each_other(
    detector: Detector, scenes: list[tuple[np.ndarray, tuple[Shape, ...]]]
) -> None:
    wide = [image for image, _ in scenes[:8]]
    tall = [np.ascontiguousarray(image[:, :200]) for image in wide]
    alone = [detector.detect(images) for images in (wide, tall)]
    with ThreadPoolExecutor(2) as threads:
        for _ in range(5):
            assert list(threads.map(detector.detect, (wide, tall))) == alone
    assert detector.detect([wide[0], tall[0], wide[1]]) == [alone[0][0], alone[1][0], alone[0][1]]


@given(st.lists(st.integers(0, 2), max_size=20), st.integers(1, 5))
def test_batches_hold_neighbours_of_one_shape(shapes: list[int], most: int) -> None:
    batches = list(batches_of(shapes, most, lambda shape: shape))
    assert [shape for batch in batches for shape in batch] == shapes
    assert all(len(set(batch)) == 1 and len(batch) <= most for batch in batches)
    assert all(
        len(some) == most or some[0] != others[0] for some, others in itertools.pairwise(batches)
    )


@pytest.mark.parametrize("batch", [1, 5, 8])
def test_a_gpu_finds_what_the_cpu_finds(
    detector: Detector, scenes: list[tuple[np.ndarray, tuple[Shape, ...]]], batch: int
) -> None:
    if not (gpu := choose_device("auto")).startswith("cuda"):
        pytest.skip("needs a GPU that torch sees")
    there = Detector(WEIGHTS, image_size=IMAGE_SIZE, confidence=0.4, batch=batch, device=gpu)
    images = [image for image, _ in scenes]
    assert_alike(there.detect(images), detector.detect(images))


def test_only_the_wanted_classes_come_back(
    scenes: list[tuple[np.ndarray, tuple[Shape, ...]]],
) -> None:
    found = Detector(WEIGHTS, image_size=IMAGE_SIZE, classes=("star", "circle")).detect(
        [image for image, _ in scenes[:16]]
    )
    assert {detection.name for many in found for detection in many} == {"star", "circle"}


def test_an_unknown_class_is_named_with_the_nearest_one() -> None:
    with pytest.raises(ConfigError) as error:
        Detector(WEIGHTS, classes=("star", "Triangel"))
    message = str(error.value)
    assert "stages.filter.classes" in message
    assert "'Triangel'" in message
    assert "did you mean 'triangle'?" in message
    assert "python -m stages.models.detector" in message
    assert "\n" not in message


def test_a_device_that_is_not_there_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"stages\.filter\.device = 'cuda:99'.*cpu, or auto"):
        choose_device("cuda:99")
    assert choose_device("cpu") == "cpu"
    assert choose_device("auto") in {"cpu", "cuda:0", "mps"}


@pytest.mark.parametrize(
    ("device", "gpu"),
    [("cpu", None), ("cuda", "cuda:0"), ("cuda:1", "cuda:1"), ("mps", "mps"), ("auto", "cuda:0")],
)
def test_the_gpu_that_a_device_means_is_told_without_torch(
    device: str, gpu: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    assert gpu_of("auto", tmp_path) is None, "nothing shows that there is one"
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev" / "nvidia0").touch()
    assert gpu_of(device, tmp_path) == gpu
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert gpu_of("auto", tmp_path) is None


def test_on_a_cpu_an_inference_has_one_image_and_one_thread(
    scenes: list[tuple[np.ndarray, tuple[Shape, ...]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    monkeypatch.setattr("stages.models.inference.available_cores", lambda: 3)
    detector = Detector(WEIGHTS, image_size=IMAGE_SIZE, device="cpu", batch=8)
    backend = type(detector.model.backend)
    seen = []

    def watched(self: Any, images: Any, **options: Any) -> Any:
        seen.append((images.shape[0], torch.get_num_threads()))
        return forward(self, images, **options)

    forward = backend.forward
    monkeypatch.setattr(backend, "forward", watched)
    detector.detect([image for image, _ in scenes[:10]])
    assert seen == [(1, 1)] * 10


def test_when_cuda_memory_runs_out_the_batch_is_halved() -> None:
    import torch

    sizes = []

    def predict(images: list[int]) -> list[int]:
        sizes.append(len(images))
        if len(images) > 3:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return [-image for image in images]

    found, batch = predict_in_batches(predict, range(10), 8)
    assert found == [-image for image in range(10)]
    assert batch == 2
    assert sizes == [8, 4, 2, 2, 2, 2, 2]


def test_without_memory_for_one_image_the_error_is_raised() -> None:
    import torch

    def predict(images: list[int]) -> list[int]:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(torch.cuda.OutOfMemoryError):
        predict_in_batches(predict, range(4), 2)


def export_onnx(network: Any, file: Path, *, batch: int, height: int, width: int) -> None:
    """The bare graph, with none of the metadata that ultralytics adds when it exports."""
    pytest.importorskip("onnx", reason="torch exports to ONNX only with the package onnx")
    import torch

    network.float().eval()
    network.model[-1].export = True
    network.model[-1].format = "onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        blank = torch.zeros(batch, 3, height, width)
        torch.onnx.export(network, (blank,), str(file), dynamo=False, input_names=["images"])


@pytest.fixture(scope="module")
def bare_onnx(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shapes model as ONNX: 224 by 224 pixels, three images at a time, no metadata."""
    file = tmp_path_factory.mktemp("onnx") / "bare.onnx"
    network = import_ultralytics().YOLO(str(WEIGHTS)).model
    export_onnx(network, file, batch=3, height=IMAGE_SIZE, width=IMAGE_SIZE)
    return file


def test_onnx_without_metadata_keeps_its_own_size_and_batch(
    bare_onnx: Path, detector: Detector, scenes: list[tuple[np.ndarray, tuple[Shape, ...]]]
) -> None:
    bare = Detector(bare_onnx, image_size=640, batch=8, confidence=0.4)
    assert bare.batch == 3
    assert list(bare.names.values()) == ["class0", "class1", "class2", "class3"]
    images = [image for image, _ in scenes[:8]]
    renamed = [
        [Detection(KINDS[int(d.name[-1])], d.confidence, d.box) for d in many]
        for many in bare.detect(images)
    ]
    assert_alike(renamed, detector.detect(images))


def test_eighty_unnamed_classes_are_those_of_coco(tmp_path: Path) -> None:
    import_ultralytics()
    from ultralytics.nn.tasks import DetectionModel

    network = DetectionModel(
        {
            "nc": 80,
            "width_multiple": 0.125,
            "backbone": [[-1, 1, "Conv", [64, 3, 2]], [-1, 1, "Conv", [64, 3, 4]]],
            "head": [[[1], 1, "Detect", ["nc"]]],
        },
        verbose=False,
    )
    export_onnx(network, tmp_path / "coco.onnx", batch=1, height=96, width=96)
    detector = Detector(tmp_path / "coco.onnx", classes=("person", "teddy bear"))
    assert (detector.names[0], detector.names[77]) == ("person", "teddy bear")


def test_openvino_loads(
    tmp_path: Path, detector: Detector, scenes: list[tuple[np.ndarray, tuple[Shape, ...]]]
) -> None:
    pytest.importorskip("openvino", reason="needs openvino, which the project does without")
    weights = Path(shutil.copy(WEIGHTS, tmp_path))
    ultralytics = import_ultralytics()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        folder = ultralytics.YOLO(str(weights)).export(
            format="openvino", imgsz=IMAGE_SIZE, verbose=False
        )
    images = [image for image, _ in scenes[:8]]
    exported = Detector(Path(folder), image_size=640, confidence=0.4)
    assert tuple(exported.names.values()) == KINDS
    assert_alike(exported.detect(images), detector.detect(images))


def test_openvino_without_metadata_loads(
    bare_onnx: Path, tmp_path: Path, scenes: list[tuple[np.ndarray, tuple[Shape, ...]]]
) -> None:
    openvino = pytest.importorskip("openvino", reason="needs openvino")
    folder = tmp_path / "bare_openvino_model"
    openvino.save_model(openvino.convert_model(bare_onnx), folder / "bare.xml")
    images = [image for image, _ in scenes[:8]]
    expected = Detector(bare_onnx, confidence=0.4).detect(images)
    assert_alike(Detector(folder, confidence=0.4).detect(images), expected)


@pytest.mark.parametrize("name", ["broken.pt", "broken.onnx", "notes.txt"])
def test_a_file_that_is_no_model_is_named_in_one_line(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"not a model at all")
    with pytest.raises(UsageError) as error:
        Detector(tmp_path / name)
    assert name in str(error.value)
    assert "stages.filter.weights" in str(error.value)
    assert "\n" not in str(error.value)


class Mark:
    """Unpickled, it makes a file."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.file,)


def test_the_code_of_a_pt_file_is_never_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import_ultralytics()
    import torch
    from ultralytics.nn import tasks

    # As where an embedding program imports ultralytics first.
    monkeypatch.setattr(tasks, "SAFE_LOAD", False)
    mark = {"model": Mark(tmp_path / "ran")}
    torch.save(mark, tmp_path / "new.pt")
    torch.save(mark, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    (tmp_path / "bare.pt").write_bytes(pickle.dumps(mark, protocol=2))
    module = {"model": WithoutDefinition()}
    torch.save(module, tmp_path / "layer.pt")
    for name in ("new.pt", "old.pt", "bare.pt", "layer.pt"):
        with pytest.raises(UsageError, match=r"never code; .*export it to ONNX") as error:
            Detector(tmp_path / name)
        assert "\n" not in str(error.value)
        assert not (tmp_path / "ran").exists()
    assert "it holds tests.stages.models.test_detector.WithoutDefinition" in str(error.value)


class WithoutDefinition(dict[str, Any]):
    """Of a class that neither torch nor ultralytics defines."""


@pytest.mark.parametrize(
    "name",
    [
        *("model.torchscript", "model.pb", "model.tflite", "model.mnn", "model_qnn.onnx"),
        *("model_saved_model", "model_paddle_model", "model_ncnn_model"),
    ],
)
def test_formats_that_may_be_programs_are_refused_unread(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"whatever")
    with pytest.raises(UsageError, match=r"not a \.pt, \.onnx or \.engine file, nor an OpenVINO"):
        Detector(tmp_path / name)


def test_a_damaged_file_of_a_published_name_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("yolo11n.pt").write_bytes(b"half of a download")
    with pytest.raises(UsageError, match=r"yolo11n\.pt cannot be used \(it is damaged"):
        Detector(find_weights("yolo11n.pt"))
    assert Path("yolo11n.pt").read_bytes() == b"half of a download"


def test_a_model_of_another_family_is_refused(data: Path) -> None:
    with pytest.raises(UsageError, match=r"yolox_nano_cvstudio\.onnx cannot be used"):
        Detector(data / "models" / "yolox_nano_cvstudio.onnx")


@pytest.mark.parametrize(
    ("model", "size"), [("yolov8n_int8_lamri.onnx", 640), ("yolo11n_int8_droneeye.onnx", 320)]
)
def test_quantised_coco_models_take_a_batch(data: Path, model: str, size: int) -> None:
    detector = Detector(data / "models" / model, image_size=480, classes=("person",))
    assert detector.batch == 1
    assert len(detector.names) == 80
    images = [bgr(random_scene(seed, *SIZE)[0]) for seed in range(3)]
    assert len(detector.detect(images)) == 3


def without_metadata(onnx: bytes) -> bytes:
    """An ONNX file less field 14 of its outermost message: what its exporter said about it."""

    def number(place: int) -> tuple[int, int]:
        value = shift = 0
        while True:
            byte = onnx[place]
            value, shift, place = value | (byte & 127) << shift, shift + 7, place + 1
            if byte < 128:
                return value, place

    kept, place = b"", 0
    while place < len(onnx):
        key, end = number(place)
        length, end = number(end)
        end += length if key & 7 == 2 else 0
        if key >> 3 != 14:
            kept += onnx[place:end]
        place = end
    return kept


def test_a_quantised_coco_model_needs_no_metadata(data: Path, tmp_path: Path) -> None:
    original = data / "models" / "yolo11n_int8_droneeye.onnx"
    (tmp_path / "bare.onnx").write_bytes(without_metadata(original.read_bytes()))
    images = [bgr(random_scene(seed, *SIZE)[0]) for seed in range(8)]
    bare = Detector(tmp_path / "bare.onnx", confidence=0.1)
    full = Detector(original, confidence=0.1)
    assert bare.names == full.names
    assert bare.batch == 1
    found = bare.detect(images)
    assert any(found)
    assert found == full.detect(images)


def test_weights_are_a_path_or_a_name_here_or_in_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    assert find_weights(str(WEIGHTS)) == WEIGHTS
    cached = cache_folder() / "weights" / "mine.pt"
    cached.parent.mkdir(parents=True)
    cached.touch()
    assert find_weights("mine.pt") == cached
    Path("mine.pt").touch()
    assert find_weights("mine.pt") == Path("mine.pt")


def test_missing_weights_say_where_to_put_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=r"models/mine\.pt do not exist"):
        find_weights("models/mine.pt")
    with pytest.raises(UsageError, match=r"mine\.pt are neither here .*/penstock/weights/mine\.pt"):
        find_weights("mine.pt")


def test_without_a_network_published_weights_fail_soon_and_plainly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(yolo, "PATIENCE", 0.5)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    import_ultralytics()
    # The only way out takes connections and never says a word.
    with socket.create_server(("127.0.0.1", 0)) as silent:
        for name in ("HTTPS_PROXY", "https_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{silent.getsockname()[1]}")
        start = time.monotonic()
        with pytest.raises(UsageError) as error:
            find_weights("yolo11n.pt")
        assert time.monotonic() - start < 10
    message = str(error.value)
    assert message.startswith("weights yolo11n.pt are not here and could not be fetched (")
    assert f"put the file at {tmp_path}/cache/penstock/weights/yolo11n.pt" in message
    assert "\n" not in message
    assert not list((tmp_path / "cache").rglob("*.pt*"))


LIST_AND_DETECT = """
import sys
import numpy
from stages.demo.shapes import WEIGHTS, random_scene
from stages.models.detector import Detector, main
sys.argv = ["detector", str(WEIGHTS)]
main()
sys.modules["ultralytics"].settings.update(runs_dir="results")
picture = numpy.asarray(random_scene(500, 640, 360)[0])
assert Detector(WEIGHTS, device="cpu").detect([picture[:, :, ::-1]])[0]
assert "torchvision" not in sys.modules, "its import takes a second"
sys.modules["ultralytics"].utils.LOGGER.error("something went wrong")
"""


def test_nothing_is_printed_or_written_but_the_class_names(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-W", "error::ResourceWarning", "-c", LIST_AND_DETECT],
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": str(REPOSITORY)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ran.returncode == 0, ran.stderr
    assert [line for line in ran.stderr.splitlines() if "something went wrong" not in line] == []
    assert "something went wrong" in ran.stderr
    assert ran.stdout.splitlines() == list(KINDS)
    assert [path.name for path in tmp_path.iterdir()] == [".cache"]
    assert [path.name for path in (tmp_path / ".cache").iterdir()] == ["penstock"]


def test_importing_it_leaves_pillow_as_it_was(tmp_path: Path) -> None:
    import_ultralytics()
    (tmp_path / "page.jpg").write_text("<html>")
    with pytest.raises(UnidentifiedImageError):
        Image.open(tmp_path / "page.jpg")


def test_the_first_inference_has_no_other_beside_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two first ones at once wait for each other for ever in OpenVINO's binding, now and then."""
    alone = []
    run_here = Streams.run_here

    def watched(self: Streams, infer: Callable[[Any], Any]) -> Any:
        alone.append(threading.current_thread())
        return run_here(self, infer)

    monkeypatch.setattr(Streams, "run_here", watched)
    before = threading.active_count()
    detector = Detector(WEIGHTS, image_size=IMAGE_SIZE)
    assert alone == [threading.current_thread()]
    assert threading.active_count() == before, "no thread is there before there is work"
    assert detector.busy == 0


def test_garbage_is_collected_again_once_a_model_is_loaded_or_is_not() -> None:
    with pytest.raises(UsageError), uncollected():
        assert not gc.isenabled()
        with uncollected():
            pass
        raise UsageError("no weights")
    assert gc.isenabled()
