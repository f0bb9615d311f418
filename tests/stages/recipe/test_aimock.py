"""A recipe by servers that others wrote, through the faults of these."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.stages.aimock import BACKENDS, KEY, journal, serving_aimock
from tests.stages.recipe.cooking import documents, make_video, omelette, run

NOTES = {"description": "A pan.", "things": ["2 eggs"], "actions": [], "text_seen": []}


@pytest.mark.parametrize(("backend", "path"), BACKENDS)
def test_others_idea_of_the_services_looks_and_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, backend: str, path: str
) -> None:
    faults = [{"status": 429, "retryAfter": 1}, {"status": 500}]
    fixtures: list[dict[str, Any]] = [
        {
            "match": {"userMessage": "frames", "sequenceIndex": number},
            "response": {"error": {"message": "Not now."}, **fault},
        }
        for number, fault in enumerate(faults)
    ]
    fixtures += [
        {"match": {"userMessage": "frames"}, "response": {"content": json.dumps(omelette())}},
        {"match": {}, "response": {"content": json.dumps(NOTES)}},
    ]
    monkeypatch.setenv("MOCK_API_KEY", KEY)
    video = make_video(tmp_path / "omelette.mp4")
    with serving_aimock(tmp_path / "fixtures", fixtures) as url:
        settings = {"backend": backend, "base_url": url + path, "api_key_env": "MOCK_API_KEY"}
        report = run(tmp_path / "work", settings, video, frames__most=3)
        answers = Counter(entry["response"]["status"] for entry in journal(url))
    assert report.items["done"] == 1
    assert report.gaps == 0
    assert answers == {429: 1, 500: 1, 200: 4}
    [document] = documents(tmp_path / "work")
    assert document["document"] == omelette()
