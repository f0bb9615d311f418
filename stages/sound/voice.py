"""How likely somebody speaks: silero's network, as faster-whisper brings it along."""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine import UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

INSTALL = "pip install 'penstock[speech]'"

WINDOW = 512
"""Samples that the network looks at: 32 ms."""

_CONTEXT = 64
"""Samples before a window that it sees too."""

BLOCK = 4096 * WINDOW
"""Samples at a time, 2 minutes: a track of hours never lies in memory as a whole. What is found
does not depend on it; after each one a busy process may let the network wait."""

_AHEAD = 2
"""Blocks that may wait for the network while a track is decoded."""


class VoiceNetwork:
    """Tells how likely somebody speaks, for any number of threads at once. Raises UsageError where
    its file is missing."""

    def __init__(self) -> None:
        import onnxruntime  # type: ignore[import-untyped]

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 4
        self._session = onnxruntime.InferenceSession(
            str(network()), options, providers=["CPUExecutionProvider"]
        )

    def along_a_track(self) -> "Callable[[NDArray[np.int16]], NDArray[np.float32]]":
        """A function that takes a track's samples piece by piece, in order, each of whole windows
        but for the last, and tells the probability of speech in each window. The last window is
        filled up with silence."""
        import numpy as np

        state: dict[str, Any] = {name: np.zeros((1, 1, 128), np.float32) for name in ("h", "c")}
        before = np.zeros(_CONTEXT, np.float32)

        def tell(samples: "NDArray[np.int16]") -> "NDArray[np.float32]":
            nonlocal before
            block = samples.astype(np.float32) / 32768
            line = np.concatenate([before, np.pad(block, (0, -len(block) % WINDOW))])
            windows = np.lib.stride_tricks.sliding_window_view(line, WINDOW + _CONTEXT)[::WINDOW]
            told, state["h"], state["c"] = self._session.run(
                None, {"input": np.ascontiguousarray(windows), **state}
            )
            before = line[-_CONTEXT:]
            return np.asarray(told, np.float32).reshape(-1)

        return tell


class Listening:
    """Has the network hear a track while it is being decoded, in a thread of its own, and keeps
    what it tells beside the track, for `heard_before`."""

    def __init__(self, network: VoiceNetwork) -> None:
        self._tell = network.along_a_track()
        self._pool = ThreadPoolExecutor(1, "penstock-listen")
        self._waiting: deque[Future[NDArray[np.float32]]] = deque()
        self._told: list[NDArray[np.float32]] = []
        self._pieces: list[NDArray[np.int16]] = []
        self._samples = 0

    def __enter__(self) -> "Listening":
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def hear(self, samples: "NDArray[np.int16]") -> None:
        """The next samples of the track, any number. Waits where the network is far behind."""
        import numpy as np

        self._pieces.append(samples)
        self._samples += len(samples)
        if self._samples < BLOCK:
            return
        whole = np.concatenate(self._pieces)
        end = len(whole) // WINDOW * WINDOW
        self._pieces, self._samples = [whole[end:]], len(whole) - end
        self._waiting.append(self._pool.submit(self._tell, whole[:end]))
        while len(self._waiting) > _AHEAD:
            self._told.append(self._waiting.popleft().result())

    def write(self, folder: Path) -> None:
        """The track has ended: keep what was told of it there."""
        import numpy as np

        if self._samples:
            self._waiting.append(self._pool.submit(self._tell, np.concatenate(self._pieces)))
        self._told += [one.result() for one in self._waiting]
        np.save(_kept_in(folder), np.concatenate(self._told or [np.empty(0, np.float32)]))


def heard_before(folder: Path) -> "NDArray[np.float32] | None":
    """What this network has told of the track in that folder, as `SpeechDetector.find` takes it;
    None where nobody has asked it."""
    import numpy as np

    file = _kept_in(folder)
    return np.load(file) if file.exists() else None


def _kept_in(folder: Path) -> Path:
    """Another network has a file of another name."""
    return folder / f"{network().stem}.npy"


def network() -> Path:
    """The network's file. Raises UsageError where it is missing."""
    package = find_spec("faster_whisper")
    folders = package.submodule_search_locations if package is not None else None
    for folder in folders or ():
        for file in sorted(Path(folder).glob("assets/silero_vad_v*.onnx"), reverse=True):
            return file
    raise UsageError(
        f"finding speech takes faster-whisper: {INSTALL}; or set stages.transcribe.backend to "
        f'"off" to do without speech'
    )
