"""Scripts of another shape, and errors that name the line and the field of the user's own file."""

import json
from pathlib import Path
from typing import Any

import pytest

from engine import ConfigError, load_config
from stages.lesson.pipeline import lesson
from stages.lesson.scripts.mapping import ScriptMap
from stages.lesson.scripts.script import ScriptError, content_of_script, read_script

SHAPE = ScriptMap(
    {
        "title": "meta.name",
        "sections": "deck.slides",
        "section_title": "heading",
        "text": "say.voiceover",
        "image_file": "pictures.0.file",
    }
)

DECK = {
    "meta": {"name": "Tides", "author": "A"},
    "deck": {
        "slides": [
            {"id": 1, "heading": "One", "say": {"voiceover": "First."}, "image": "the sea"},
            {"id": 2, "say": {"voiceover": "Second."}, "pictures": [{"file": "a.png"}]},
        ]
    },
}


def written(folder: Path, deck: Any) -> Path:
    path = folder / "deck.json"
    path.write_text(json.dumps(deck, indent=1))
    (folder / "a.png").write_bytes(b"1")
    return path


def changed(**slide: Any) -> dict[str, Any]:
    """The deck with another second slide."""
    slides = [DECK["deck"]["slides"][0], slide]  # type: ignore[index]
    return DECK | {"deck": {"slides": slides}}


def test_a_map_says_where_the_fields_are(tmp_path: Path) -> None:
    path = written(tmp_path, DECK)
    found = read_script(path, SHAPE)
    assert found.title == "Tides"
    assert [(one.title, one.text) for one in found.sections] == [
        ("One", "First."),
        (None, "Second."),
    ]
    assert [(one.image, one.image_file) for one in found.sections] == [
        ("the sea", None),
        (None, "a.png"),
    ]
    before = content_of_script(path)
    (tmp_path / "a.png").write_bytes(b"2")
    assert content_of_script(path) != before, "the picture is a part of it, whatever the shape"


@pytest.mark.parametrize(
    ("deck", "told"),
    [
        (DECK | {"meta": {}}, "line 2: meta.name: is missing"),
        (DECK | {"meta": {"name": 3}}, "line 3: meta.name: is no text; put it in quotes"),
        ({"meta": {"name": "T"}}, "line 1: deck.slides: is not there, and stages.sections.map"),
        (DECK | {"deck": {"slides": {}}}, "line 7: deck.slides: is no list"),
        (changed(say={}), "line 16: deck.slides[1]: has no say.voiceover; give one, or seconds"),
        (changed(say={"voiceover": " "}), "line 18: deck.slides[1].say.voiceover: is empty"),
        (
            changed(seconds=1, pictures=[{"file": "gone.png"}]),
            "line 20: deck.slides[1].pictures[0].file: gone.png is not there",
        ),
        (changed(seconds="3"), "line 17: deck.slides[1].seconds: is no number"),
        ([], "line 1: deck.slides: is not there"),
    ],
)
def test_errors_name_the_users_own_fields(tmp_path: Path, deck: Any, told: str) -> None:
    with pytest.raises(ScriptError) as error:
        read_script(written(tmp_path, deck), SHAPE)
    assert f"deck.json, {told}" in str(error.value)


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ('{txt = "a"}', "'txt' is no field of a script"),
        ('{text = "a..b"}', "a path is like voiceover"),
    ],
)
def test_a_wrong_map_is_told(setting: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        load_config(lesson, None, {}, [f"stages.sections.map={setting}"], {})
