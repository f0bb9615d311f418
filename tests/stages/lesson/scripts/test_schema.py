"""The JSON Schema of scripts says what the code says."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from stages.lesson.scripts.schema import script_schema
from stages.lesson.scripts.script import ScriptError, read_script

PUBLISHED = Path(__file__).parents[4] / "docs" / "stages" / "lesson.schema.json"

TEXTS = some.sampled_from(["", " ", "a", " b\n", "Zwölf.", None, 3, ["a"]])
SECTION = some.fixed_dictionaries(
    {},
    optional={
        "title": TEXTS,
        "text": TEXTS,
        "narration": TEXTS,
        "image": TEXTS,
        "image_prompt": TEXTS,
        "seconds": some.sampled_from([0.2, 1, 3600, 0, -1, 3601, "3", True, None]),
        "txt": TEXTS,
    },
)
SCRIPT = some.fixed_dictionaries(
    {},
    optional={
        "$schema": some.just("lesson.schema.json"),
        "title": TEXTS,
        "language": some.sampled_from(["en", " pt-BR ", "e n", "", "x", "english-", 1]),
        "pronunciation": some.sampled_from([{}, {"a": "b"}, {"a": 1}, [], None]),
        "sections": some.lists(SECTION | some.just("a"), max_size=3) | some.just({}),
    },
)


def test_the_published_schema_is_that_of_the_code() -> None:
    told = f"{json.dumps(script_schema(), ensure_ascii=False, indent=2)}\n"
    assert PUBLISHED.read_text("utf-8") == told, "write it anew: penstock lesson schema > FILE"


@given(SCRIPT)
@settings(max_examples=80, deadline=None)
def test_the_schema_takes_what_the_code_takes(
    tmp_path_factory: pytest.TempPathFactory, script: dict[str, Any]
) -> None:
    validator = pytest.importorskip("jsonschema").Draft202012Validator(script_schema())
    path = tmp_path_factory.getbasetemp() / "script.json"
    path.write_text(json.dumps(script))
    try:
        read_script(path)
        is_taken = True
    except ScriptError as error:
        is_taken = False
        assert all(line.startswith("script.json") for line in str(error).splitlines())
    assert validator.is_valid(script) == is_taken


WHOLE = '{"title": "T", "sections": [{"text": "a", "seconds": 1}, {"narration": "b"}]}'
PIECES = some.sampled_from(
    [
        '"',
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\\",
        "\n",
        "\t",
        "0",
        "-",
        "NaN",
        "null",
        "text",
        "\0",
        "ä",
    ]
)
CHANGES = some.lists(
    some.tuples(some.integers(0, len(WHOLE)), some.integers(0, 9), PIECES | some.text(max_size=3)),
    min_size=1,
    max_size=4,
)


@given(CHANGES)
@settings(max_examples=80, deadline=None)
def test_whatever_is_wrong_is_told_with_its_line(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[int, int, str]]
) -> None:
    text = WHOLE
    for at, gone, put in changes:
        text = f"{text[:at]}{put}{text[at + gone :]}"
    path = tmp_path_factory.getbasetemp() / "script.json"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        read_script(path)
    except ScriptError as error:
        for line in str(error).splitlines():
            assert re.match(r"script\.json, line [1-9]\d*(, column \d+)?: .", line), line
            assert line.isprintable()
