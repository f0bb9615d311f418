"""What runs a network: torch, or on a CPU a faster runtime, into whose format a .pt is exported."""

import logging
from collections.abc import Mapping
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from engine import ConfigError
from stages.models.content import content_hash
from stages.models.exports import ExportError, exported
from stages.models.loading import gpu_of
from stages.models.yolo import find_weights, locate_weights

Runtime = Literal["torch", "onnx", "openvino"]

PREFERRED: tuple[Runtime, ...] = ("openvino", "onnx", "torch")
"""On a CPU. The first two are about as fast as each other in single precision; only OpenVINO has
half, where `half` allows it."""

PACKAGES = {"torch": ("torch",), "onnx": ("onnx", "onnxruntime"), "openvino": ("openvino",)}
"""The packages with which a .pt is exported for a runtime, and run."""

NAMES = {"torch": "torch", "onnx": "ONNX Runtime", "openvino": "OpenVINO"}

UNRECORDED: Mapping[str, Any] = {"runtime": "torch"}
"""What detectors were made of before that was recorded, apart from the weights."""

FORMATS = {".pt": "torch", ".onnx": "onnx", ".engine": "TensorRT"}
"""What runs the weights in a file with this ending."""


def find_made_of(
    weights: str,
    *,
    runtime: Literal["auto"] | Runtime,
    device: str,
    image_size: int,
    earlier: Mapping[str, Any] | None,
    step: str = "filter",
) -> Mapping[str, Any]:
    """What a detector is made of beside its settings: `name` and `content`, the hash, of its
    weights, and for a .pt the `runtime` that runs them.

    `earlier` is the answer for the work that is there already, as `Stage.find_ingredients` has it,
    or UNRECORDED. With "auto" the runtime stays what it was, so that finished work is not done
    again when a faster runtime is installed. Weights that are not on this machine are fetched only
    where none were used before.

    A .pt is exported here if that has not been done before. Where it cannot be, "auto" means torch,
    and a line says so. Lines for a person name `step`. Raises UsageError.
    """
    _check_format(weights, runtime)
    found = locate_weights(weights)
    if found is None and earlier is not None and earlier.get("name", weights) == weights:
        return earlier if "content" in earlier else {}
    found = found or find_weights(weights)
    made_of = {"name": weights, "content": content_hash(found)}
    if found.suffix != ".pt":
        return _told(made_of, earlier, step)
    before = _runtime_before(earlier, made_of["content"])
    chosen = choose_runtime(runtime, device, before)
    if chosen not in ("torch", before):
        try:
            exported(found, made_of["content"], chosen, image_size)
        except ExportError as error:
            if runtime != "auto":
                raise
            _logger(step).warning("%s: %s; torch runs the model, which is slower", step, error)
            chosen = "torch"
    if runtime == "auto" and chosen == before:
        _tell_of_a_faster_one(weights, device, chosen, step)
    return _told(made_of | {"runtime": chosen}, earlier, step)


def choose_runtime(
    wanted: Literal["auto"] | Runtime, device: str, before: Runtime | None = None
) -> Runtime:
    """What is to run a .pt on `device`. `before` is what ran it until now: "auto" stays with that
    where it can, else means torch on a GPU, and on a CPU the first of PREFERRED that is installed.

    Raises ConfigError for a runtime that is not installed, or not meant for the device.
    """
    on_cpu = device in ("auto", "cpu")
    if wanted == "auto":
        if not on_cpu:
            return "torch"
        if before is not None and is_installed(before):
            return before
        if sees_gpu(device):
            return "torch"
        return next(filter(is_installed, PREFERRED))
    if wanted != "torch" and not on_cpu:
        raise ConfigError(
            f"stages.filter.runtime = {wanted!r} is for the CPU, and stages.filter.device is "
            f"{device!r}; set one of them to 'auto'"
        )
    if not is_installed(wanted):
        missing = " and ".join(name for name in PACKAGES[wanted] if find_spec(name) is None)
        raise ConfigError(
            f"stages.filter.runtime = {wanted!r} needs the Python package {missing}, which is not "
            f"installed; pip install 'penstock[{wanted}]', or set it to 'auto'"
        )
    return wanted


def is_installed(runtime: Runtime) -> bool:
    """Whether this runtime's packages are there; none is imported."""
    return all(find_spec(name) is not None for name in PACKAGES[runtime])


def sees_gpu(device: str) -> bool:
    """Whether `device` very likely means a GPU that torch sees: its build for the CPU sees none."""
    return gpu_of(device) is not None and not metadata.version("torch").endswith("+cpu")


def _check_format(weights: str, runtime: str) -> None:
    """Raise ConfigError where weights in another format than .pt are to be run by another runtime
    than theirs."""
    own = FORMATS.get(Path(weights).suffix, "openvino")
    if runtime not in ("auto", own) and own != "torch":
        raise ConfigError(
            f"stages.filter.runtime = {runtime!r}: {weights} is run by {NAMES.get(own, own)}; "
            f"set it to 'auto', or stages.filter.weights to a .pt"
        )


def _runtime_before(earlier: Mapping[str, Any] | None, content: str) -> Runtime | None:
    """What ran these weights until now; None where nothing did, or others were run."""
    if earlier is None or earlier.get("content", content) != content:
        return None
    return earlier.get("runtime")


def _tell_of_a_faster_one(weights: str, device: str, chosen: Runtime, step: str) -> None:
    """Tell a person that finished work keeps this work folder from a faster runtime."""
    fastest = choose_runtime("auto", device)
    if fastest != chosen and "torch" in (fastest, chosen):  # the others differ little
        _logger(step).warning(
            "%s: %s stays with %s, which ran it on this work folder until now; "
            "stages.%s.runtime = %r is faster, and looks at all frames again",
            step,
            weights,
            NAMES[chosen],
            step,
            fastest,
        )


def _told(
    made_of: Mapping[str, Any], earlier: Mapping[str, Any] | None, step: str
) -> Mapping[str, Any]:
    """`made_of`, with a line for a person where finished work has to be done again for it."""
    name, runtime = made_of["name"], made_of.get("runtime")
    if earlier is None:
        return made_of
    before = earlier.get("runtime")
    if earlier.get("content", made_of["content"]) != made_of["content"]:
        _logger(step).warning(
            "%s: the weights %s are not those of the last run on this work folder; frames that "
            "were looked at with those are looked at again",
            step,
            name,
        )
    elif runtime != before and None not in (runtime, before):
        _logger(step).warning(
            "%s: %s runs the model now, and %s did in the last run on this work folder; frames "
            "that were looked at with that are looked at again",
            step,
            NAMES[str(runtime)],
            NAMES[str(before)],
        )
    return made_of


def _logger(step: str) -> logging.Logger:
    return logging.getLogger(f"penstock.{step}")
