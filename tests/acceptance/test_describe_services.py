"""Descriptions by servers that others wrote: an OpenAI-compatible one and Gemini's, with faults."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

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
from tests.stages.aimock import BACKENDS, journal, serving_aimock

Serve = Callable[..., list[str]]

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
    answers = [
        {"match": {"userMessage": "Describe", "sequenceIndex": number}, "response": fault}
        for number, fault in enumerate(FAULTS)
    ]
    answers.append({"match": {"userMessage": "Describe"}, "response": {"content": SENTENCE}})
    with serving_aimock(tmp_path / "fixtures", answers) as url:
        yield url


@pytest.mark.slow
@pytest.mark.parametrize(("backend", "path"), BACKENDS)
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
