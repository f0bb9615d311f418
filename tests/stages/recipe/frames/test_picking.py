"""Frames that a model chooses from a contact sheet: asked once, checked, and otherwise by looks."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from engine import RunReport, UsageError
from stages.recipe.frames.choice import FrameLook
from stages.recipe.frames.sheet import MOST_TILES, sheet_places
from tests.stages.recipe.cooking import make_video, run, says
from tests.stages.vision_server import Answer, Request, openai, serving

MODEL = {"frames__choose": "model", "frames__most": 4}


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_video(tmp_path_factory.mktemp("clips") / "omelette.mp4")


def is_sheet(request: Request) -> bool:
    return "contact sheet" in json.dumps(request.body)


def frames_of(work: Path) -> dict[str, Any]:
    [item] = (work / "items").iterdir()
    told: dict[str, Any] = json.loads((item / "frames" / "frames.json").read_text())
    return told


def choosing(work: Path, video: Path, answer: str, **more: Any) -> tuple[RunReport, list[Request]]:
    """A run whose model says this of the contact sheet."""
    with serving(says=lambda one: answer if is_sheet(one) else says(one)) as server:
        report = run(work, openai(server), video, **MODEL, **more)
        return report, list(server.requests)


def test_the_model_chooses_from_one_sheet_and_is_asked_once(tmp_path: Path, video: Path) -> None:
    answer = '{"numbers": [9, 17, 9]}'
    with serving(says=lambda one: answer if is_sheet(one) else says(one)) as server:
        report = run(tmp_path / "work", openai(server), video, **MODEL)
        requests = list(server.requests)
        # What is redone for another reason asks nobody about the same pictures again.
        more = {"frames__most_failed": 0.5, "frames__candidates": 149}
        run(tmp_path / "work", openai(server), video, **MODEL, **more)
        assert len(server.requests) == len(requests)
    assert report.items["done"] == 1
    [sheet] = [one for one in requests if is_sheet(one)]
    assert "Choose 2 pictures at most" in json.dumps(sheet.body)
    picture = cv2.imdecode(np.frombuffer(sheet.image, np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape[1] == 8 * 192
    told = frames_of(tmp_path / "work")
    assert (told["chosen_by"], told["note"]) == ("openai:eye", None)
    # Of two candidates a second the ninth and the seventeenth, and the ends.
    assert told["frames"][1:3] == [4.0, 8.0]
    assert len(told["frames"]) == len(requests) - 2 == 4


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ('{"numbers": [1, 99]}', "there is no picture 99 among"),
        ('{"numbers": [0, 2]}', "there is no picture 0 among"),
        ('{"numbers": []}', "it names no picture"),
        ('{"numbers": [2, 3, 4, 5]}', "it names 4 pictures of 2 at most"),
        ("The first and the last.", "it is no JSON"),
    ],
)
def test_an_answer_of_no_use_is_told_and_looks_decide(
    tmp_path: Path, video: Path, answer: str, why: str
) -> None:
    report, requests = choosing(tmp_path / "work", video, answer)
    assert report.items["done"] == 1
    assert len(requests) == 1 + 4 + 1
    told = frames_of(tmp_path / "work")
    assert told["chosen_by"] == "looks"
    assert why in told["note"]
    run(tmp_path / "other", {}, video, frames__most=4)
    assert told["frames"] == frames_of(tmp_path / "other")["frames"]
    [line] = [line for line in report.finish if line.startswith("frames: those of 1 video")]
    assert why in line


def test_a_refusal_leaves_the_choice_to_looks(tmp_path: Path, video: Path) -> None:
    def fault(number: int, request: Request) -> Answer | None:
        choice = {"message": {"content": None}, "finish_reason": "content_filter"}
        return Answer(200, json.dumps({"choices": [choice]}).encode()) if not number else None

    with serving(says=says, fault=fault) as server:
        report = run(tmp_path / "work", openai(server), video, **MODEL)
    assert report.items["done"] == 1
    assert frames_of(tmp_path / "work")["chosen_by"] == "looks"


def test_a_dry_run_counts_the_sheet(tmp_path: Path, video: Path) -> None:
    dry = {f"stages.{step}.dry_run": True for step in ("analyse", "write", "persist")}
    work = tmp_path / "work"
    with serving(says=lambda one: '{"numbers": [9]}' if is_sheet(one) else says(one)) as server:
        report = run(work, openai(server), video, flags=dry, **MODEL)
        assert server.requests == []
        assert "frames would make 1 call with 1 image to" in "\n".join(report.finish)
        run(work, openai(server), video, **MODEL)
        assert len([one for one in server.requests if is_sheet(one)]) == 1
        assert frames_of(work)["chosen_by"] == "openai:eye"
        report = run(work, openai(server), video, flags=dry, **MODEL)
        assert "frames would make no call to" in "\n".join(report.finish)


def test_a_choice_by_nobody_is_no_choice(tmp_path: Path, video: Path) -> None:
    with pytest.raises(UsageError, match=r"stages\.analyse\.backend"):
        run(tmp_path / "work", {}, video, **MODEL)


def test_a_sheet_has_the_sharpest_of_each_run() -> None:
    small = np.zeros((2, 2, 3), np.float32)
    looks = [FrameLook(float(at), float(at % 3), 0, small) for at in range(3 * MOST_TILES)]
    assert sheet_places(looks) == [*range(2, 3 * MOST_TILES, 3)]
    assert sheet_places(looks[:5]) == [*range(5)]
