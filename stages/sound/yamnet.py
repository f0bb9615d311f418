"""Tags sounds with YAMNet, as ONNX or as TensorFlow Lite: 521 of AudioSet's labels, each second.

It is small and quick, hears short sounds, and needs no torch.
"""

import csv
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine import UsageError
from stages.models.yolo import switch_off_telemetry
from stages.sound.track import RATE

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SUFFIXES = (".onnx", ".tflite")

USUAL = 0.975
"""Seconds that it looks at: 96 columns of its spectrogram, each of 10 ms, and the last one's
window."""

LABELS = "yamnet_class_map.csv"
"""The file with the names of its labels, beside it: as it comes with YAMNet, with a column
`display_name`."""


class Yamnet:
    """A YAMNet, whose input is a waveform. Not for two threads at once."""

    longest = USUAL
    usual = USUAL

    def __init__(self, file: Path, step: str) -> None:
        """Raises UsageError where it cannot be used."""
        self.name = file.name
        check_yamnet(file, step)
        self.labels: Sequence[str] = _labels(file)
        try:
            self._run, self._shape = _onnx(file) if file.suffix == ".onnx" else _tflite(file)
        # Each runtime raises its own exceptions for an unreadable file.
        except Exception as error:
            reason = " ".join(str(error).split())[:200]
            raise UsageError(
                f"{file} cannot be loaded ({reason}); set stages.{step}.model to another"
            ) from error

    def scores(self, windows: "Sequence[NDArray[np.float32]]") -> "NDArray[np.float32]":
        """As `Tagger.scores`."""
        import numpy as np

        length = round(USUAL * RATE)
        found = []
        for window in windows:
            whole = np.zeros(length, np.float32)
            whole[: len(window)] = window[:length]
            scores = self._run(whole[None] if len(self._shape) == 2 else whole)
            found.append(np.asarray(scores, np.float32).reshape(-1, len(self.labels)).mean(0))
        return np.stack(found)


def check_yamnet(file: Path, step: str) -> None:
    """Raises UsageError, with what to do about it, where the model, its labels, or what runs it are
    missing."""
    remedy = f'or set stages.{step}.model = "" to do without {step}'
    for wanted in (file, file.with_name(LABELS)):
        if not wanted.is_file():
            raise UsageError(f"{wanted}, for {step}, is not there; put it there, {remedy}")
    if file.suffix == ".tflite" and find_spec("ai_edge_litert") is None:
        raise UsageError(
            f"{file.name} takes the Python package ai-edge-litert, which is not installed; "
            f"pip install ai-edge-litert, {remedy}"
        )


def _labels(file: Path) -> list[str]:
    with file.with_name(LABELS).open(newline="") as lines:
        return [line["display_name"] for line in csv.DictReader(lines)]


_Run = Callable[[Any], Any]


def _onnx(file: Path) -> tuple[_Run, Sequence[object]]:
    switch_off_telemetry()
    import onnxruntime  # type: ignore[import-untyped]

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    wanted = session.get_inputs()[0]
    return lambda sound: session.run(None, {wanted.name: sound})[0], wanted.shape


def _tflite(file: Path) -> tuple[_Run, Sequence[object]]:
    from ai_edge_litert.interpreter import Interpreter

    interpreter: Any = Interpreter(str(file), num_threads=1)
    interpreter.allocate_tensors()
    [wanted], answer = interpreter.get_input_details(), interpreter.get_output_details()[0]

    def run(sound: Any) -> Any:
        interpreter.set_tensor(wanted["index"], sound)
        interpreter.invoke()
        return interpreter.get_tensor(answer["index"])

    return run, tuple(wanted["shape"])
