"""Detects objects in decoded images with a YOLO model in any format that ultralytics loads.

python -m stages.detector yolo11n.pt     # lists the classes that the weights know
"""

import pickle
import re
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine import ConfigError, UsageError
from stages.inference import Streams
from stages.network_input import Prepared, as_input, batches_of, letterbox_of, normalised
from stages.suppression import only_candidates
from stages.yolo import FORMATS, find_weights, import_torchvision, load_weights_alone

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    Image = NDArray[np.uint8]

COCO_CLASSES = 80


@dataclass(frozen=True, slots=True)
class Detection:
    """One object: its class's name, the confidence 0 to 1, and where it is.

    `box` is (x1, y1, x2, y2) in pixels of the image, from its upper left corner.
    """

    name: str
    confidence: float
    box: tuple[float, float, float, float]

    @property
    def area(self) -> float:
        """Square pixels."""
        x1, y1, x2, y2 = self.box
        return (x2 - x1) * (y2 - y1)


class Detector:
    """A loaded YOLO detection model, which any number of threads may use at once.

    `weights` is a .pt or .onnx file, a TensorRT .engine or an OpenVINO folder. `classes` are names
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
        classes: Sequence[str] = (),
        confidence: float = 0.35,
        iou: float = 0.7,
        image_size: int = 640,
        batch: int = 8,
        device: str = "auto",
        half: bool = False,
    ) -> None:
        self.weights = weights
        predictor = _load(
            weights,
            {
                "conf": confidence,
                "iou": iou,
                "imgsz": image_size,
                "device": choose_device(device),
                "quantize": 16 if half else None,
            },
        )
        self._model, self._settings = predictor.model, predictor.args
        if self._model.device.type != "cpu":
            import_torchvision()
        fixed_batch = self._fit_to_graph()
        self.names = self._names()
        self._settings.classes = class_numbers(self.names, classes, str(weights)) or None
        self._letterbox = letterbox_of(self._model, self._settings.imgsz)
        self._streams = Streams(self._model, weights)
        self.batch = fixed_batch or (1 if self._model.device.type == "cpu" else batch)
        self._busy = 0.0
        self._lock = threading.Lock()
        self._try_once()

    def _try_once(self) -> None:
        """One inference, with no other beside it.

        OpenVINO's binding fills in what it keeps for good during the first. Two first ones at once
        may then wait for ever, one for that and one for Python's lock.
        """
        import numpy as np

        blank = self.prepare(np.zeros((64, 64, 3), np.uint8))
        self._streams.run_here(lambda model: self._infer(model, [blank]))
        self._busy = 0.0

    @property
    def streams(self) -> int:
        """Inferences that run at once."""
        return len(self._streams)

    @property
    def busy(self) -> float:
        """Seconds spent in the network and in suppression until now, added up over the streams."""
        return self._busy

    def prepare(self, image: "Image") -> Prepared:
        """An image of shape (height, width, 3), BGR, 0 to 255, as OpenCV decodes it, made ready."""
        import numpy as np
        import torch

        boxed = self._letterbox(image=image)
        pixels = torch.from_numpy(np.ascontiguousarray(boxed.transpose(2, 0, 1)[::-1]))
        if self._model.device.type == "cpu":
            pixels = normalised(pixels, self._model.fp16)
        return Prepared(pixels, (image.shape[0], image.shape[1]))

    def submit(self, images: Sequence[Prepared]) -> Future[list[list[Detection]]]:
        """Find the objects in each image, the surest first, when a stream is free.

        The images' `pixels` are of one shape. When CUDA memory runs out, this and later inferences
        go on with half the batch.
        """
        return self._streams.submit(lambda model: self._infer(model, images))

    def detect(self, images: Sequence["Image"]) -> list[list[Detection]]:
        """The objects in each image, as `prepare` takes it; of images of any shapes."""
        prepared = map(self.prepare, images)
        alike = batches_of(prepared, self.batch, lambda one: one.pixels.shape)
        batches = [self.submit(batch) for batch in alike]
        return [detections for batch in batches for detections in batch.result()]

    def close(self) -> None:
        """Finish what has been submitted."""
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
        kept = self._suppress(model, model(network_input))
        with self._lock:
            self._busy += time.perf_counter() - start
        for rows, image in zip(kept, images, strict=True):
            scale_boxes((height, width), rows[:, :4], image.shape)
        return [self._detections(rows) for rows in kept]

    def _suppress(self, model: Any, output: Any) -> list["Tensor"]:
        """ultralytics' non-maximum suppression, of what is as good as on the CPU already.

        Without its deadline: on a machine that is busy for two seconds it would leave the rest of a
        batch without detections, and another run would differ.
        """
        from ultralytics.utils.nms import non_max_suppression

        settings = self._settings
        end2end = getattr(model, "end2end", False)
        output = output[0] if isinstance(output, list | tuple) else output
        if output.device.type == "cuda":
            if output.shape[-1] != 6 and not end2end:
                output = only_candidates(output, settings.conf)
            output = output.cpu()
        kept: list[Tensor] = non_max_suppression(
            output,
            settings.conf,
            settings.iou,
            settings.classes,
            max_det=settings.max_det,
            max_time_img=float("inf"),
            end2end=end2end,
        )
        return kept

    def _detections(self, rows: "Tensor") -> list[Detection]:
        return [
            Detection(self.names[int(number)], confidence, (x1, y1, x2, y2))
            for x1, y1, x2, y2, confidence, number in rows[:, :6].tolist()
        ]

    def _fit_to_graph(self) -> int | None:
        """Take the size of image that the network's graph was made for; returns its batch.

        ultralytics takes that from the metadata it writes when it exports. A graph that comes from
        elsewhere has none, so the graph itself is asked.
        """
        backend = self._model.backend
        batch, height, width = _fixed_input(backend)
        if batch is not None:
            backend.batch = batch
        if height is not None and width is not None:
            self._settings.imgsz = [height, width]
            backend.dynamic = False
        return batch

    def _names(self) -> dict[int, str]:
        backend = self._model.backend
        if backend.metadata.get("names") or self._model.format == "pt":
            return dict(backend.names)
        count = self._count_classes(backend)
        if count == COCO_CLASSES:
            return _coco_names()
        return {number: f"class{number}" for number in range(count)}

    def _count_classes(self, backend: Any) -> int:
        import torch

        size = self._settings.imgsz
        height, width = (size, size) if isinstance(size, int) else size
        blank = torch.zeros(backend.batch, 3, height, width, device=self._model.device)
        output = self._model(blank)
        shape = tuple((output[0] if isinstance(output, list) else output).shape)
        # (batch, channels, boxes): x, y, width, height, then one channel a class; many more boxes.
        if len(shape) != 3 or not 4 < shape[1] < shape[2]:
            raise _unusable(
                self.weights, f"an output of shape {shape} is not that of a YOLO export"
            )
        return int(shape[1]) - 4


def choose_device(device: str) -> str:
    """What `device` means on this machine: "auto" is CUDA, else Apple's MPS, else the CPU.

    Raises ConfigError for a device that torch does not see.
    """
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    mps = torch.backends.mps.is_available()
    if device == "auto":
        return "cuda:0" if count else "mps" if mps else "cpu"
    kind, _, number = device.partition(":")
    if (kind == "cuda" and int(number or 0) >= count) or (kind == "mps" and not mps):
        seen = [f"cuda:{index}" for index in range(count)] + ["mps"] * mps + ["cpu"]
        raise ConfigError(
            f"stages.filter.device = {device!r}: torch sees no such device here; "
            f"use one of {', '.join(seen)}, or auto"
        )
    return f"cuda:{number or 0}" if kind == "cuda" else kind


def class_numbers(names: dict[int, str], wanted: Sequence[str], weights: str) -> list[int]:
    """The numbers of the wanted classes. Raises ConfigError for a name the model does not know."""
    known = set(names.values())
    for name in wanted:
        if name not in known:
            near = get_close_matches(name.lower(), sorted(known), 1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise ConfigError(
                f"stages.filter.classes: {weights} has no class {name!r}; {hint}"
                f"`python -m stages.detector {weights}` lists its {len(known)} classes"
            )
    return [number for number, name in names.items() if name in wanted]


def predict_in_batches(
    predict: Callable[[list[Any]], list[Any]], images: Sequence[Any], batch: int
) -> tuple[list[Any], int]:
    """`predict` over the images, `batch` at a time: all results, and the batch that was enough.

    When CUDA memory runs out the batch is halved, and what it could not hold is done again. With
    one image left to halve, the error is raised.
    """
    import torch

    found: list[Any] = []
    while len(found) < len(images):
        part = list(images[len(found) : len(found) + batch])
        try:
            found += predict(part)
        except torch.cuda.OutOfMemoryError:
            if len(part) == 1:
                raise
            batch = len(part) // 2
        else:
            continue
        # Only here, when the error no longer holds on to the tensors, can their memory be freed.
        torch.cuda.empty_cache()
    return found, batch


def _load(weights: Path, arguments: dict[str, Any]) -> Any:
    """ultralytics' predictor for these weights, with the model loaded."""
    load_weights_alone()
    from ultralytics.models.yolo.detect import DetectionPredictor
    from ultralytics.nn.autobackend import AutoBackend

    if AutoBackend._model_type(str(weights)) not in FORMATS:
        raise _unusable(
            weights,
            "not a .pt, .onnx or .engine file, nor an OpenVINO folder named ..._openvino_model",
        )
    predictor: Any = DetectionPredictor(
        overrides={
            "task": "detect",
            "mode": "predict",
            "rect": True,
            "save": False,
            "verbose": False,
            **arguments,
        }
    )
    try:
        # Given a bare name of a damaged file, ultralytics deletes it and fetches its own.
        bare = weights.name == str(weights)
        predictor.setup_model(f"./{weights}" if bare else str(weights), verbose=False)
    except ModuleNotFoundError as error:
        raise UsageError(
            f"weights {weights.name} need the Python package {error.name}, which is not installed; "
            f"install it or set stages.filter.weights to another format"
        ) from error
    # Each format's runtime has exceptions of its own for a file that it cannot read.
    except Exception as error:
        raise _unusable(weights, _why_not(error)) from error
    backend = predictor.model.backend
    task = getattr(backend.model, "task", None) or backend.task or "detect"
    if task != "detect":
        raise _unusable(weights, f"its task is {task!r}")
    if predictor.model.format == "pt" and predictor.model.end2end:
        # As predict has it: wanted classes are picked before what is left is cut off.
        backend.model.set_head_attr(
            max_det=max(predictor.args.max_det, 300), agnostic_nms=predictor.args.agnostic_nms
        )
    return predictor


def _fixed_input(backend: Any) -> tuple[int | None, int | None, int | None]:
    """Batch, height and width that a graph was exported with, each None where any will do."""
    if hasattr(backend, "session"):
        shape = backend.session.get_inputs()[0].shape
    elif hasattr(backend, "ov_compiled_model"):
        partial = backend.ov_compiled_model.input().get_partial_shape()
        shape = [size.get_length() if size.is_static else None for size in partial]
    else:
        return None, None, None
    batch, _, height, width = (size if isinstance(size, int) else None for size in shape)
    return batch, height, width


def _coco_names() -> dict[int, str]:
    from ultralytics.nn.autobackend import default_class_names

    return dict(default_class_names("coco.yaml"))


def _why_not(error: Exception) -> str:
    """Why weights did not load, in a line."""
    if isinstance(error, UnicodeError) or "incompatible constructor arguments" in str(error):
        return "its path holds bytes that are no UTF-8, which its runtime cannot open"
    refused = isinstance(error.__cause__, pickle.UnpicklingError)
    found = re.search(r"GLOBAL (\S+)", str(error.__cause__)) if refused else None
    if found is not None:
        return (
            f"it holds {found[1]}, and of a .pt file only weights and ultralytics' own layers are "
            f"loaded, never code; where you trust it, export it to ONNX"
        )
    if refused or isinstance(error, LookupError):
        return "it is damaged, or no model"
    line = str(error).strip().partition("\n")[0].removeprefix("ERROR \u274c\ufe0f ")
    return line or type(error).__name__


def _unusable(weights: Path, reason: str) -> UsageError:
    return UsageError(
        f"weights {weights} cannot be used ({reason}); "
        f"set stages.filter.weights to a YOLO detection model"
    )


def main() -> None:
    """Print the classes that the weights named on the command line know, one a line."""
    if len(sys.argv) != 2:
        sys.exit("usage: python -m stages.detector WEIGHTS")
    try:
        detector = Detector(find_weights(sys.argv[1]))
    except UsageError as error:
        sys.exit(str(error))
    sys.stdout.writelines(f"{name}\n" for name in detector.names.values())


if __name__ == "__main__":
    main()
