"""Descriptions by servers that others wrote: an OpenAI-compatible one and Gemini's, with faults."""

import json
import os
import shutil
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.acceptance.command import crawl
from tests.acceptance.outcome import (
    attempts,
    bytes_of,
    check_dataset,
    check_no_scratch,
    status,
    tables,
)

Serve = Callable[..., list[str]]

BESIDE = Path(__file__).parents[2] / ".venv" / "aimock" / "node_modules" / ".bin" / "llmock"

FAULTS: list[dict[str, Any]] = [
    {"error": {"message": "Slow down."}, "status": 429, "retryAfter": 1},
    {"error": {"message": "Oops."}, "status": 500},
    {"error": {"message": "Slow down, please."}, "status": 429, "retryAfter": 1},
    {"error": {"message": "Oops again."}, "status": 503},
]

SENTENCE = "Shapes on a grey wall."


@pytest.fixture
def aimock(tmp_path: Path) -> Iterator[str]:
    """The address of a mock of the services, which fails four times and then describes."""
    command = os.environ.get("PENSTOCK_AIMOCK") or shutil.which("llmock") or str(BESIDE)
    if not Path(command).exists():
        pytest.skip("needs aimock: make aimock, or set PENSTOCK_AIMOCK to its llmock")
    answers = [
        {"match": {"userMessage": "Describe", "sequenceIndex": number}, "response": fault}
        for number, fault in enumerate(FAULTS)
    ]
    answers.append({"match": {"userMessage": "Describe"}, "response": {"content": SENTENCE}})
    fixtures = tmp_path / "fixtures"
    fixtures.mkdir()
    (fixtures / "shapes.json").write_text(json.dumps({"fixtures": answers}))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    arguments = [command, "-p", str(port), "-f", str(fixtures), "--log-level", "silent"]
    with subprocess.Popen(arguments, env=os.environ | {"AIMOCK_API_KEYS": "right"}) as process:
        url = f"http://127.0.0.1:{port}"
        try:
            _wait_until_up(url)
            yield url
        finally:
            process.terminate()


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


@pytest.mark.parametrize(("backend", "path"), [("openai", "/v1"), ("gemini", "/v1beta")])
def test_a_crawl_is_described_through_the_faults_of_the_service(
    tmp_path: Path,
    clips: list[Path],
    serve: Serve,
    aimock: str,
    monkeypatch: pytest.MonkeyPatch,
    backend: str,
    path: str,
) -> None:
    monkeypatch.setenv("MOCK_API_KEY", "right")
    urls, work = serve(clips[:2] + clips[6:8]), tmp_path / "work"
    sets = {
        "stages.describe.backend": backend,
        "stages.describe.base_url": aimock + path,
        "stages.describe.api_key_env": "MOCK_API_KEY",
        "stages.describe.requests_per_minute": 1200,
    }
    ran = crawl(*urls, out=work, sets=sets)
    assert ran.code == 0, ran.said
    assert status(work)["items"]["done"] == 4
    assert attempts(work)["describe", "done"] == 4
    frames = tables(work)["frames"]
    assert len(frames) == 8
    assert {row["description"] for row in frames} == {SENTENCE}
    assert {row["described_by"].partition(":")[0] for row in frames} == {backend}
    check_dataset(work)
    check_no_scratch(work)

    asked = journal(aimock)
    # Two clips of four scenes, each scene once for itself and its copy in another clip.
    assert Counter(entry["response"]["status"] for entry in asked) == {
        429: 2,
        500: 1,
        503: 1,
        200: 8,
    }
    if backend == "openai":  # what the mock keeps of Gemini's requests is their text
        assert all("data:image/jpeg;base64," in json.dumps(entry["body"]) for entry in asked)

    before = bytes_of(work / "dataset")
    assert crawl(*urls, out=work, sets=sets).code == 0
    assert len(journal(aimock)) == len(asked)
    assert bytes_of(work / "dataset") == before


def journal(url: str) -> list[dict[str, Any]]:
    """What the mock was asked."""
    answer = httpx.get(f"{url}/__aimock/journal", headers={"Authorization": "Bearer right"})
    asked: list[dict[str, Any]] = answer.json()
    return asked
