"""`penstock demo recipe`, from end to end, and its verdict on runs that went otherwise."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from engine.cli.main import main
from stages.demo.recipes.dishes import serve_kitchen
from stages.demo.recipes.recipe_verdict import judge_recipes, questions_asked
from tests.finished_demo import run_demo
from tests.stages.crawled import tree

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

Change = Callable[[dict[str, Any]], None]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    """The demo in a folder where everything around it would get in its way, if it looked."""
    folder = tmp_path_factory.mktemp("recipes")
    (folder / "config.toml").write_text("[stages.frames]\nmost = 2\n")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            patch.setenv(name, "http://127.0.0.1:9")
        patch.setenv("PENSTOCK_FRAMES_MOST", "2")
        patch.setenv("OPENAI_API_KEY", "sk-never-sent")
        patch.setenv("COLUMNS", "80")
        patch.chdir(folder)
        return folder / "out", run_demo("recipe", "--out", folder / "out")


@pytest.fixture
def out(finished: tuple[Path, Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the demo's folder, to tamper with."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return shutil.copytree(finished[0], tmp_path / "out")


def wrong(out: Path, sent_again: int = 0) -> dict[str, str]:
    """What is not as planted, with what was found."""
    with serve_kitchen(out):
        return {
            f"{section.title}: {check.name}, {check.what}": check.found
            for section in judge_recipes(out, sent_again)
            for check in section.checks
            if not check.as_planted
        }


def test_all_is_found_as_it_was_planted(finished: tuple[Path, Result]) -> None:
    out, result = finished
    assert result.exit_code == 0, result.output
    assert "frame at 0:00: A whisk beside 3 eggs." in result.output
    lines = result.stdout.splitlines()
    begin = next(at for at, line in enumerate(lines) if "Planted" in line)
    verdict = lines[begin:-3]
    assert max(map(len, verdict)) <= 80
    marks = [line[:2] for line in verdict if line[:2].strip()]
    assert marks == ["ok"] * 24
    assert lines[-2].startswith("24 of 24 as planted. ")
    assert lines[-1] == f"Try next: penstock report {out}"


def test_the_next_command_works(finished: tuple[Path, Result]) -> None:
    out, _ = finished
    result = CliRunner().invoke(main, ["report", str(out)])
    assert result.exit_code == 0, result.output
    assert "Fry 3 eggs and 2 tomatoes." in (out / "report.html").read_text()


def test_given_again_it_goes_on(finished: tuple[Path, Result]) -> None:
    out, first = finished
    before, documents = questions_asked(out), tree(out / "documents")
    result = run_demo("recipe", "--out", out, "--quiet")
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    assert questions_asked(out) == before
    assert tree(out / "documents") == documents
    assert result.stdout.splitlines()[-2:] == first.stdout.splitlines()[-2:]


def changed(out: Path, name: str, change: Change) -> None:
    """Change the document of that video."""
    file = out / "documents" / "documents.jsonl"
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    change(next(one for one in lines if one["file"] == f"{name}.json"))
    file.write_text("".join(f"{json.dumps(one)}\n" for one in lines))


def another_amount(told: dict[str, Any]) -> None:
    told["document"]["ingredients"][0]["amount"] = "7"


def too_late(told: dict[str, Any]) -> None:
    told["document"]["steps"][2]["start"] += 4
    told["document"]["steps"][2]["end"] += 4


def one_step_more(told: dict[str, Any]) -> None:
    told["document"]["steps"].append({"text": "Eat.", "start": None, "end": None})


def no_title(told: dict[str, Any]) -> None:
    del told["document"]["title"]


def by_nobody(told: dict[str, Any]) -> None:
    told |= {"partial": True, "problems": ["no model was asked"], "made_by": "composed"}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (another_amount, {"Recipes: salad, ingredients": "4 of 5, 1 wrong"}),
        (too_late, {"Recipes: salad, steps": "5 of 6, 1 wrong"}),
        (one_step_more, {"Recipes: salad, steps": "6 of 6, 1 wrong"}),
        (no_title, {"Recipes: salad, by its schema": "no: $: 'title' is a required property"}),
        (by_nobody, {"Recipes: salad, by its schema": "no: no model was asked"}),
    ],
)
def test_another_document_is_marked(out: Path, change: Change, expected: dict[str, str]) -> None:
    changed(out, "salad", change)
    assert wrong(out) == expected


def test_other_frames_and_notes_are_marked(out: Path) -> None:
    [item] = (out / "items").glob("*omelette*")
    first, second, *_ = sorted((item / "frames.parts").iterdir())
    frame = first / "frames" / "frame.json"
    frame.write_text(json.dumps(json.loads(frame.read_text()) | {"at": 6.0}))
    notes = second / "analyse" / "notes.json"
    notes.write_text(json.dumps(json.loads(notes.read_text()) | {"things": ["3 tomatoes"]}))
    assert wrong(out) == {
        "Frames: omelette, steps shown": "5 of 6",
        "Frames: omelette, blurred 5 to 8 s": "6 s",
        "Notes: omelette, frames, rightly": "5 of 7",
    }


def test_questions_that_were_asked_twice_are_marked(out: Path) -> None:
    file = out / "questions.txt"
    asked = file.read_text().splitlines()
    frame = next(line for line in asked if line.startswith("frame "))
    file.write_text("".join(f"{line}\n" for line in (*asked, frame)))
    texts = sum(line.startswith("text ") for line in asked)
    assert wrong(out, sent_again=2) == {
        "Questions: pictures, of 14 frames": "14 sent",
        f"Questions: all of these, and {texts} texts": "1 twice",
        "Questions: given again, all of it": "2 sent",
    }


def test_what_is_not_there_is_no_crash(out: Path) -> None:
    (out / "documents" / "documents.jsonl").unlink()
    (out / "search.db").unlink()
    found = wrong(out)
    assert found["Recipes: omelette, at the 2nd asking"] == "no: there is none"
    assert found["Search: carrots, by words"] == "not in the first 3"
    assert "Questions: pictures, of 0 frames" in found
