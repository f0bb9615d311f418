"""Runs a loaded YOLO model on several batches at once, each in a thread of its own.

One inference rarely fills a machine. On a CPU its operators wait for each other at every layer, so
one single-threaded inference per core gets more done in the same processor time; on a GPU the next
one's kernels have to be waiting when this one's end.

On a CPU every inference has one thread, on any number of cores: with another number of threads
kernels add up in another order, and the last bits of the results would depend on the machine's load
or size.
"""

import copy
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from queue import SimpleQueue
from typing import Any, TypeVar

from engine import available_cores

Answer = TypeVar("Answer")
Thing = TypeVar("Thing")
Outcome = TypeVar("Outcome")

MOST_STREAMS = 32
"""The most inferences at once on a CPU, each on a core; further cores are left to other stages."""

ON_CPU = "CPUExecutionProvider"

GPU_STREAMS = 2
"""Inferences at once on a GPU: one computes while data of another is copied."""


class Streams:
    """Copies of a loaded model, which share its weights; each is used by one thread at a time.

    `model` is ultralytics' AutoBackend, loaded from `weights`. A format whose runtime runs one
    inference at a time gets one stream. With `exact` OpenVINO computes in single precision, also on
    a processor on which it would take half for the speed.
    """

    def __init__(self, model: Any, weights: Path, *, exact: bool = False) -> None:
        models = _copies(model, weights, exact)
        _wait_for(model.device)
        self._on_cpu = model.device.type == "cpu"
        self._models: SimpleQueue[tuple[Any, AbstractContextManager[Any]]] = SimpleQueue()
        for one in models:
            self._models.put((one, _own_queue(model.device)))
        self._count = len(models)
        self._pool = ThreadPoolExecutor(len(self), "penstock-infer", self._start_thread)

    def __len__(self) -> int:
        """Number of inferences that run at once."""
        return self._count

    def submit(self, infer: Callable[[Any], Answer]) -> Future[Answer]:
        """Call `infer(model)` in the first free stream; first come, first served."""
        return self._pool.submit(self._run, infer)

    def run_here(self, infer: Callable[[Any], Answer]) -> Answer:
        """Call `infer(model)` in this thread, in a free stream."""
        return self._run(infer)

    def close(self) -> None:
        """Finish all submitted inferences."""
        self._pool.shutdown()

    def _run(self, infer: Callable[[Any], Answer]) -> Answer:
        import torch

        model, queue = self._models.get()
        try:
            with queue, torch.inference_mode():
                return infer(model)
        finally:
            self._models.put((model, queue))

    def _start_thread(self) -> None:
        import torch

        if self._on_cpu:
            torch.set_num_threads(1)  # of this thread alone


def in_order(
    start: Callable[[Thing], Future[Outcome]], things: Iterable[Thing], ahead: int
) -> Generator[tuple[Thing, Outcome], None, None]:
    """Each thing with its result, in order, while `ahead` further ones have been started already.

    Raises the error of a thing's future. Close it if you leave it early: waiting ones are then
    cancelled.
    """
    waiting: deque[tuple[Thing, Future[Outcome]]] = deque()
    try:
        for thing in things:
            waiting.append((thing, start(thing)))
            if len(waiting) > ahead:
                first, future = waiting.popleft()
                yield first, future.result()
        while waiting:
            first, future = waiting.popleft()
            yield first, future.result()
    finally:
        for _, future in waiting:
            future.cancel()


def _copies(model: Any, weights: Path, exact: bool) -> list[Any]:
    """The model and its copies, one for each inference at once."""
    kind = model.device.type
    streams = min(available_cores(), MOST_STREAMS)
    if model.format == "pt" and kind in ("cpu", "cuda"):
        count = streams if kind == "cpu" else GPU_STREAMS
        return [model, *(_copy_of_torch(model) for _ in range(1, count))]
    if model.format == "onnx" and model.backend.session.get_providers() == [ON_CPU]:
        model.backend.session = _onnx_session(weights)
        return [model] * streams
    if model.format == "openvino" and _recompile_openvino(model.backend, weights, streams, exact):
        return [model, *(_copy_of_openvino(model) for _ in range(1, streams))]
    return [model]


def _onnx_session(weights: Path) -> Any:
    """A session that any number of threads may use at once; each inference
    runs in its caller's thread."""
    import onnxruntime  # type: ignore[import-untyped]

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(str(weights), options, providers=[ON_CPU])


def _recompile_openvino(backend: Any, weights: Path, streams: int, exact: bool) -> bool:
    """Compile the network for `streams` inferences at once; False where that is not possible.

    ultralytics compiles it for one at a time, each on all cores, and some networks anew for each
    shape of input.
    """
    import openvino

    compiled = backend.ov_compiled_model
    if compiled.get_property("EXECUTION_DEVICES") != ["CPU"] or backend.read_model is not None:
        return False
    kept = ("INFERENCE_PRECISION_HINT", "EXECUTION_MODE_HINT")
    properties = {name: compiled.get_property(name) for name in kept}
    properties |= {"PERFORMANCE_HINT": "THROUGHPUT", "NUM_STREAMS": str(streams)}
    properties["INFERENCE_NUM_THREADS"] = str(streams)  # one each
    if exact:
        properties |= {"INFERENCE_PRECISION_HINT": "f32", "EXECUTION_MODE_HINT": "ACCURACY"}
    graph = weights if weights.is_file() else next(weights.glob("*.xml"))
    core = openvino.Core()
    backend.ov_compiled_model = core.compile_model(core.read_model(graph), "CPU", properties)
    return True


def _copy_of_torch(model: Any) -> Any:
    """A model of the same parameters, but with its own caches (the grid of its detection head)."""
    twin, module = _shallow(model), model.backend.model
    shared = {id(parameter): parameter for parameter in module.parameters()}
    twin.backend.model = copy.deepcopy(module, shared)
    return twin


def _copy_of_openvino(model: Any) -> Any:
    """The same compiled model with a request of its own."""
    twin = _shallow(model)
    compiled = twin.backend.ov_compiled_model
    twin.backend.ov_compiled_model = type(compiled)(compiled)
    return twin


def _wait_for(device: Any) -> None:
    """Wait until what was asked of a GPU until now is done, such as copying weights to it: queues
    of their own do not wait for it."""
    import torch

    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _own_queue(device: Any) -> AbstractContextManager[Any]:
    """On CUDA, a queue of kernels separate from the other streams' queues."""
    import torch

    if device.type != "cuda":
        return nullcontext()
    return torch.cuda.stream(torch.cuda.Stream(device))  # type: ignore[no-untyped-call]


def _shallow(model: Any) -> Any:
    twin = copy.copy(model)
    twin.backend = copy.copy(model.backend)
    return twin
