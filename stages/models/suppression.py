"""From a network's output to the objects in each image: non-maximum suppression, in numpy."""

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    Numbers = NDArray[np.floating[Any]]
    Rows = NDArray[np.float32]

ROW = 6
"""The numbers of an object: x1, y1, x2, y2, confidence, number of its class."""

MOST_COMPARED = 30_000
"""The most boxes of an image that are compared with each other: the most confident ones."""

_CLASS_APART = 7680
"""Pixels by which the boxes of a class are moved away from those of the one before, so that boxes
of different classes have no overlap. ultralytics' number, as it decides how they are rounded."""

_BLOCK = 256
"""Boxes that are compared at once with the more confident ones: bounds the memory."""


def objects_in(
    output: "Tensor",
    confidence: float,
    iou_threshold: float,
    *,
    classes: Sequence[int] | None = None,
    most: int = 300,
    end_to_end: bool = False,
) -> list["Rows"]:
    """The objects in each image, the most confident first: an array of shape (n, ROW) for each.

    `output` is that of a network: (batch, 4 + classes, boxes), each box as its centre, width and
    height; or, where the network has done the suppression itself, which `end_to_end` says where the
    shape does not, (batch, boxes, ROW). An object has more than `confidence`, is of one of
    `classes`, by number, and overlaps no more confident one of its class by more than
    `iou_threshold`. An image has at most `most`.

    They are those of ultralytics' `non_max_suppression`, to the last bit. That has a deadline: on a
    machine that is busy it would leave the rest of a batch without objects. And it takes some
    thirty operations of torch an image, each of which costs more than its work on so few boxes, and
    gives Python's lock away, for which it then waits, behind the threads that decode frames.
    """
    import numpy as np

    suppressed = output.shape[-1] == ROW or end_to_end
    rows, images = (_all_boxes if suppressed else _sure_boxes)(output, confidence)
    if classes is not None:
        wanted = np.isin(rows[:, 5], classes)
        rows, images = rows[wanted], images[wanted]
    edges = np.searchsorted(images, np.arange(len(output) + 1))
    found = [rows[begin:end] for begin, end in pairwise(edges)]
    return [(some if suppressed else _apart(some, iou_threshold))[:most] for some in found]


def _all_boxes(output: "Tensor", confidence: float) -> tuple["Rows", "Numbers"]:
    """Those with more than `confidence`, each with the number of its image, in order."""
    images, boxes = (output[:, :, 4] > confidence).nonzero(as_tuple=True)
    return output[images, boxes].float().cpu().numpy(), images.cpu().numpy()


def _sure_boxes(output: "Tensor", confidence: float) -> tuple["Rows", "Numbers"]:
    """The same of a network that leaves suppression to others. All images at once, where the output
    is: so little is left to copy off a GPU."""
    import torch

    images, boxes = (output[:, 4:].amax(1) > confidence).nonzero(as_tuple=True)
    sure = output.transpose(1, 2)[images, boxes]
    centres, halves = sure[:, :2], sure[:, 2:4] / 2
    best, numbers = sure[:, 4:].max(1, keepdim=True)
    parts = (centres - halves, centres + halves, best, numbers)
    rows = torch.cat([part.float() for part in parts], 1)
    return rows.cpu().numpy(), images.cpu().numpy()


def suppress(boxes: "Tensor", scores: "Tensor", iou_threshold: float) -> "Tensor":
    """The indices of the boxes that stay, the most confident first, as `torchvision.ops.nms` gives
    them, for programs that have no torchvision which works.

    `boxes` is of shape (n, 4), each (x1, y1, x2, y2), and `scores` of shape (n,). A box is removed
    if its intersection with a more confident box that stays, over their union, is greater than
    `iou_threshold`.
    """
    import torch

    corners, confidences = boxes.float().cpu().numpy(), scores.float().cpu().numpy()
    kept = _kept(corners, confidences, iou_threshold)
    return torch.tensor(kept, dtype=torch.int64, device=boxes.device)


def _apart(rows: "Rows", iou_threshold: float) -> "Rows":
    """Those of one image that stay."""
    import numpy as np

    if len(rows) > MOST_COMPARED:
        rows = rows[np.argsort(-rows[:, 4], kind="stable")[:MOST_COMPARED]]
    moved = rows[:, :4] + rows[:, 5:] * np.float32(_CLASS_APART)
    return rows[_kept(moved, rows[:, 4], iou_threshold)]


def _kept(corners: "Numbers", confidences: "Numbers", iou_threshold: float) -> list[int]:
    """The places of the boxes that stay, the most confident first."""
    import numpy as np

    threshold = np.float32(iou_threshold)
    if threshold > iou_threshold:  # rounded up: the next lower one is exceeded by the same numbers
        threshold = np.nextafter(threshold, np.float32(-1))
    left = np.argsort(-confidences, kind="stable")
    kept: list[int] = []
    while left.size:
        block, rest = left[:_BLOCK], left[_BLOCK:]
        overlapping = _iou(corners[block], corners[left]) > threshold
        gone = np.zeros(left.size, bool)
        for row, box in enumerate(block.tolist()):
            if not gone[row]:
                kept.append(box)
                gone |= overlapping[row]
        left = rest[~gone[len(block) :]]
    return kept


def _iou(some: "Numbers", others: "Numbers") -> "Numbers":
    """Intersection over union of each pair, of shape (some, others)."""
    import numpy as np

    corners, areas = some.T[:, :, np.newaxis], _areas(some)[:, np.newaxis]
    width = np.minimum(corners[2], others[:, 2]) - np.maximum(corners[0], others[:, 0])
    height = np.minimum(corners[3], others[:, 3]) - np.maximum(corners[1], others[:, 1])
    both = np.maximum(width, 0) * np.maximum(height, 0)
    with np.errstate(invalid="ignore"):  # two boxes without an area have no overlap
        found: Numbers = both / (areas + _areas(others) - both)
    return found


def _areas(boxes: "Numbers") -> "Numbers":
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
