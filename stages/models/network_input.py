"""Prepares images for a YOLO network exactly as ultralytics' predict does, to the last bit."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from torch import Tensor

Thing = TypeVar("Thing")


@dataclass(frozen=True, slots=True)
class Prepared:
    """One image for the network's input, letterboxed; `shape` is the image's own height and width.

    For a CPU `pixels` has the form of the network's input: (3, height, width), RGB, floats from 0
    to 1. For other devices it is (height, width, 3), BGR, bytes: the device orders them in no time.
    """

    pixels: "Tensor"
    shape: tuple[int, int]


LEAST_STRIDE = 32
"""The least that ultralytics takes as the stride of a .pt; for an export it takes what it is."""


def letterbox_of(
    model: Any, image_size: int | Sequence[int], *, as_torch: bool = False
) -> Callable[..., Any]:
    """ultralytics' own way to fit an image into the network's input, as its predict uses it.

    A network that takes any size gets the smallest rectangle, regardless of the other images of the
    batch. With `as_torch` an export gets the rectangle that its .pt would get.
    """
    from ultralytics.data.augment import LetterBox
    from ultralytics.utils.checks import check_imgsz

    any_size = model.format == "pt" or bool(getattr(model, "dynamic", False))
    if hasattr(model, "imgsz") and not any_size:
        image_size = model.imgsz
    stride = max(model.stride, LEAST_STRIDE) if as_torch else model.stride
    shape = check_imgsz(image_size, stride=stride, min_dim=2)  # type: ignore[no-untyped-call]
    return LetterBox(shape, auto=any_size, stride=stride)


def pixels_of(boxed: Any, model: Any) -> "Tensor":
    """A letterboxed image of shape (height, width, 3), BGR, bytes, as `Prepared` has it."""
    import numpy as np
    import torch

    if model.device.type != "cpu":
        return torch.from_numpy(boxed)
    planes = np.ascontiguousarray(boxed.transpose(2, 0, 1)[::-1])
    return normalised(torch.from_numpy(planes), model.fp16)


def as_input(pixels: list["Tensor"], model: Any) -> "Tensor":
    """The network's input, of shape (batch, 3, height, width), on the network's device."""
    import torch

    first = pixels[0]
    if first.is_floating_point():
        return first.unsqueeze(0) if len(pixels) == 1 else torch.stack(pixels)
    shape = (len(pixels), *first.shape)
    # Pinned, so that the copy does not wait for the device.
    batch = torch.empty(shape, dtype=first.dtype, pin_memory=model.device.type == "cuda")
    torch.stack(pixels, out=batch)
    there = batch.to(model.device, non_blocking=True)
    return normalised(there.flip(3).permute(0, 3, 1, 2).contiguous(), model.fp16)


def normalised(pixels: "Tensor", half: bool) -> "Tensor":
    """Bytes scaled to 0 to 1, by the operations of ultralytics' predict, to the last bit."""
    return (pixels.half() if half else pixels.float()).div_(255)


def batches_of(
    things: Iterable[Thing], most: int, shape: Callable[[Thing], object]
) -> Iterator[list[Thing]]:
    """The things in order, in batches of at most `most` neighbours with the same shape."""
    batch: list[Thing] = []
    for thing in things:
        if batch and (len(batch) == most or shape(thing) != shape(batch[0])):
            yield batch
            batch = []
        batch.append(thing)
    if batch:
        yield batch
