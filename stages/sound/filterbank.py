"""The spectrogram that an Audio Spectrogram Transformer sees: Kaldi's log-mel filter banks.

They are those of transformers' ASTFeatureExtractor to within rounding, all frames at once. It goes
from frame to frame in Python, which takes ten times as long as the model does.
"""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from stages.models.pretrained import import_transformers
from stages.sound.track import RATE

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_FRAME = 400
_HOP = 160
_FFT = 512
"""Samples of a frame, from one to the next, and of the transform."""

_PREEMPHASIS = 0.97
_FLOOR = 1.192092955078125e-07


@contextmanager
def unwarned() -> Iterator[None]:
    """Says nothing of AudioSet's 128 bands, the lowest of which lie between two frequencies of the
    transform: so they did in training."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="At least one mel filter has all zero values")
        yield


class Filterbank:
    """Makes the input of the network for which `extractor`, an ASTFeatureExtractor, is made."""

    def __init__(self, extractor: Any) -> None:
        import numpy as np

        import_transformers()
        from transformers.audio_utils import mel_filter_bank, window_function

        self._extractor = extractor
        self._window: Any = window_function(_FRAME, "hann", periodic=False)
        with unwarned():
            self._filters: Any = np.asarray(
                mel_filter_bank(
                    num_frequency_bins=_FFT // 2 + 1,
                    num_mel_filters=extractor.num_mel_bins,
                    min_frequency=20,
                    max_frequency=RATE // 2,
                    sampling_rate=RATE,
                    norm=None,
                    mel_scale="kaldi",
                    triangularize_in_mel_space=True,
                )
            )

    def __call__(self, windows: "Sequence[NDArray[np.float32]]") -> "NDArray[np.float32]":
        """The spectrograms, of shape (windows, frames, bands); windows are mono, 16 kHz, -1 to 1.
        A window is filled up with silence, and what is too long is cut off."""
        import numpy as np

        extractor = self._extractor
        made = np.zeros((len(windows), extractor.max_length, extractor.num_mel_bins), np.float32)
        for one, window in zip(made, windows, strict=True):
            bands = self._bands(window)[: len(one)]
            one[: len(bands)] = bands
        if extractor.do_normalize:
            made = (made - np.float32(extractor.mean)) / np.float32(extractor.std * 2)
        return made

    def _bands(self, window: "NDArray[np.float32]") -> Any:
        import numpy as np

        whole = np.pad(window.astype(np.float64), (0, max(0, _FRAME - len(window))))
        frames = np.lib.stride_tricks.sliding_window_view(whole, _FRAME)[::_HOP]
        frames = frames - frames.mean(1, keepdims=True)
        before = np.concatenate([frames[:, :1], frames[:, :-1]], axis=1)
        spectrum = np.fft.rfft((frames - _PREEMPHASIS * before) * self._window, _FFT)
        power = np.abs(spectrum.astype(np.complex64)) ** 2
        return np.log(np.maximum(_FLOOR, power @ self._filters))
