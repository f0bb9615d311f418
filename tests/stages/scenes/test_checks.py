"""`penstock doctor` says what scenes need and what is missing."""

from pathlib import Path

import pytest

from engine import Check, load_config
from stages.demo.shapes import WEIGHTS
from stages.scenes.pipeline import scenes
from tests.stages.scenes.test_pipeline import WITHOUT_MODELS

CAPTIONER = WEIGHTS.with_name("captioner")


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)

    def told(*sets: str) -> dict[str, Check]:
        config = load_config(scenes, None, {}, sets, {})
        assert scenes.checks is not None
        found = scenes.checks({name: one.settings for name, one in config.stages.items()})
        by_name = {one.name: one for one in found}
        assert all("\n" not in one.text for one in by_name.values())
        return by_name

    return told


def verdicts(found: dict[str, Check]) -> dict[str, str]:
    return {name: one.verdict for name, one in found.items()}


def test_models_that_are_missing_are_named_with_how_to_fetch_them(told):
    found = told("stages.objects.weights=yolo_of_nobody.pt")
    assert verdicts(found) == {
        "FFmpeg libraries": "ok",
        "objects weights": "warning",
        "captions model": "warning",
        "sounds model": "warning",
        "sentence model": "warning",
        "speech model": "warning",
        "room for models": found["room for models"].verdict,
    }
    assert "hf download Salesforce/blip-image-captioning-large --revision" in (
        found["captions model"].text
    )
    assert "hf download Systran/faster-whisper-small" in found["speech model"].text
    assert "searched by words alone" in found["sentence model"].text
    assert "the size of some is not known" in found["room for models"].text or (
        "2.8 GB to fetch" in found["room for models"].text
    )


def test_what_is_here_or_switched_off_is_fine(told):
    found = told(*WITHOUT_MODELS, "stages.persist.meaning=off")
    assert set(verdicts(found).values()) == {"ok"}
    found = told(
        *WITHOUT_MODELS,
        "stages.persist.meaning=off",
        f"stages.captions.model={CAPTIONER}",
        f"stages.objects.weights={WEIGHTS}",
    )
    assert found["captions model"] == Check("captions model", "ok", str(CAPTIONER))
    assert found["objects weights"] == Check("objects weights", "ok", str(WEIGHTS))


def test_what_the_settings_name_and_is_not_there_is_a_problem(told, tmp_path):
    found = told(
        f"stages.captions.model={tmp_path / 'none'}",
        f"stages.sounds.model={tmp_path / 'none.onnx'}",
        f"stages.objects.weights={tmp_path / 'none.pt'}",
        f"stages.persist.model={tmp_path / 'none'}",
        f"stages.transcribe.model={tmp_path / 'none'}",
        "stages.scenes.method=transnetv2",
        f"stages.scenes.weights={tmp_path / 'none.pth'}",
    )
    bad = {name for name, one in found.items() if one.verdict == "problem"}
    assert bad == {
        *("captions model", "sounds model", "objects weights", "sentence model"),
        *("speech model", "scenes weights"),
    }


def test_the_key_of_a_service_for_speech(told, monkeypatch):
    assert told("stages.transcribe.backend=openai")["speech key"].verdict == "problem"
    monkeypatch.setenv("OPENAI_API_KEY", "x")
    assert told("stages.transcribe.backend=openai")["speech key"].verdict == "ok"
    assert "speech key" not in told()


def test_packages_that_are_missing_are_a_warning_with_the_command(told, monkeypatch):
    monkeypatch.setattr("stages.scenes.checks.find_spec", lambda name: None)
    found = told()
    assert found["scenes packages"].verdict == "warning"
    assert "pip install 'penstock[scenes,speech]'" in found["scenes packages"].text
