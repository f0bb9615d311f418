"""One detector for all who ask for the same."""

from pathlib import Path

import numpy as np
import pytest

from engine import Loan, UsageError
from stages.demo.shapes import IMAGE_SIZE, WEIGHTS
from stages.models.detector import Detector, borrow_detector

PICTURE = np.zeros((36, 64, 3), np.uint8)


def lent(weights: Path = WEIGHTS, classes: tuple[str, ...] = ("star",)) -> Loan[Detector]:
    return borrow_detector(
        str(weights), classes=classes, image_size=IMAGE_SIZE, batch=2, device="cpu"
    )


def test_it_serves_until_the_last_has_given_it_back() -> None:
    first = lent()
    lent().give_back()
    assert first.thing.detect([PICTURE]) == [[]]
    first.give_back()
    with pytest.raises(RuntimeError, match="shutdown"):
        first.thing.detect([PICTURE])


def test_other_options_make_another_detector() -> None:
    with lent() as star, lent(classes=("circle",)) as circle:
        assert star.thing is not circle.thing


def test_what_cannot_be_loaded_is_tried_anew(tmp_path: Path) -> None:
    file = tmp_path / "model.pt"
    with pytest.raises(UsageError, match="do not exist"):
        lent(file)
    file.write_bytes(WEIGHTS.read_bytes())
    with lent(file) as loan:
        assert loan.thing.weights == file
