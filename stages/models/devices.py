"""The device of a model: its setting, the GPU that a step needs for it, and what does not fit."""

import logging
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

from pydantic import AfterValidator

from engine import setting
from stages.models.loading import gpu_of


def _names_a_device(device: str) -> str:
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", device):
        raise ValueError('has to be "auto", "cuda", "cuda:1" (any number), "mps" or "cpu"')
    return device


DeviceName = Annotated[str, AfterValidator(_names_a_device)]
"""The type of a setting that names a device."""


def device_setting(but: str = "") -> Any:
    """The setting `device` of a step with a model; `but` says what it does not hold for."""
    return setting(
        "auto",
        f'Where the model runs: "auto", "cuda", "cuda:1", "mps" or "cpu"{but}.',
        affects_output=False,
    )


def gpu_needs(device: str, made_of: Mapping[str, Any] | None = None) -> Mapping[str, int]:
    """What `Stage.needs` answers for a model on `device`: the GPU, once for all workers, who feed
    one model. So models of several steps take turns on it. Nothing on a CPU, whose cores all
    stages share, as for a model that another runtime than torch runs (`find_made_of`)."""
    on_cpu = (made_of or {}).get("runtime", "torch") != "torch"
    gpu = None if on_cpu else gpu_of(device)
    return {gpu: 1} if gpu is not None else {}


def predict_in_batches(
    predict: Callable[[list[Any]], list[Any]], things: Sequence[Any], batch: int
) -> tuple[list[Any], int]:
    """`predict` over the things, `batch` at a time: all results, and the batch that fitted.

    When CUDA memory runs out the batch is halved, and the things that did not fit are done again.
    With one thing left, the error is raised.
    """
    import torch

    found: list[Any] = []
    while len(found) < len(things):
        part = list(things[len(found) : len(found) + batch])
        try:
            found += predict(part)
        except torch.cuda.OutOfMemoryError:
            if len(part) == 1:
                raise
            batch = len(part) // 2
        else:
            continue
        # Free the memory only here: until now the error kept the tensors alive.
        torch.cuda.empty_cache()
    return found, batch


class Placed:
    """A torch model on its device, which computes in batches that fit.

    Where the memory of a GPU does not suffice for a batch, half of it is tried, and with one thing
    left the model goes to the CPU; each is said once. Not for two threads at once.
    """

    def __init__(self, model: Any, device: str, batch: int, step: str) -> None:
        """`step` names whose model it is, in what is said."""
        self.device = device
        self._model = model.to(device).eval()
        self._batch = batch
        self._step = step

    def run(
        self, things: Sequence[Any], infer: Callable[[Any, str, list[Any]], list[Any]]
    ) -> list[Any]:
        """`infer(model, device, some)` for all things in batches: one result for each, in order."""
        import torch

        def predict(some: list[Any]) -> list[Any]:
            with torch.inference_mode():
                return infer(self._model, self.device, some)

        try:
            found, enough = predict_in_batches(predict, things, self._batch)
        except torch.cuda.OutOfMemoryError:
            if self.device == "cpu":
                raise
            say_no_room(self._step, self.device)
            self._model = self._model.to("cpu")
            self.device = "cpu"
        else:
            if enough < self._batch:
                say_smaller_batch(self._step, self.device, enough)
            self._batch = min(self._batch, enough)
            return found
        torch.cuda.empty_cache()
        return self.run(things, infer)


_said: set[str] = set()
_lock = threading.Lock()


def say_no_room(step: str, device: str) -> None:
    """Tell a person, once a process, that the model of a step goes on on the CPU."""
    _say_once(
        step,
        f"{step}: the memory of {device} does not suffice for one picture or window beside what "
        f"else is on it; the CPU goes on, more slowly",
    )


def say_smaller_batch(step: str, device: str, batch: int) -> None:
    """Tell a person, once a process and size, that batches of a step are smaller from now on."""
    _say_once(step, f"{step}: the memory of {device} suffices for batches of {batch}, not for more")


def _say_once(step: str, line: str) -> None:
    with _lock:
        if line in _said:
            return
        _said.add(line)
    logging.getLogger(f"penstock.{step}").warning("%s", line)
