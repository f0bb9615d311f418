"""What `penstock doctor` says of what lessons need."""

from typing import Any

import pytest

from engine import load_config
from stages.lesson.checks import lesson_checks
from stages.lesson.pipeline import lesson


def checked(*sets: str) -> dict[str, tuple[str, str]]:
    config = load_config(lesson, None, {}, sets, {})
    settings: Any = {name: stage.settings for name, stage in config.stages.items()}
    return {one.name: (one.verdict, one.text) for one in lesson_checks(settings)}


def test_doctor_tells_of_espeak_and_of_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    assert checked() == {
        "voice": (
            "warning",
            "espeak-ng is not here: lessons without recordings need it; apt install espeak-ng",
        )
    }
    paid = ["stages.image.backend=openai", "stages.voice.backend=openai"]
    told = checked(*paid, "stages.image.base_url=http://localhost/v1", "stages.image.model=a")
    assert told["image key"] == ("ok", "OPENAI_API_KEY is not set, for localhost")
    assert told["voice key"] == ("problem", "OPENAI_API_KEY is not set, for api.openai.com")
    assert told["voice model"][0] == "warning"
    assert "image model" not in told
