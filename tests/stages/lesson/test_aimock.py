"""Lessons by servers that others wrote, through the faults of these."""

import base64
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.stages.aimock import KEY, journal, serving_aimock
from tests.stages.lesson.media_server import encoded, picture, said, wav
from tests.stages.lesson.test_lesson import facts, write
from tests.stages.lesson.test_services import run

SECTIONS = [
    {"title": f"{number}", "text": f"{word} is how it goes.", "image": f"a picture of {word}"}
    for number, word in enumerate(["Rising", "Falling", "Resting"])
]

FAULTS: list[dict[str, Any]] = [
    {"error": {"message": "Slow down."}, "status": 429, "retryAfter": 1},
    {"error": {"message": "Oops."}, "status": 500},
]


def through_faults(message: str, endpoint: str, response: dict[str, Any]) -> list[dict[str, Any]]:
    match = {"userMessage": message, "endpoint": endpoint}
    faults = [
        {"match": match | {"sequenceIndex": number}, "response": fault}
        for number, fault in enumerate(FAULTS)
    ]
    return [*faults, {"match": match, "response": response}]


@pytest.mark.parametrize("protocol", ["openai", "gemini"])
def test_a_lesson_is_made_through_the_faults_of_the_services(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, protocol: str
) -> None:
    """Of Gemini's pictures it has nothing: they are cards here."""
    script, sound = write(tmp_path / "script", *SECTIONS), said("This is how it goes.")
    if protocol == "openai":
        heard: Any = {"audio": encoded(wav(sound)), "format": "wav"}
        drawn = {"image": {"b64Json": encoded(picture("a picture", (1088, 608)))}}
        fixtures = through_faults("picture of", "image", drawn)
        fixtures += through_faults("how it goes", "speech", heard)
    else:
        pcm = base64.b64encode(sound.tobytes()).decode()
        heard = {"audio": {"b64Json": pcm, "contentType": "audio/L16;codec=pcm;rate=24000"}}
        fixtures = through_faults("how it goes", "chat", heard)
    monkeypatch.setenv("MOCK_API_KEY", KEY)
    steps = ("image", "voice") if protocol == "openai" else ("voice",)
    with serving_aimock(tmp_path / "fixtures", fixtures) as url:
        base = f"{url}/{'v1' if protocol == 'openai' else 'v1beta'}"
        sets = [
            f"stages.{step}.{name}={value}"
            for step in steps
            for name, value in {
                "backend": protocol, "base_url": base, "api_key_env": "MOCK_API_KEY",
            }.items()
        ]  # fmt: skip
        assert run(tmp_path / "work", script, *sets).exit_code == 0
        answers = Counter(entry["response"]["status"] for entry in journal(url))
    each = len(steps)
    assert answers == {429: each, 500: each, 200: 3 * each}
    assert facts(tmp_path / "work")["gaps"] == []
    told = facts(tmp_path / "work")["sections"]
    assert all(one["made_by"]["voice"].startswith(f"{protocol}:") for one in told)
