"""One model for all who ask for the same: loaded once, closed when nobody uses it any more."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from engine import UsageError
from stages.demo.shapes import IMAGE_SIZE, WEIGHTS
from stages.models.detector import Detector
from stages.models.shared_detector import borrow, give_back

PICTURE = np.zeros((36, 64, 3), np.uint8)


def lent(weights: Path = WEIGHTS, classes: tuple[str, ...] = ("star",)) -> Detector:
    return borrow(str(weights), classes=classes, image_size=IMAGE_SIZE, batch=2, device="cpu")


def test_all_who_ask_at_once_get_one_detector() -> None:
    with ThreadPoolExecutor(4) as threads:
        asked = [threads.submit(lent) for _ in range(4)]
    borrowed = [one.result() for one in asked]
    assert len({id(detector) for detector in borrowed}) == 1
    for detector in borrowed:
        give_back(detector)


def test_it_serves_until_the_last_has_given_it_back() -> None:
    first = lent()
    give_back(lent())
    assert first.detect([PICTURE]) == [[]]
    give_back(first)
    with pytest.raises(RuntimeError, match="shutdown"):
        first.detect([PICTURE])

    second = lent()
    assert second is not first
    assert second.detect([PICTURE]) == [[]]
    give_back(second)


def test_other_options_make_another_detector() -> None:
    star, circle = lent(), lent(classes=("circle",))
    assert star is not circle
    give_back(star)
    give_back(circle)


def test_what_cannot_be_loaded_fails_for_all_and_is_tried_anew(tmp_path: Path) -> None:
    file = tmp_path / "model.pt"
    with ThreadPoolExecutor(2) as threads:
        for refused in [threads.submit(lent, file) for _ in range(2)]:
            with pytest.raises(UsageError, match="do not exist"):
                refused.result()

    file.write_bytes(WEIGHTS.read_bytes())
    detector = lent(file)
    assert detector.weights == file
    give_back(detector)
