"""Loads a YOLO model with ultralytics: its weights, its device, the fixed input of its graph."""

import gc
import os
import pickle
import platform
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from engine import ConfigError, UsageError
from stages.models.yolo import FORMATS, load_weights_alone, switch_off_telemetry


def choose_device(device: str) -> str:
    """The device that `device` stands for: "auto" is CUDA, else Apple's MPS, else the CPU.

    Raises ConfigError for a device that torch does not see.
    """
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    mps = torch.backends.mps.is_available()
    if device == "auto":
        return "cuda:0" if count else "mps" if mps else "cpu"
    kind, _, number = device.partition(":")
    if (kind == "cuda" and int(number or 0) >= count) or (kind == "mps" and not mps):
        seen = [f"cuda:{index}" for index in range(count)] + ["mps"] * mps + ["cpu"]
        raise ConfigError(
            f"stages.filter.device = {device!r}: torch sees no such device here; "
            f"use one of {', '.join(seen)}, or auto"
        )
    return f"cuda:{number or 0}" if kind == "cuda" else kind


def gpu_of(device: str, machine: Path = Path("/")) -> str | None:
    """The GPU that `device` very likely means on this machine, by torch's name; None for the CPU.

    torch knows for sure, and takes seconds to import. `machine` is the root of its files.
    """
    if device != "auto":
        return {"cpu": None, "cuda": "cuda:0"}.get(device, device)
    if sys.platform == "darwin":
        return "mps" if platform.machine() == "arm64" else None
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1")
    there = any((machine / "dev").glob("nvidia[0-9]*")) or (machine / "dev" / "dxg").exists()
    return "cuda:0" if there and not hidden else None


@contextmanager
def told_by(step: str, setting: str = "weights") -> Iterator[None]:
    """Errors in the block name this step's settings: those of this room name filter's, which was
    its first user. `setting` is the one that names the model."""
    try:
        yield
    except UsageError as error:
        told = str(error).replace("stages.filter.weights", f"stages.{step}.{setting}")
        raise type(error)(told.replace("stages.filter.", f"stages.{step}.")) from error


@contextmanager
def uncollected() -> Iterator[None]:
    """Do not look for cyclic garbage in the block: while torch is imported Python would go through
    its hundred thousands of objects again and again, a sixth of the time that a model takes to
    load, and hold its lock meanwhile."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def load_predictor(weights: Path, arguments: dict[str, Any]) -> Any:
    """ultralytics' predictor for these weights, with the model loaded. Raises UsageError."""
    load_weights_alone()
    switch_off_telemetry()
    from ultralytics.models.yolo.detect import DetectionPredictor
    from ultralytics.nn.autobackend import AutoBackend

    if AutoBackend._model_type(str(weights)) not in FORMATS:
        raise unusable(
            weights,
            "not a .pt, .onnx or .engine file, nor an OpenVINO folder named ..._openvino_model",
        )
    predictor: Any = DetectionPredictor(
        overrides={
            "task": "detect",
            "mode": "predict",
            "rect": True,
            "save": False,
            "verbose": False,
            **arguments,
        }
    )
    try:
        # Given a bare name of a damaged file, ultralytics deletes it and fetches its own.
        bare = weights.name == str(weights)
        predictor.setup_model(f"./{weights}" if bare else str(weights), verbose=False)
    except ModuleNotFoundError as error:
        raise UsageError(
            f"weights {weights.name} need the Python package {error.name}, which is not installed; "
            f"install it or set stages.filter.weights to another format"
        ) from error
    # Each format's runtime raises its own exceptions for an unreadable file.
    except Exception as error:
        raise unusable(weights, _why_not(error)) from error
    backend = predictor.model.backend
    task = getattr(backend.model, "task", None) or backend.task or "detect"
    if task != "detect":
        raise unusable(weights, f"its task is {task!r}")
    if predictor.model.format == "pt" and predictor.model.end2end:
        # As in predict: the wanted classes are selected before the list is cut to its maximum.
        backend.model.set_head_attr(
            max_det=max(predictor.args.max_det, 300), agnostic_nms=predictor.args.agnostic_nms
        )
    return predictor


def fixed_input(backend: Any) -> tuple[int | None, int | None, int | None]:
    """Batch, height and width that a graph was exported with; None for each that is free."""
    if hasattr(backend, "session"):
        shape = backend.session.get_inputs()[0].shape
    elif hasattr(backend, "ov_compiled_model"):
        partial = backend.ov_compiled_model.input().get_partial_shape()
        shape = [size.get_length() if size.is_static else None for size in partial]
    else:
        return None, None, None
    batch, _, height, width = (size if isinstance(size, int) else None for size in shape)
    return batch, height, width


def coco_names() -> dict[int, str]:
    """The names of the classes of COCO, by number."""
    from ultralytics.nn.autobackend import default_class_names

    return dict(default_class_names("coco.yaml"))


def _why_not(error: Exception) -> str:
    """The reason why weights did not load, in one line."""
    if isinstance(error, UnicodeError) or "incompatible constructor arguments" in str(error):
        return "its path holds bytes that are no UTF-8, which its runtime cannot open"
    refused = isinstance(error.__cause__, pickle.UnpicklingError)
    found = re.search(r"GLOBAL (\S+)", str(error.__cause__)) if refused else None
    if found is not None:
        return (
            f"it holds {found[1]}, and of a .pt file only weights and ultralytics' own layers are "
            f"loaded, never code; where you trust it, export it to ONNX"
        )
    if refused or isinstance(error, LookupError):
        return "it is damaged, or no model"
    line = str(error).strip().partition("\n")[0].removeprefix("ERROR \u274c\ufe0f ")
    return line or type(error).__name__


def unusable(weights: Path, reason: str) -> UsageError:
    """The error for weights that are no detection model, or cannot be loaded."""
    return UsageError(
        f"weights {weights} cannot be used ({reason}); "
        f"set stages.filter.weights to a YOLO detection model"
    )
