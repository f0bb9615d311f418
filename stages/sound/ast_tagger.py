"""Tags sounds with an Audio Spectrogram Transformer: AudioSet's 527 labels, and any of its kind.

Gong, Chung, Glass: AST: Audio Spectrogram Transformer (2021).
"""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine import UsageError
from stages.models.devices import Placed
from stages.models.pretrained import load_pretrained
from stages.sound.track import RATE

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

USUAL = 10.0
"""Seconds of the clips that AudioSet consists of."""

_LEAST = 400
"""Samples of one frame of the spectrogram."""

_FRAME = 0.01
"""Seconds from one column of the spectrogram to the next."""


class AstTagger:
    """An AST from a folder, on a device. AudioSet's labels do not exclude one another, so each has
    a score of its own (a sigmoid, no softmax). Not for two threads at once."""

    def __init__(self, folder: Path, name: str, *, device: str, batch: int, step: str) -> None:
        """Raises UsageError where the folder holds no such model."""
        import torch

        self.name = name
        with warnings.catch_warnings():
            # Of AudioSet's 128 bands the lowest lie between two frequencies: so in training, too.
            warnings.filterwarnings("ignore", message="At least one mel filter has all zero values")
            self._prepare: Any = load_pretrained("AutoFeatureExtractor", folder, step)
        model = load_pretrained(
            "ASTForAudioClassification", folder, step, use_safetensors=True, dtype=torch.float32
        )
        if self._prepare.sampling_rate != RATE:
            raise UsageError(
                f"the model in {folder} takes {self._prepare.sampling_rate} samples a second, and "
                f"sound here has {RATE}; set stages.{step}.model to another"
            )
        names = model.config.id2label
        self.labels: Sequence[str] = [names[number] for number in range(len(names))]
        self.longest = self._prepare.max_length * _FRAME
        self.usual = min(USUAL, self.longest)
        self._placed = Placed(model, device, batch, step)

    def scores(self, windows: "Sequence[NDArray[np.float32]]") -> "NDArray[np.float32]":
        """As `Tagger.scores`."""
        import numpy as np

        return np.stack(self._placed.run(windows, self._infer))

    def _infer(self, model: Any, device: str, windows: list[Any]) -> list[Any]:
        import numpy as np

        # A list of arrays of one dimension: it takes an array of two for something else. A sound
        # needs one frame of the spectrogram at least.
        whole = [np.pad(one, (0, max(0, _LEAST - len(one)))) for one in windows]
        inputs = self._prepare(whole, sampling_rate=RATE, return_tensors="pt").to(device)
        return list(model(**inputs).logits.float().sigmoid().cpu().numpy())
