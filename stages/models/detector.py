"""Detects objects in decoded images with a YOLO model in any format that ultralytics loads.

python -m stages.models.detector yolo11n.pt     # lists the classes that the weights know
"""

import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from engine import ConfigError, Loan, Settings, UsageError, borrow, setting
from stages.models.content import content_hash
from stages.models.devices import DeviceName, device_setting, predict_in_batches
from stages.models.exports import exported
from stages.models.inference import Answer, Streams
from stages.models.loading import (
    choose_device,
    coco_names,
    fixed_input,
    load_predictor,
    uncollected,
    unusable,
)
from stages.models.network_input import Prepared, as_input, batches_of, letterbox_of, pixels_of
from stages.models.suppression import objects_in
from stages.models.yolo import find_weights

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Image = NDArray[np.uint8]
    Rows = NDArray[np.float32]

COCO_CLASSES = 80


def inference_batch_setting(frames: int) -> Any:
    return setting(
        frames,
        "Frames in one inference on a GPU; on a CPU each has one of its own.",
        affects_output=False,
        ge=1,
    )


class DetectorSettings(Settings):
    """The settings of every step that looks at frames with a detector. A step words the first three
    anew, for what it does with what is seen."""

    weights: str = setting(
        "yolo11n.pt",
        "YOLO weights: a .pt, .onnx or .engine file, an OpenVINO folder, or a published name.",
        needs_trust=True,
    )
    classes: tuple[Annotated[str, Field(min_length=1)], ...] = setting(
        (), "Names of the classes that count; [] for all that the model knows."
    )
    confidence: float = setting(0.35, "Confidence, 0 to 1, from which on a detection counts.")
    iou: float = setting(
        0.7,
        "Overlap, 0 to 1, above which two detections of a class are one object.",
        gt=0,
        le=1,
    )
    image_size: int = setting(
        640, "Longer side of a frame as the model sees it, in pixels.", ge=32, le=4096
    )
    inference_batch: int = inference_batch_setting(8)
    device: DeviceName = device_setting()
    runtime: Literal["auto", "torch", "onnx", "openvino"] = setting(
        "auto",
        'What runs a .pt on a CPU; "auto" is OpenVINO where it is installed, else ONNX Runtime '
        "with onnx, else torch.",
        in_ingredients=True,
    )
    half: bool = setting(False, "Compute in half precision where the device can.")


@dataclass(frozen=True, slots=True)
class Detection:
    """One object: its class's name, its confidence from 0 to 1, and its place.

    `box` is (x1, y1, x2, y2) in pixels of the image, from its upper left corner.
    """

    name: str
    confidence: float
    box: tuple[float, float, float, float]

    @property
    def area(self) -> float:
        """Area of the box in square pixels."""
        x1, y1, x2, y2 = self.box
        return (x2 - x1) * (y2 - y1)


class Detector:
    """A loaded YOLO detection model, which any number of threads may use at once.

    `weights` is a .pt or .onnx file, a TensorRT .engine or an OpenVINO folder. `exported` is the
    same network in another format, as `stages.models.exports` makes it: it is loaded in the place
    of a .pt, on the CPU, and computes in single precision as torch does, unless `half` allows what
    OpenVINO prefers. `classes` are names
    of the model's classes, none for all. `confidence` and `iou` are the thresholds of a detection
    and of non-maximum suppression. `image_size` is the longer side the network sees, in pixels,
    and `batch` the images in one inference on a GPU. On a CPU each image has an inference of its
    own, so what is found in it depends on nothing but itself: kernels for another batch may round
    otherwise. A model exported with a fixed size or batch keeps its own.

    What it finds in an image is what ultralytics' predict finds: the letterbox, the network, the
    suppression and the scaling are its own.

    Raises UsageError where the weights cannot be loaded, ConfigError for an unknown class or a
    device that is not there.
    """

    def __init__(
        self,
        weights: Path,
        *,
        exported: Path | None = None,
        classes: Sequence[str] = (),
        confidence: float = 0.35,
        iou: float = 0.7,
        image_size: int = 640,
        batch: int = 8,
        device: str = "auto",
        half: bool = False,
    ) -> None:
        self.weights = weights
        network = exported or weights
        predictor = load_predictor(
            network,
            {
                "conf": confidence,
                "iou": iou,
                "imgsz": image_size,
                "device": choose_device(device) if exported is None else "cpu",
                "quantize": 16 if half and exported is None else None,
            },
        )
        self.model: Any = predictor.model
        """ultralytics' AutoBackend. It computes in `submit` and `run`, in one thread."""
        self._settings = predictor.args
        fixed_batch = self._fit_to_graph()
        self.names = self._names()
        self._settings.classes = class_numbers(self.names, classes, str(weights)) or None
        self._letterbox = letterbox_of(
            self.model, self._settings.imgsz, as_torch=exported is not None
        )
        self._streams = Streams(self.model, network, exact=exported is not None and not half)
        self.batch = fixed_batch or (1 if self.model.device.type == "cpu" else batch)
        self._busy = 0.0
        self._lock = threading.Lock()
        self._try_once()

    def _try_once(self) -> None:
        """Run one inference, with no other beside it.

        OpenVINO's binding initialises itself during the first inference. Two first ones at once may
        deadlock, one waiting for that and one for Python's lock.
        """
        import numpy as np

        blank = self.prepare(np.zeros((64, 64, 3), np.uint8))
        self._streams.run_here(lambda model: self._infer(model, [blank]))
        self._busy = 0.0

    @property
    def streams(self) -> int:
        """Number of inferences that run at once."""
        return len(self._streams)

    @property
    def busy(self) -> float:
        """Seconds spent in the network and in suppression until now, added up over the streams."""
        return self._busy

    def prepare(self, image: "Image") -> Prepared:
        """The prepared input for an image of shape (height, width, 3), BGR,
        0 to 255, as OpenCV decodes it."""
        pixels = pixels_of(self._letterbox(image=image), self.model)
        return Prepared(pixels, (image.shape[0], image.shape[1]))

    def submit(self, images: Sequence[Prepared]) -> Future[list[list[Detection]]]:
        """Find the objects in each image, the most confident first, as soon as a stream is free.

        The images' `pixels` are of one shape. When CUDA memory runs out, this and later inferences
        continue with half the batch.
        """
        return self.run(lambda model: self._infer(model, images))

    def run(self, infer: Callable[[Any], Answer]) -> Future[Answer]:
        """Call `infer` with the model, or a copy of it, as soon as a stream is free."""
        return self._streams.submit(infer)

    def detect(self, images: Sequence["Image"]) -> list[list[Detection]]:
        """The objects in each image; the images are as for `prepare`, of any shapes."""
        prepared = map(self.prepare, images)
        alike = batches_of(prepared, self.batch, lambda one: one.pixels.shape)
        batches = [self.submit(batch) for batch in alike]
        return [detections for batch in batches for detections in batch.result()]

    def close(self) -> None:
        """Finish all submitted inferences."""
        self._streams.close()

    def _infer(self, model: Any, images: Sequence[Prepared]) -> list[list[Detection]]:
        found, enough = predict_in_batches(partial(self._predict, model), images, self.batch)
        self.batch = min(self.batch, enough)
        return found

    def _predict(self, model: Any, images: list[Prepared]) -> list[list[Detection]]:
        from ultralytics.utils.ops import scale_boxes

        network_input = as_input([image.pixels for image in images], model)
        height, width = network_input.shape[2:]
        start = time.perf_counter()
        found = self._objects(model, model(network_input))
        with self._lock:
            self._busy += time.perf_counter() - start
        for rows, image in zip(found, images, strict=True):
            scale_boxes((height, width), rows[:, :4], image.shape)
        return [self._detections(rows) for rows in found]

    def _objects(self, model: Any, output: Any) -> list["Rows"]:
        settings = self._settings
        return objects_in(
            output[0] if isinstance(output, list | tuple) else output,
            settings.conf,
            settings.iou,
            classes=settings.classes,
            most=settings.max_det,
            end_to_end=bool(getattr(model, "end2end", False)),
        )

    def _detections(self, rows: "Rows") -> list[Detection]:
        return [
            Detection(self.names[int(number)], confidence, (x1, y1, x2, y2))
            for x1, y1, x2, y2, confidence, number in rows.tolist()
        ]

    def _fit_to_graph(self) -> int | None:
        """Use the image size for which the network's graph was made; returns the graph's batch.

        ultralytics reads it from the metadata that it writes on export. A graph from another
        exporter has none, so the graph itself is asked.
        """
        backend = self.model.backend
        batch, height, width = fixed_input(backend)
        if batch is not None:
            backend.batch = batch
        if height is not None and width is not None:
            self._settings.imgsz = [height, width]
            backend.dynamic = False
        return batch

    def _names(self) -> dict[int, str]:
        backend = self.model.backend
        if backend.metadata.get("names") or self.model.format == "pt":
            return dict(backend.names)
        count = self._count_classes(backend)
        if count == COCO_CLASSES:
            return coco_names()
        return {number: f"class{number}" for number in range(count)}

    def _count_classes(self, backend: Any) -> int:
        import torch

        size = self._settings.imgsz
        height, width = (size, size) if isinstance(size, int) else size
        blank = torch.zeros(backend.batch, 3, height, width, device=self.model.device)
        output = self.model(blank)
        shape = tuple((output[0] if isinstance(output, list) else output).shape)
        # (batch, channels, boxes): x, y, width, height, then one channel a class; many more boxes.
        if len(shape) != 3 or not 4 < shape[1] < shape[2]:
            raise unusable(self.weights, f"an output of shape {shape} is not that of a YOLO export")
        return int(shape[1]) - 4


def borrow_detector(
    weights: str, made_of: Mapping[str, Any] | None = None, **options: Any
) -> Loan[Detector]:
    """The one detector of this process with these weights, a path or a published name, and these
    options of `Detector`.

    `made_of` is what `find_made_of` answered in this run: a .pt is run by the runtime that it
    names, or by torch. Raises UsageError for weights with another content, and what `find_weights`,
    `exported` and `Detector` do.
    """
    made_of = made_of or {}

    def make() -> Detector:
        with uncollected():
            found = find_weights(weights)
            return Detector(found, exported=_exported(found, made_of, options), **options)

    key = ("detector", weights, frozenset(made_of.items()), frozenset(options.items()))
    return borrow(key, make, Detector.close)


def _exported(weights: Path, made_of: Mapping[str, Any], options: Mapping[str, Any]) -> Path | None:
    if "content" not in made_of:
        return None
    content = content_hash(weights)
    if content != made_of["content"]:
        raise UsageError(
            f"weights {weights} have changed since the run began; run again to go on with these"
        )
    runtime = made_of.get("runtime", "torch")
    if runtime == "torch":
        return None
    return exported(weights, content, runtime, options["image_size"])


def class_numbers(names: dict[int, str], wanted: Sequence[str], weights: str) -> list[int]:
    """The numbers of the wanted classes. Raises ConfigError for a name the model does not know."""
    known = set(names.values())
    for name in wanted:
        if name not in known:
            near = get_close_matches(name.lower(), sorted(known), 1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise ConfigError(
                f"stages.filter.classes: {weights} has no class {name!r}; {hint}"
                f"`python -m stages.models.detector {weights}` lists its {len(known)} classes"
            )
    return [number for number, name in names.items() if name in wanted]


def main() -> None:
    """Print the classes that the weights named on the command line know, one a line."""
    if len(sys.argv) != 2:
        sys.exit("usage: python -m stages.models.detector WEIGHTS")
    try:
        detector = Detector(find_weights(sys.argv[1]))
    except UsageError as error:
        sys.exit(str(error))
    sys.stdout.writelines(f"{name}\n" for name in detector.names.values())


if __name__ == "__main__":
    main()
