"""Non-maximum suppression, beside ultralytics' own."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from stages.models.suppression import MOST_COMPARED, objects_in, suppress
from stages.models.yolo import import_ultralytics


@pytest.fixture(scope="module")
def theirs() -> Any:
    import_ultralytics()
    from ultralytics.utils.nms import TorchNMS

    return TorchNMS.nms


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


def as_ultralytics_finds(output: torch.Tensor, confidence: float, iou: float, **more: Any) -> Any:
    """Its own, without its deadline."""
    import_ultralytics()
    from ultralytics.utils.nms import non_max_suppression

    found = non_max_suppression(output.clone(), confidence, iou, max_time_img=1e9, **more)
    return [rows.tolist() for rows in found]


@given(
    seed=st.integers(0, 2**32),
    images=st.integers(1, 4),
    classes=st.integers(1, 5),
    boxes=st.sampled_from([0, 1, 6, 7, 40, 300]),
    confidence=st.sampled_from([0.0, 0.1, 0.35, 0.9, 1.0]),
    iou=st.sampled_from([0.1, 0.45, 0.7, 1.0]),
    half=st.booleans(),
    wanted=st.none() | st.lists(st.integers(0, 4), unique=True, min_size=1),
    most=st.sampled_from([1, 5, 300]),
)
def test_the_objects_are_those_of_ultralytics_to_the_last_bit(
    seed: int,
    images: int,
    classes: int,
    boxes: int,
    confidence: float,
    iou: float,
    half: bool,
    wanted: list[int] | None,
    most: int,
) -> None:
    random = torch.Generator().manual_seed(seed)
    places = torch.rand(images, 4, boxes, generator=random) * 100
    # All numbers of half precision from 0 to 1, each at most once: of equal ones its order is open.
    scores = torch.arange(0x3C01, dtype=torch.int16).view(torch.half).float()
    scores = scores[torch.randperm(len(scores), generator=random)]
    scores = scores[: images * classes * boxes].reshape(images, classes, boxes)
    output = torch.cat((places, scores), 1)
    output = output.half() if half else output
    if boxes == 6:
        output = output[:, :, :5]  # six would be those of a network that has suppressed already

    found = objects_in(output, confidence, iou, classes=wanted, most=most)

    expected = as_ultralytics_finds(output, confidence, iou, classes=wanted, max_det=most)
    assert [rows.tolist() for rows in found] == expected


@pytest.mark.parametrize("sure", range(10))
def test_so_many_sure_boxes_are_found_whatever_their_number(sure: int) -> None:
    places = torch.arange(500) * 50.0  # far from each other
    boxes = torch.stack((places, places, torch.full((500,), 20.0), torch.full((500,), 20.0)))
    scores = torch.full((5, 500), 0.1)
    scores[2, 100 : 100 + sure] = 0.9
    [found] = objects_in(torch.cat((boxes, scores)).unsqueeze(0), 0.5, 0.5)
    assert len(found) == sure
    assert set(found[:, 5].tolist()) <= {2}


@given(
    seed=st.integers(0, 2**32),
    half=st.booleans(),
    wanted=st.none() | st.lists(st.integers(0, 4), unique=True, min_size=1),
)
def test_a_network_that_has_suppressed_already_is_left_alone(
    seed: int, half: bool, wanted: list[int] | None
) -> None:
    random = torch.Generator().manual_seed(seed)
    output = torch.rand(3, 20, 6, generator=random)
    output[:, :, 5] = torch.randint(0, 5, (3, 20), generator=random)
    output = output.half() if half else output
    found = objects_in(output, 0.5, 0.7, classes=wanted, most=7, end_to_end=True)
    expected = as_ultralytics_finds(output, 0.5, 0.7, classes=wanted, max_det=7, end2end=True)
    assert [rows.tolist() for rows in found] == expected


def test_of_too_many_boxes_the_most_confident_are_compared() -> None:
    count = MOST_COMPARED + 50
    scores = torch.linspace(0.5, 1, count)  # the most confident last
    output = torch.cat((torch.full((4, count), 50.0), scores.unsqueeze(0))).unsqueeze(0)
    [found] = objects_in(output, 0.1, 0.7)
    assert found[:, 4].tolist() == [1.0]
