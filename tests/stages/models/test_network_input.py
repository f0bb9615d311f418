"""The network's input: for a GPU by another way than for a CPU, and the same."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from stages.models.network_input import as_input, pixels_of


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("count", [1, 3])
def test_what_a_gpu_orders_by_itself_is_what_the_cpu_orders(count: int, half: bool) -> None:
    random = np.random.default_rng(count)
    images = [random.integers(0, 256, (64, 96, 3), np.uint8) for _ in range(count)]
    here = SimpleNamespace(device=torch.device("cpu"), fp16=half)
    there = SimpleNamespace(device=torch.device("cuda"), fp16=half)

    ordered = [pixels_of(image, here) for image in images]
    as_they_are = [pixels_of(image, there) for image in images]

    assert all(pixels.dtype == torch.uint8 for pixels in as_they_are)
    assert all(pixels.shape == (3, 64, 96) for pixels in ordered)
    found = as_input(as_they_are, here)
    assert found.shape == (count, 3, 64, 96)
    assert found.is_contiguous()
    assert torch.equal(found, as_input(ordered, here))
