"""Non-maximum suppression, beside ultralytics' own."""

from importlib.util import find_spec, module_from_spec
from typing import Any

import pytest
import torch

from stages.models.suppression import suppress
from stages.models.yolo import import_ultralytics


@pytest.fixture(scope="module")
def theirs() -> Any:
    """ultralytics' own, from a fresh copy of its module: in the usual one ours has its place."""
    import_ultralytics()
    spec = find_spec("ultralytics.utils.nms")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.TorchNMS.nms is not suppress
    return module.TorchNMS.nms


@pytest.mark.parametrize("count", [0, 1, 2, 40, 255, 256, 257, 1500])
@pytest.mark.parametrize("threshold", [0.3, 0.7])
def test_it_keeps_what_ultralytics_keeps_in_its_order(
    theirs: Any, count: int, threshold: float
) -> None:
    random = torch.Generator().manual_seed(count)
    centres = torch.rand(count, 2, generator=random) * 100
    sizes = torch.rand(count, 2, generator=random) * 120
    boxes = torch.cat([centres - sizes / 2, centres + sizes / 2], 1)
    scores = torch.randperm(count, generator=random).float()

    kept = suppress(boxes, scores, threshold)

    assert torch.equal(kept, theirs(boxes, scores, threshold))
    assert count < 255 or len(kept) < count


def test_of_equally_sure_boxes_the_first_stays() -> None:
    boxes = torch.tensor([[0, 0, 9, 9], [0, 0, 10, 10], [50, 50, 60, 60]]).float()
    assert suppress(boxes, torch.tensor([0.5, 0.5, 0.5]), 0.7).tolist() == [0, 2]


def test_boxes_without_an_area_overlap_in_nothing() -> None:
    boxes = torch.tensor([[5, 5, 5, 5], [5, 5, 5, 5], [0, 0, 10, 10]]).float()
    assert suppress(boxes, torch.tensor([0.1, 0.2, 0.3]), 0.7).tolist() == [2, 1, 0]
