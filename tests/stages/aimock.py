"""aimock: another's idea of what the real services answer, as a server on this machine."""

import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

KEY = "right"

BACKENDS = [("openai", "/v1"), ("gemini", "/v1beta")]
"""The backends that it serves, with the paths of their addresses."""


def find_aimock() -> str | None:
    beside = Path(__file__).parents[2] / ".venv" / "aimock" / "node_modules" / ".bin" / "llmock"
    return os.environ.get("PENSTOCK_AIMOCK") or shutil.which("llmock") or (
        str(beside) if beside.exists() else None
    )  # fmt: skip


@contextmanager
def serving_aimock(folder: Path, fixtures: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Its address; it takes the key "right" only. Skips the test where it is not there."""
    command = find_aimock()
    if command is None:
        pytest.skip("needs aimock: make aimock, or set PENSTOCK_AIMOCK to its llmock")
    folder.mkdir()
    (folder / "answers.json").write_text(json.dumps({"fixtures": fixtures}))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    arguments = [command, "-p", str(port), "-f", str(folder), "--log-level", "silent"]
    with subprocess.Popen(arguments, env=os.environ | {"AIMOCK_API_KEYS": KEY}) as process:
        url = f"http://127.0.0.1:{port}"
        try:
            _wait_until_up(url)
            yield url
        finally:
            process.terminate()


def journal(url: str) -> list[dict[str, Any]]:
    """The requests that it got, with their answers."""
    answer = httpx.get(f"{url}/__aimock/journal", headers={"Authorization": f"Bearer {KEY}"})
    found: list[dict[str, Any]] = answer.json()
    return found


def _wait_until_up(url: str) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            httpx.get(f"{url}/health")
        except httpx.TransportError:
            assert time.monotonic() < deadline, "aimock did not start"
            time.sleep(0.02)
        else:
            return
