"""Imports ultralytics quietly and offline, and finds or fetches YOLO weights."""

import os
import sys
import threading
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from engine import UsageError
from stages.models.suppression import suppress

PATIENCE = 10.0
"""Seconds without an answer of the host after which there counts as being no network."""

SAFE_LOAD = "ULTRALYTICS_SAFE_LOAD"
"""The environment variable that tells ultralytics whether to load only weights."""

FORMATS = ("pt", "onnx", "engine", "openvino")
"""The accepted formats of weights, by ultralytics' names. Some of its other formats are programs
(TorchScript, TensorFlow, Paddle), and none has been tried."""

_patches: list[Any] = []
"""Keeps the operator definitions of `import_torchvision` alive as long as the process."""

_one_at_a_time = threading.Lock()
"""Two threads that import torchvision at once would define its operators twice."""


def cache_folder() -> Path:
    """The folder for fetched weights and ultralytics' own settings: $XDG_CACHE_HOME/penstock."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "penstock"


def import_ultralytics() -> Any:
    """The module `ultralytics`: without network use, installations or output, and without running
    code from a .pt file (see `load_weights_alone`).

    The import takes a second or two. Environment variables that a person has set stay as they are.
    """
    os.environ.setdefault(SAFE_LOAD, "true")
    os.environ.setdefault("YOLO_OFFLINE", "true")
    os.environ.setdefault("YOLO_AUTOINSTALL", "false")
    os.environ.setdefault("YOLO_VERBOSE", "false")
    os.environ.setdefault("YOLO_CONFIG_DIR", str(cache_folder()))
    import ultralytics
    from PIL import Image
    from ultralytics.utils import patches

    # It replaces Pillow's function for the whole process, by one that reports a file that is no
    # image as a missing package for HEIC.
    Image.open = getattr(patches, "_image_open", Image.open)
    for handler in ultralytics.utils.LOGGER.handlers:
        if getattr(handler, "stream", None) is sys.stdout:
            handler.setStream(sys.stderr)
    return ultralytics


def load_weights_alone() -> None:
    """Load .pt files without their code: tensors, plain values, and the layers that torch and
    ultralytics define. With ULTRALYTICS_SAFE_LOAD=false in the environment the user trusts the
    files.

    A .pt file is a pickle, and a pickle can call any function while it is read.
    """
    import_ultralytics()
    from ultralytics.nn import tasks

    if os.environ[SAFE_LOAD].strip().lower() not in ("false", "0", "no", "off"):
        # Also if a program imported it before, without this protection.
        vars(tasks)["SAFE_LOAD"] = True


def switch_off_telemetry() -> None:
    """Let runtimes that are imported later send nothing, and write no identifier of the user.

    By default ONNX Runtime reports to Microsoft, and OpenVINO, when it is imported and when it
    converts, to Intel through Google Analytics. ONNX Runtime has a variable for that, and OpenVINO
    does without where its package for it is missing. What a person has set stays as it is, and so
    does a runtime that the program has imported before.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    if "openvino" not in sys.modules:
        sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]


def import_torchvision() -> None:
    """Import torchvision, whatever its build: models of transformers that look at pictures need it,
    and ultralytics' own `predict`. The import takes a second, which a crawl does without.

    Beside a torch for the CPU, a torchvision built for CUDA cannot load its operators and does not
    import. One of the operators is of use, and this project implements it. They are defined
    before the import: one that failed would leave a torchvision without `ops` to other threads,
    such as one that looks at frames, which uses it as soon as it is there.
    """
    import torch

    with _one_at_a_time:
        fits = "torchvision" in sys.modules or _has_operators()
        if not fits:
            library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
            for name in ("nms", "qnms"):
                signature = f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
                library.define(signature)  # type: ignore[no-untyped-call]
            _patches.append(library)
        import torchvision

        if not fits:
            torchvision.ops.nms = suppress


def _has_operators() -> bool:
    """Whether the operators of the installed torchvision, if there is one, can be loaded here. It
    is not imported for that."""
    import torch

    spec = find_spec("torchvision")
    folders = spec.submodule_search_locations if spec is not None else None
    if not folders:
        return True  # the import tells
    files = [file for folder in folders for file in Path(folder).glob("_C.*")]
    try:
        for file in files:
            torch.ops.load_library(file)  # type: ignore[no-untyped-call]
    except OSError:
        return False
    return bool(files)


def find_weights(weights: str) -> Path:
    """The file or folder that `weights` names; raises UsageError where there is none.

    A path is taken as it is. A bare name is looked for in the current folder, then in
    `cache_folder()/weights`; if ultralytics publishes weights of that name they are downloaded
    there: over HTTPS from GitHub, without a hash to check. Without a network that fails within
    about ten seconds.
    """
    found = locate_weights(weights)
    if found is not None:
        return found
    if Path(weights).name != weights:
        raise UsageError(
            f"weights {weights} do not exist; put the file there or set stages.filter.weights"
        )
    cached = cache_folder() / "weights" / weights
    _fetch(cached)
    return cached


def locate_weights(weights: str) -> Path | None:
    """The file or folder that `weights` names, if it is on this machine already."""
    path = Path(os.path.expanduser(weights))  # noqa: PTH111 - never raises
    if path.exists():
        return path
    cached = cache_folder() / "weights" / weights
    return cached if path.name == weights and cached.exists() else None


def _fetch(file: Path) -> None:
    import httpx

    import_ultralytics()
    from ultralytics.utils.downloads import GITHUB_ASSETS_NAMES, attempt_download_asset

    if file.name not in GITHUB_ASSETS_NAMES:
        raise UsageError(
            f"weights {file.name} are neither here nor among those that ultralytics publishes; "
            f"put the file at {file} or set stages.filter.weights"
        )
    try:
        # ultralytics waits long for a silent host, so probe the host first.
        httpx.head("https://github.com", timeout=PATIENCE)
        file.parent.mkdir(parents=True, exist_ok=True)
        attempt_download_asset(file, retry=0, progress=False)
    except (httpx.HTTPError, OSError, MemoryError) as error:
        reason = " ".join(str(error.__cause__ or error).split())
        raise UsageError(
            f"weights {file.name} are not here and could not be fetched ({reason}); "
            f"put the file at {file} or set stages.filter.weights"
        ) from error
