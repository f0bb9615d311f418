"""What a benchmark ran on, and what this process may use and has used of it."""

import os
import platform
import resource
import time
from importlib import metadata
from pathlib import Path
from typing import Any

from engine import available_cores

PACKAGES = ("penstock", "av", "numpy", "torch", "ultralytics", "onnxruntime", "openvino")
PACKAGES += ("faiss-cpu", "anyio", "torchcodec", "spdl-core", "ray", "yt-dlp", "httpx")


def machine() -> dict[str, Any]:
    """What this was measured on, with the versions of the packages that take part."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return {
        "processor": _processor(),
        "cores": available_cores(),
        "memory GiB": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "system": platform.system(),
        "python": platform.python_version(),
        "date": time.strftime("%Y-%m-%d"),
        "load": round(os.getloadavg()[0], 1),
        "versions": versions,
    }


def peak_memory() -> float:
    """The most memory, in MB, that this process has held at once."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
