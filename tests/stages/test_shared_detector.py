"""One model for all who ask for the same: loaded once, closed when nobody uses it any more."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from engine import UsageError
from stages.demo.shapes import IMAGE_SIZE, WEIGHTS
from stages.shared_detector import DetectorOptions, borrow, give_back

OPTIONS = DetectorOptions(
    weights=str(WEIGHTS),
    classes=("star",),
    confidence=0.35,
    iou=0.7,
    image_size=IMAGE_SIZE,
    batch=2,
    device="cpu",
    half=False,
)

PICTURE = np.zeros((36, 64, 3), np.uint8)


def test_all_who_ask_at_once_get_one_detector() -> None:
    with ThreadPoolExecutor(4) as threads:
        borrowed = list(threads.map(borrow, [OPTIONS] * 4))
    assert len({id(detector) for detector in borrowed}) == 1
    for _ in borrowed:
        give_back(OPTIONS)


def test_it_serves_until_the_last_has_given_it_back() -> None:
    first = borrow(OPTIONS)
    borrow(OPTIONS)
    give_back(OPTIONS)
    assert first.detect([PICTURE]) == [[]]
    give_back(OPTIONS)
    with pytest.raises(RuntimeError, match="shutdown"):
        first.detect([PICTURE])

    second = borrow(OPTIONS)
    assert second is not first
    assert second.detect([PICTURE]) == [[]]
    give_back(OPTIONS)


def test_other_options_make_another_detector() -> None:
    other = replace(OPTIONS, classes=("circle",))
    assert borrow(OPTIONS) is not borrow(other)
    give_back(OPTIONS)
    give_back(other)


def test_what_cannot_be_loaded_fails_for_all_and_is_tried_anew(tmp_path: Path) -> None:
    file = tmp_path / "model.pt"
    options = replace(OPTIONS, weights=str(file))
    with ThreadPoolExecutor(2) as threads:
        for refused in [threads.submit(borrow, options) for _ in range(2)]:
            with pytest.raises(UsageError, match="do not exist"):
                refused.result()

    file.write_bytes(WEIGHTS.read_bytes())
    assert borrow(options).weights == file
    give_back(options)
