"""Non-maximum suppression: its input, and an implementation without torchvision, which is slow to
import and may not work."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    Boxes = NDArray[np.floating[Any]]

_LEAST = 7
"""Boxes that an image keeps at least: ultralytics takes an output of six for that of a network
which has done the suppression itself, six being the numbers that such a one gives of a box."""

_BLOCK = 256
"""Boxes that are compared at once with the more confident ones: bounds the memory."""


def only_candidates(output: "Tensor", confidence: float) -> "Tensor":
    """The boxes of a network's output (batch, 4 + classes, boxes) that suppression looks at.

    Each image's boxes with more than `confidence` come first, in their order; images with fewer are
    filled up with others. So little is left to copy off a GPU, in one copy.
    """
    import torch

    sure = output[:, 4:].amax(1) > confidence
    most = max(int(sure.sum(1).max()), _LEAST)
    places = torch.argsort((~sure).byte(), dim=1, stable=True)[:, :most]
    return output.gather(2, places.unsqueeze(1).expand(-1, output.shape[1], -1))


def suppress(boxes: "Tensor", scores: "Tensor", iou_threshold: float) -> "Tensor":
    """The indices of the boxes that stay, the most confident first, as `torchvision.ops.nms` gives
    them.

    `boxes` is of shape (n, 4), each (x1, y1, x2, y2), and `scores` of shape (n,). A box is removed
    if its intersection with a more confident box that stays, over their union, is greater than
    `iou_threshold`. ultralytics' implementation in torch takes ten times as long: it goes box by
    box, in operations whose calls cost more than their work.
    """
    import numpy as np
    import torch

    corners = boxes.float().cpu().numpy()
    left = scores.argsort(descending=True, stable=True).cpu().numpy()
    kept: list[int] = []
    while left.size:
        block, rest = left[:_BLOCK], left[_BLOCK:]
        overlapping = _iou(corners[block], corners[left]) > iou_threshold
        gone = np.zeros(left.size, bool)
        for row, box in enumerate(block.tolist()):
            if not gone[row]:
                kept.append(box)
                gone |= overlapping[row]
        left = rest[~gone[len(block) :]]
    return torch.tensor(kept, dtype=torch.int64, device=boxes.device)


def _iou(some: "Boxes", others: "Boxes") -> "Boxes":
    """Intersection over union of each pair, of shape (some, others)."""
    import numpy as np

    corners, areas = some.T[:, :, np.newaxis], _areas(some)[:, np.newaxis]
    width = np.minimum(corners[2], others[:, 2]) - np.maximum(corners[0], others[:, 0])
    height = np.minimum(corners[3], others[:, 3]) - np.maximum(corners[1], others[:, 1])
    both = np.maximum(width, 0) * np.maximum(height, 0)
    with np.errstate(invalid="ignore"):  # two boxes without an area have no overlap
        found: Boxes = both / (areas + _areas(others) - both)
    return found


def _areas(boxes: "Boxes") -> "Boxes":
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
