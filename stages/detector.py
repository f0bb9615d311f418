"""Detects objects in decoded images with a YOLO model in any format that ultralytics loads.

python -m stages.detector yolo11n.pt     # lists the classes that the weights know
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine import ConfigError, UsageError
from stages.yolo import find_weights, import_ultralytics

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

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
    """A loaded YOLO detection model. Not to be used from two threads at once.

    `weights` is a .pt or .onnx file, a TensorRT .engine or an OpenVINO folder. `classes` are names
    of the model's classes, none for all. `confidence` and `iou` are the thresholds of a detection
    and of non-maximum suppression. `image_size` is the longer side the network sees, in pixels,
    and `batch` the images per inference; a model exported with a fixed size or batch keeps its own.

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
        self.batch = batch
        self._predictor = _load(
            weights,
            {
                "conf": confidence,
                "iou": iou,
                "imgsz": image_size,
                "device": choose_device(device),
                "quantize": 16 if half else None,
            },
        )
        self.names = self._adapt()
        self._predictor.args.classes = class_numbers(self.names, classes, str(weights)) or None

    def detect(self, images: Sequence["Image"]) -> list[list[Detection]]:
        """The objects in each image, the surest first.

        `images` are arrays of shape (height, width, 3), BGR, 0 to 255, as OpenCV decodes them.
        When CUDA memory runs out, this and later calls go on with half the batch.
        """
        found, self.batch = predict_in_batches(self._predictor, images, self.batch)
        return [self._detections(result) for result in found]

    def _detections(self, result: Any) -> list[Detection]:
        rows = result.boxes.data.cpu().tolist()
        return [
            Detection(self.names[int(number)], confidence, (x1, y1, x2, y2))
            for x1, y1, x2, y2, confidence, number in rows
        ]

    def _adapt(self) -> dict[int, str]:
        """Fit the image size and the batch to what the model's graph takes; returns its names.

        ultralytics takes all of that from the metadata it writes when it exports. A graph that
        comes from elsewhere has none, so the graph itself is asked.
        """
        backend = self._predictor.model.backend
        batch, height, width = _fixed_input(backend)
        if batch is not None:
            self.batch = backend.batch = batch
        if height is not None and width is not None:
            self._predictor.args.imgsz = [height, width]
            backend.dynamic = False
        if backend.metadata.get("names") or self._predictor.model.format == "pt":
            return dict(backend.names)
        count = self._count_classes(backend)
        if count == COCO_CLASSES:
            return _coco_names()
        return {number: f"class{number}" for number in range(count)}

    def _count_classes(self, backend: Any) -> int:
        import torch

        size = self._predictor.args.imgsz
        height, width = (size, size) if isinstance(size, int) else size
        blank = torch.zeros(backend.batch, 3, height, width, device=self._predictor.device)
        output = self._predictor.model(blank)
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
    import_ultralytics()
    predictor = _predictor_class()(
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
        predictor.setup_model(str(weights), verbose=False)
    except ModuleNotFoundError as error:
        raise UsageError(
            f"weights {weights.name} need the Python package {error.name}, which is not installed; "
            f"install it or set stages.filter.weights to another format"
        ) from error
    # Each format's runtime has exceptions of its own for a file that it cannot read.
    except Exception as error:
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise _unusable(weights, reason) from error
    backend = predictor.model.backend
    task = getattr(backend.model, "task", None) or backend.task or "detect"
    if task != "detect":
        raise _unusable(weights, f"its task is {task!r}")
    return predictor


def _predictor_class() -> Any:
    from ultralytics.models.yolo.detect import DetectionPredictor
    from ultralytics.utils.nms import non_max_suppression

    class Predictor(DetectionPredictor):
        """ultralytics' own, but for its suppression's deadline: on a machine that is busy for two
        seconds it leaves the rest of a batch without detections, and another run would differ."""

        def postprocess(self, preds: Any, img: Any, orig_imgs: Any, **_: Any) -> Any:
            kept = non_max_suppression(
                preds,
                self.args.conf,
                self.args.iou,
                self.args.classes,
                max_det=self.args.max_det,
                max_time_img=float("inf"),
                end2end=getattr(self.model, "end2end", False),
            )
            return self.construct_results(kept, img, orig_imgs)  # type: ignore[no-untyped-call]

    return Predictor


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
