"""Schemas are checked at the edge, in one line; documents are held against them."""

import json
from pathlib import Path
from typing import Any

import pytest

from engine import UsageError
from stages.recipe.writing.recipe_schema import RECIPE
from stages.recipe.writing.schema import is_strict, problems_of, read_schema
from tests.stages.recipe.cooking import omelette

FORM = {"type": "object", "properties": {"title": {"type": "string"}}}


def written(path: Path, content: Any) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("{", "line 1 is no JSON"),
        ([], "a JSON Schema is an object"),
        ({"type": "text"}, "type: 'text' is not valid"),
        ({"type": "array"}, 'it needs "type": "object"'),
        ({"type": "object"}, '"properties"'),
        (FORM | {"required": "title"}, "required: 'title' is not of type 'array'"),
        (
            {"type": "object", "properties": {"a": {"$ref": "https://example.com/a.json"}}},
            "https://example.com/a.json is another file",
        ),
        ({"type": "object", "properties": {"a": {"$ref": "#/$defs/b"}}}, "#/$defs/b is not in it"),
    ],
)
def test_what_is_wrong_with_a_schema_is_told_in_one_line(
    tmp_path: Path, content: Any, told: str
) -> None:
    file = written(tmp_path / "form.json", content)
    with pytest.raises(UsageError) as raised:
        read_schema(file)
    assert str(raised.value).startswith(f"--schema {file}: ")
    assert told in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_schema_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        read_schema(tmp_path / "none.json")


def test_a_schema_within_bounds_is_taken(tmp_path: Path) -> None:
    form = FORM | {"$defs": {"a": {"type": "string"}}}
    form = form | {"properties": {"title": {"$ref": "#/$defs/a"}}}
    assert read_schema(written(tmp_path / "form.json", form)) == form
    assert problems_of(form, {"title": 7}, 10.0) == ["title: 7 is not of type 'string'"]


def test_a_reference_to_nothing_is_a_problem_and_fetches_nothing() -> None:
    form = {"type": "object", "properties": {"a": {"$ref": "#/$defs/none"}}}
    [told] = problems_of(form, {"a": 1}, 10.0)
    assert "/$defs/none" in told


def test_a_recipe_fits_its_form_and_times_lie_within_the_video() -> None:
    assert problems_of(RECIPE, omelette(), 14.0) == []
    late = omelette(steps=[{"text": "Eat.", "start": 9, "end": 8}, {"text": "", "start": 99}])
    told = problems_of(RECIPE, late, 14.0)
    assert "steps[0].end: it ends before it begins" in told
    assert any(line.startswith("steps[1].start: 99 s is outside") for line in told)
    assert any("'end' is a required property" in line for line in told)


def test_which_schemas_are_strict() -> None:
    assert is_strict(RECIPE)
    assert not is_strict(FORM)
    assert is_strict(FORM | {"required": ["title"], "additionalProperties": False})
