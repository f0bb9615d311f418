"""Where there is speech: silero's voice activity detection, as faster-whisper brings it along."""

from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine import UsageError, checkpoint
from stages.sound.track import RATE
from stages.speech.chunk_plan import SHORTEST_SILENCE
from stages.speech.spans import SampleSpan

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

INSTALL = "pip install 'penstock[speech]'"

WINDOW = 512
"""Samples that the network looks at: 32 ms."""

_CONTEXT = 64
"""Samples before a window that it sees too."""

_BLOCK = 4096
"""Windows at a time, 2 minutes: a track of hours never lies in memory as a whole."""

_LOWER = 0.15
"""How far under the threshold a probability has to fall before speech has ended."""

_SHORTEST_SPEECH = RATE // 10
"""Samples: what is shorter is a click, not a word."""


class SpeechDetector:
    """Finds speech in samples. Raises UsageError where the network is missing."""

    def __init__(self, threshold: float) -> None:
        import onnxruntime  # type: ignore[import-untyped]

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 4
        self._session = onnxruntime.InferenceSession(
            str(network()), options, providers=["CPUExecutionProvider"]
        )
        self._threshold = threshold

    def find(self, samples: "NDArray[np.int16]") -> list[SampleSpan]:
        """Speech in samples of shape (samples,), in order."""
        found = speech_spans(self._probabilities(samples), self._threshold)
        return [SampleSpan(one.start, min(one.end, len(samples))) for one in found]

    def _probabilities(self, samples: "NDArray[np.int16]") -> Iterator[float]:
        """That of speech in each window, the last of which is filled up with silence."""
        import numpy as np

        state: dict[str, Any] = {name: np.zeros((1, 1, 128), np.float32) for name in ("h", "c")}
        before = np.zeros(_CONTEXT, np.float32)
        for start in range(0, len(samples), _BLOCK * WINDOW):
            checkpoint()
            block = samples[start : start + _BLOCK * WINDOW].astype(np.float32) / 32768
            block = np.pad(block, (0, -len(block) % WINDOW))
            line = np.concatenate([before, block])
            windows = np.lib.stride_tricks.sliding_window_view(line, WINDOW + _CONTEXT)[::WINDOW]
            told, state["h"], state["c"] = self._session.run(
                None, {"input": np.ascontiguousarray(windows), **state}
            )
            before = line[-_CONTEXT:]
            yield from (float(one) for one in np.asarray(told).reshape(-1))


def speech_spans(probabilities: Iterable[float], threshold: float) -> list[SampleSpan]:
    """Speech, where `probabilities` are those of the windows one after the other.

    It begins where one reaches the threshold, and ends where they stay well under it for as long as
    a chunk may be cut in.
    """
    found: list[SampleSpan] = []
    begin = quiet = None
    number = -1
    for number, probability in enumerate(probabilities):
        at = number * WINDOW
        if probability >= threshold:
            begin, quiet = at if begin is None else begin, None
        elif begin is not None and probability < threshold - _LOWER:
            quiet = at if quiet is None else quiet
            if at + WINDOW - quiet >= SHORTEST_SILENCE:
                found.append(SampleSpan(begin, quiet))
                begin = quiet = None
    if begin is not None:
        found.append(SampleSpan(begin, quiet or (number + 1) * WINDOW))
    return [one for one in found if one.length >= _SHORTEST_SPEECH]


def network() -> Path:
    """The network's file. Raises UsageError where it is missing."""
    package = find_spec("faster_whisper")
    folders = package.submodule_search_locations if package is not None else None
    for folder in folders or ():
        for file in sorted(Path(folder).glob("assets/silero_vad_v*.onnx"), reverse=True):
            return file
    raise UsageError(
        f"finding speech takes faster-whisper: {INSTALL}; or set stages.transcribe.backend to "
        f'"off" for scenes without speech'
    )
