"""Exports .pt weights for another runtime, and holds what that finds against what torch finds.

`stages.models.exports` runs it in a process of its own. Its last line on standard output is JSON:
{} where all went well, {"unusable": why} for weights that do not load, {"failed": why}.
"""

import json
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine import UsageError
from stages.files.folders import link_or_copy
from stages.models.content import content_hash
from stages.models.detector import Detector
from stages.models.exports import PLACES
from stages.models.loading import load_predictor
from stages.models.network_input import as_input
from stages.models.yolo import import_ultralytics, switch_off_telemetry

if TYPE_CHECKING:
    from torch import Tensor

SHAPES = ((360, 640), (640, 480), (224, 224))
"""Height and width of the pictures on which both runtimes have to find the same."""

CONFIDENCE_APART, PIXELS_APART = 0.01, 1.0
"""The most that two runtimes may differ by, in any box of the network's output."""


def main() -> None:
    weights, content, runtime, image_size, folder = sys.argv[1:]
    warnings.simplefilter("ignore")  # tracing warns of every `if` on a tensor's value
    switch_off_telemetry()
    try:
        export(Path(weights), content, runtime, int(image_size), Path(folder))
        answer = {}
    except UsageError as error:
        answer = {"unusable": str(error)}
    except Exception as error:
        answer = {"failed": " ".join(f"{type(error).__name__}: {error}".split())}
    sys.stdout.write(f"\n{json.dumps(answer)}\n")


def export(weights: Path, content: str, runtime: str, image_size: int, folder: Path) -> None:
    """Write the network into `folder`, under its name in PLACES, for images of any size.

    Raises UsageError for weights that cannot be used, ValueError where the export finds otherwise
    than torch.
    """
    load_predictor(weights, {"device": "cpu"})  # says what is wrong with them, by their own name
    copy = folder / "weights.pt"
    link_or_copy(weights, copy)
    if content_hash(copy) != content:
        raise ValueError("they have changed meanwhile")
    import_ultralytics().YOLO(str(copy)).export(
        format=runtime, imgsz=image_size, dynamic=True, device="cpu", verbose=False
    )
    _compare(copy, folder / PLACES[runtime], image_size)
    copy.unlink()


def _compare(weights: Path, network: Path, image_size: int) -> None:
    """Raise ValueError where the network in its new format finds otherwise than torch does."""
    pictures = [_picture(shape) for shape in SHAPES]
    outputs = []
    for exported in (None, network):
        detector = Detector(weights, exported=exported, image_size=image_size, device="cpu")
        outputs.append([_output(detector, picture) for picture in pictures])
        detector.close()
    for torch_output, output in zip(*outputs, strict=True):
        _compare_outputs(torch_output, output)


def _output(detector: Detector, picture: Any) -> "Tensor":
    import torch

    ready = as_input([detector.prepare(picture).pixels], detector.model)
    output = detector.run(lambda model: model(ready)).result()
    return torch.as_tensor(output[0] if isinstance(output, list | tuple) else output)


def _compare_outputs(torch_output: "Tensor", output: "Tensor") -> None:
    if torch_output.shape != output.shape:
        shapes = tuple(output.shape), tuple(torch_output.shape)
        raise ValueError("its output is of shape {}, torch's of {}".format(*shapes))
    if output.shape[-1] == 6:  # boxes after suppression, the surest first: two may swap places
        confidences, pixels = torch_output[..., 4] - output[..., 4], None
    else:
        confidences = torch_output[:, 4:] - output[:, 4:]
        pixels = torch_output[:, :4] - output[:, :4]
    for what, apart, most in (
        ("confidences", confidences, CONFIDENCE_APART),
        ("boxes' edges", pixels, PIXELS_APART),
    ):
        furthest = 0.0 if apart is None else float(apart.abs().max())
        if not furthest <= most:  # NaN is not, either
            raise ValueError(f"its {what} are up to {furthest:.3g} from torch's")


def _picture(shape: tuple[int, int]) -> Any:
    """A picture of soft spots of all colours, the same every time."""
    import cv2
    import numpy as np

    spots = np.random.default_rng(0).integers(0, 256, (9, 12, 3), np.uint8)
    return cv2.resize(spots, shape[::-1], interpolation=cv2.INTER_CUBIC)


if __name__ == "__main__":
    main()
