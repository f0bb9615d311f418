"""Exports of .pt weights for faster runtimes, made once and kept in the cache folder.

CACHE/exported/KEY/     one export, committed whole: the network's files, and
CACHE/exported/KEY/export.json   their hashes; an entry with other files counts as not there

The key follows from the content of the weights and everything that shapes the export. An entry that
is damaged is made anew. The folder may be deleted at any time.
"""

import hashlib
import json
import logging
import os
import subprocess
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from filelock import FileLock

from engine import UsageError
from stages.files.folders import built_whole
from stages.models.content import content_hash
from stages.models.yolo import cache_folder

logger = logging.getLogger("penstock.filter")

MANIFEST = "export.json"

PLACES = {"onnx": "weights.onnx", "openvino": "weights_openvino_model"}
"""The file or folder in an entry that ultralytics loads: it tells the format by the name."""

EXPORTERS = {
    "onnx": ("ultralytics", "torch", "onnx"),
    "openvino": ("ultralytics", "torch", "openvino"),
}
"""The packages whose versions shape an export."""

HOW = 1
"""Raise it when `stages.models.export_process` makes another export of the same weights."""

TIME_LIMIT = 900.0
"""Seconds after which an export counts as hanging; that of a YOLO11n takes five."""

_START = "import json, sys; sys.path[:] = json.loads(sys.argv.pop(1)); " + (
    "from stages.models.export_process import main; main()"
)


class ExportError(UsageError):
    """Weights that could not be exported, for a reason that does not lie in the weights."""


def exported(weights: Path, content: str, runtime: str, image_size: int) -> Path:
    """These .pt weights in the format of `runtime`, "onnx" or "openvino", for images of any size.
    `content` is their hash, `image_size` the longer side with which the network is traced.

    Blocks for seconds where it has to be made; processes that want the same one wait for the first.
    Raises ExportError, and UsageError for weights that cannot be used.
    """
    versions = {name: metadata.version(name) for name in EXPORTERS[runtime]}
    recipe = {"weights": content, "image_size": image_size, "how": HOW, "versions": versions}
    entry = cache_folder() / "exported" / f"{runtime}-{_short_hash(recipe)}"
    if _is_whole(entry):
        return entry / PLACES[runtime]
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(entry.with_name(f"{entry.name}.lock"), timeout=TIME_LIMIT):
            if not _is_whole(entry):
                logger.warning(
                    "filter: exporting %s for %s, once, into %s", weights.name, runtime, entry
                )
                with built_whole(entry) as building:
                    _export(weights, content, runtime, image_size, building)
                    _write_manifest(building, recipe)
    except OSError as error:  # filelock's Timeout is one too
        reason = f"{entry.parent}: {error.strerror or error}"
        raise _failed(weights, runtime, reason) from error
    return entry / PLACES[runtime]


def _export(weights: Path, content: str, runtime: str, image_size: int, folder: Path) -> None:
    """Run `stages.models.export_process`: a process of its own keeps what exporters change in
    torch and ultralytics, and their crashes, away from the run."""
    arguments = [str(weights), content, runtime, str(image_size), str(folder)]
    try:
        ran = subprocess.run(
            [sys.executable, "-P", "-c", _START, json.dumps(sys.path), *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=TIME_LIMIT,
            env=os.environ | {"CUDA_VISIBLE_DEVICES": ""},
        )
    except subprocess.TimeoutExpired as error:
        raise _failed(weights, runtime, f"not done after {TIME_LIMIT:.0f} seconds") from error
    answer = _last_line(ran.stdout)
    try:
        told: Mapping[str, str] = json.loads(answer)
    except ValueError:
        reason = _last_line(ran.stderr) or f"its process ended with code {ran.returncode}"
        raise _failed(weights, runtime, reason) from None
    if "unusable" in told:
        raise UsageError(told["unusable"])
    if "failed" in told:
        raise _failed(weights, runtime, told["failed"])
    if not (folder / PLACES[runtime]).exists():
        raise _failed(weights, runtime, "it left no file")


def _failed(weights: Path, runtime: str, reason: str) -> ExportError:
    return ExportError(
        f"weights {weights.name} could not be exported for {runtime} ({reason}); "
        f"stages.filter.runtime = 'torch' does without"
    )


def _write_manifest(folder: Path, recipe: Mapping[str, Any]) -> None:
    text = json.dumps({"recipe": recipe, "files": _files(folder)}, indent=1, sort_keys=True)
    (folder / MANIFEST).write_text(text, encoding="utf-8")


def _is_whole(entry: Path) -> bool:
    """Whether every file of the entry is as it was when it was made."""
    try:
        manifest = json.loads((entry / MANIFEST).read_text(encoding="utf-8"))
        return bool(manifest["files"] == _files(entry))
    except (OSError, ValueError, KeyError, TypeError, UsageError):
        return False


def _files(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST)
    return {path.relative_to(folder).as_posix(): content_hash(path) for path in files}


def _short_hash(recipe: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()[:32]


def _last_line(text: str) -> str:
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")
