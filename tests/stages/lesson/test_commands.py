"""`penstock lesson` as a new user meets it: init, schema, and scripts that are wrong."""

import json
import shutil
from pathlib import Path

import pytest

from tests.acceptance.command import penstock


def test_the_example_is_a_script_and_is_never_written_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    first = penstock("lesson", "init")
    assert first.code == 0
    assert first.out == "wrote lesson.json; make its video: penstock lesson lesson.json\n"
    before = Path("lesson.json").read_bytes()
    again = penstock("lesson", "init")
    assert (again.code, again.err) == (
        2,
        "penstock: lesson.json is there already; give another name\n",
    )
    assert Path("lesson.json").read_bytes() == before
    assert penstock("lesson", "init", "no/where.json").code == 2
    told = penstock("lesson", "schema")
    jsonschema = pytest.importorskip("jsonschema")
    jsonschema.validate(json.loads(before), json.loads(told.out))


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="espeak-ng is not installed")
def test_the_example_runs_at_once(tmp_path: Path) -> None:
    script = tmp_path / "mine.json"
    penstock("lesson", "init", script)
    sets = ["--set", 'stages.image.size="128x72"', "--set", "limits.free_disk=0"]
    ran = penstock("lesson", script, "--out", tmp_path / "w", *sets)
    assert ran.code == 0, ran.err
    assert (tmp_path / "w" / "videos" / "mine.mp4").is_file()


def test_the_help_lists_a_pipelines_own_commands() -> None:
    told = penstock("lesson", "--help").out
    assert "init    Write an example of a script" in told
    assert penstock("lesson", "init", "--help").out.startswith("Usage: penstock lesson init ")
    wrong = penstock("lesson", "init", "--frce")
    assert wrong.code == 2
    assert wrong.err.endswith("See penstock lesson init --help\n") or "; see" in wrong.err


def one(section: str) -> str:
    """A script of this section."""
    return f'{{"title": "T",\n"sections":\n[{section}]}}'


WRONG = {
    "torn": ('{"title": "T",', "line 1, column 15: no JSON"),
    "empty": ("", "line 1, column 1: no JSON"),
    "list": ("[]", "line 1: is no object"),
    "twice": (one('{"text": "a",\n"text": "b"}'), "line 4: sections[0].text: stands twice"),
    "nan": (one('{"seconds": NaN}'), "line 3: sections[0].seconds: NaN is no number"),
    "digits": (
        one('{"seconds": %s}' % ("1" * 5000)),
        "line 3: sections[0].seconds: has over 4,300 digits",
    ),
    "deep": ("[" * 9999, "line 1: its lists are nested too deeply"),
    "field": (one('{"text": "a", "imge": "b"}'), "line 3: sections[0].imge: is no field"),
    "same": (
        one('{"text": "a", "narration": "b"}'),
        "sections[0].narration: says the same as text",
    ),
    "images": (
        one('{"text": "a", "image": "b", "image_file": "talk.json"}'),
        "has both image and image_file",
    ),
    "silent": (one("{}"), "line 3: sections[0]: has no text; give one, or seconds for"),
    "number": ('{"title": 7, "sections": [{"text": "a"}]}', "line 1: title: is no text"),
    "language": ('{"title": "T", "language": "?", "sections": [{"text": "a"}]}', "no language"),
    "words": ('{"title": "T", "pronunciation": 1, "sections": [{"text": "a"}]}', "no object with"),
    "long": (one('{"seconds": 4000}'), "line 3: sections[0].seconds: is too long; give an hour"),
    "away": (one('{"seconds": 1, "image_file": "../a"}'), "../a is not beside the script"),
    "gone": (
        one('{"seconds": 1,\n"image_file": "a.png"}'),
        "line 4: sections[0].image_file: a.png",
    ),
    "nul": (one('{"seconds": 1, "image_file": "a\\u0000"}'), "is no name of a file"),
    "escape": (one('{"seconds": 1, "a\\u001b[2Jb": 1}'), 'sections[0]."a\\u001b[2Jb"'),
    "half": ('{"title": "\\ud83d", "sections": [{"seconds": 1}]}', "line 1: title: holds half"),
}
"""Scripts, and what is said of them."""


@pytest.mark.parametrize("which", WRONG)
def test_a_wrong_script_is_told_in_a_line_and_nothing_is_made(which: str, tmp_path: Path) -> None:
    text, told = WRONG[which]
    (tmp_path / "talk.json").write_text(text)
    (tmp_path / "good.json").write_text('{"title": "T", "sections": [{"seconds": 1}]}')
    out = tmp_path / "out"
    ran = penstock("lesson", tmp_path / "good.json", tmp_path / "talk.json", "--out", out)
    assert ran.code == 2, ran.err
    [line] = ran.err.splitlines()
    assert line.startswith("penstock: talk.json")
    assert told in line
    assert line.isprintable()
    assert not out.exists()


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("-", "-: a script is a file"),
        ("/dev/null", "/dev/null is no file with a script in it"),
        ("/", "/ is a folder"),
        ("gone.json", "'gone.json': there is no such file"),
        ("https://example.org/a.json", "download it first"),
    ],
)
def test_what_is_no_file_is_told(source: str, told: str, tmp_path: Path) -> None:
    ran = penstock("lesson", source, "--out", tmp_path / "out")
    assert ran.code == 2
    [line] = ran.err.splitlines()
    assert told in line


def test_a_font_that_is_none_stops_the_run_before_anything_is_made(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"title": "T", "sections": [{"seconds": 1}]}')
    sets = ["--set", f"stages.image.font={tmp_path / 'a.json'}", "--set", "limits.free_disk=0"]
    ran = penstock("lesson", tmp_path / "a.json", "--out", tmp_path / "w", *sets, "--quiet")
    assert ran.code == 2
    font = tmp_path / "a.json"
    told = f"penstock: {font} is no font that can be read; set stages.image.font to one\n"
    assert ran.err == told


def test_scripts_of_one_name_make_videos_of_their_own(tmp_path: Path) -> None:
    scripts = []
    for number, folder in enumerate("ab"):
        (tmp_path / folder).mkdir()
        scripts.append(tmp_path / folder / "talk.json")
        told = {"title": "Same", "sections": [{"title": folder, "seconds": 1 + number}]}
        scripts[-1].write_text(json.dumps(told))
    sets = ["--set", 'stages.image.size="128x72"', "--set", "limits.free_disk=0"]
    assert penstock("lesson", *scripts, "--out", tmp_path / "w", *sets, "--quiet").code == 0
    videos = sorted((tmp_path / "w" / "videos").glob("talk-*.json"))
    titles = {json.loads(one.read_text())["sections"][0]["title"] for one in videos}
    assert titles == {"a", "b"}
    assert all(one.with_suffix(".mp4").is_file() for one in videos)
