"""What does not fit into the memory of a GPU: half the batch, then the CPU, said once."""

import logging
from typing import Any

import pytest
import torch

from stages.models.devices import Placed


class Card(torch.nn.Linear):
    """A model that says where it was sent."""

    def __init__(self) -> None:
        super().__init__(1, 1)
        self.sent: list[str] = []

    def to(self, device: str) -> "Card":
        self.sent.append(device)
        return self


def test_half_the_batch_is_tried_and_kept(caplog: pytest.LogCaptureFixture) -> None:
    batches: list[int] = []

    def infer(model: Any, device: str, some: list[int]) -> list[int]:
        batches.append(len(some))
        if len(some) > 2:
            raise torch.cuda.OutOfMemoryError("no room")
        return [2 * one for one in some]

    placed = Placed(Card(), "cuda:0", 8, "halving")
    with caplog.at_level(logging.WARNING, "penstock"):
        assert placed.run(range(5), infer) == [0, 2, 4, 6, 8]
        assert batches == [5, 2, 2, 1]
        assert placed.run(range(5), infer) == [0, 2, 4, 6, 8]
    assert batches[4:] == [2, 2, 1]
    [line] = caplog.messages
    assert line == "halving: the memory of cuda:0 suffices for batches of 2, not for more"
    assert placed.device == "cuda:0"


def test_where_not_even_one_fits_the_cpu_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    def infer(model: Any, device: str, some: list[int]) -> list[str]:
        if device != "cpu":
            raise torch.cuda.OutOfMemoryError("no room")
        return [f"{one} on {device}" for one in some]

    with caplog.at_level(logging.WARNING, "penstock"):
        for _ in range(2):
            model = Card()
            assert Placed(model, "cuda:0", 4, "falling").run([1, 2], infer) == [
                "1 on cpu",
                "2 on cpu",
            ]
            assert model.sent == ["cuda:0", "cpu"]
    [line] = caplog.messages
    assert "falling: the memory of cuda:0 does not suffice" in line
    assert "the CPU goes on, more slowly" in line


def test_other_errors_are_raised() -> None:
    def infer(model: Any, device: str, some: list[int]) -> list[int]:
        raise torch.cuda.OutOfMemoryError("no room, and this is the CPU already")

    placed = Placed(Card(), "cpu", 4, "stuck")
    with pytest.raises(torch.cuda.OutOfMemoryError):
        placed.run([1], infer)
