"""Scripts: what is taken, and the line of what is wrong."""

import json
from pathlib import Path
from typing import Any

import pytest

from stages.lesson.scripts.script import ScriptError, content_of_script, read_script


def written(folder: Path, text: str) -> Path:
    path = folder / "talk.json"
    path.write_text(text, "utf-8")
    return path


def script(*sections: dict[str, Any], **more: Any) -> str:
    return json.dumps({"title": "Tides", "sections": list(sections), **more}, indent=2)


def test_a_section_has_a_text_by_either_name(tmp_path: Path) -> None:
    found = read_script(
        written(tmp_path, script({"text": " One. "}, {"narration": "Two.", "image_prompt": "sea"}))
    )
    assert [one.text for one in found.sections] == ["One.", "Two."]
    assert found.sections[1].image == "sea"
    assert found.language == "en"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{"title": "T",\n "sections": [\n}', "line 3, column 1: no JSON"),
        (
            '{"title": "T",\n\t"sections": [{"text": "a"},\n\t{}]}',
            "line 3: sections[1]: has no text",
        ),
        ('{"sections":\n [{"text": "a"}]}', "line 1: title: is missing"),
        ('{"title": "T", "sections": [\n {"text": "a", "imge": "x"}]}', "line 2: sections[0].imge"),
        ('{"title": "T", "sections": []}', "line 1: sections: there are none"),
        ('{"title": "T", "sections": [{"text":\n ""}]}', "line 2: sections[0].text: is empty"),
        ('{"title": "T", "title": "U", "sections": []}', "line 1: title: stands twice"),
        ('{"title": "T", "language": "e n",\n "sections": [{"text": "a"}]}', "line 1: language: "),
        ("[1, 2]", "line 1: "),
        ("[" * 100_000, "nested too deeply"),
        ('{"title": NaN}', "NaN is no number"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(ScriptError) as error:
        read_script(written(tmp_path, text))
    assert told in str(error.value)
    assert all(line.startswith("talk.json") for line in str(error.value).splitlines())


def test_every_error_is_told_up_to_ten(tmp_path: Path) -> None:
    with pytest.raises(ScriptError) as error:
        read_script(written(tmp_path, script(*[{"txt": "a"}] * 12)))
    lines = str(error.value).splitlines()
    assert len(lines) == 11
    assert lines[-1].endswith("more")


def test_fields_and_files_are_told_together_in_the_order_of_the_lines(tmp_path: Path) -> None:
    text = """{"title": "T", "sections": [
 {"text": "a", "image_file": "gone.png"},
 {"txt": "a", "seconds": 1, "voice_file": " "},
 {"text": 5, "voice_file": "gone.wav"}], "langage": "en"}"""
    with pytest.raises(ScriptError) as error:
        read_script(written(tmp_path, text))
    assert [line.removeprefix("talk.json, line ") for line in str(error.value).splitlines()] == [
        "2: sections[0].image_file: gone.png is not there",
        "3: sections[1].voice_file: is empty",
        "3: sections[1].txt: is no field of a script; check its spelling, or take it out",
        "4: sections[2].voice_file: gone.wav is not there",
        "4: sections[2].text: is no text; put it in quotes",
        "4: langage: is no field of a script; check its spelling, or take it out",
    ]


def test_a_script_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "talk.json"
    path.write_bytes(b'{"title": "\xff"}')
    with pytest.raises(ScriptError, match="byte 11 is no UTF-8"):
        read_script(path)


@pytest.mark.parametrize(
    ("name", "why"), [("gone.png", "is not there"), ("../out.png", "is not beside the script")]
)
def test_files_stand_beside_the_script(tmp_path: Path, name: str, why: str) -> None:
    (tmp_path / "out.png").write_bytes(b"")
    folder = tmp_path / "script"
    folder.mkdir()
    with pytest.raises(ScriptError, match=rf"line 6: sections\[0\].image_file: {name} {why}"):
        read_script(written(folder, script({"text": "a", "image_file": name})))


def test_a_link_out_of_the_folder_is_no_file_beside_it(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    folder = tmp_path / "script"
    folder.mkdir()
    (folder / "in.png").symlink_to(tmp_path / "secret")
    with pytest.raises(ScriptError, match="is not beside the script"):
        read_script(written(folder, script({"text": "a", "image_file": "in.png"})))


def test_the_content_is_that_of_the_named_files_too(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"1")
    path = written(tmp_path, script({"text": "a", "image_file": "a.png"}))
    before = content_of_script(path)
    assert content_of_script(path) == before
    (tmp_path / "a.png").write_bytes(b"2")
    assert content_of_script(path) != before
    assert content_of_script(tmp_path / "gone.json") != before
