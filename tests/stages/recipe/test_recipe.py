"""`penstock recipe` from a video to a document: what is asked, kept, told, and searched."""

import itertools
import json
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from engine import AttemptEnded, Events
from engine.cli.main import main
from stages.recipe.news import news
from stages.recipe.pipeline import recipe
from stages.recipe.writing.markdown import as_markdown
from stages.recipe.writing.recipe_schema import RECIPE
from tests.stages.recipe.cooking import (
    documents,
    looks,
    make_video,
    notes_of,
    omelette,
    run,
    says,
    told_to_write,
)
from tests.stages.vision_server import Answer, Request, openai, problem, serving, spoken


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_video(tmp_path_factory.mktemp("clips") / "omelette.mp4")


class Done:
    """A run, and a second one on the same folder."""

    def __init__(self, work: Path, video: Path) -> None:
        self.work = work
        self.ended: list[AttemptEnded] = []
        events = Events()
        events.subscribe(lambda one: self.ended.append(one) if isinstance(one, AttemptEnded) else 0)
        all_asked, frames = threading.Event(), itertools.count(1)

        def fault(number: int, request: Request) -> Answer | None:
            """No frame is answered before all are asked about."""
            if not looks(request):
                return None
            if next(frames) == 7:
                all_asked.set()
            body = json.dumps(spoken(request, says(request))).encode()
            return Answer(200, body, after=all_asked)

        with serving(says=says, fault=fault) as server:
            self.report = run(work, openai(server), video, events=events)
            self.requests = list(server.requests)
            self.peak = server.peak
            self.again = run(work, openai(server), video)
            self.sent_again = server.requests[len(self.requests) :]
        [self.document] = documents(work)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, video: Path) -> Iterator[Done]:
    yield Done(tmp_path_factory.mktemp("recipe") / "work", video)


def test_a_video_becomes_a_document_by_its_schema(done: Done) -> None:
    assert done.report.items["done"] == 1
    assert not done.report.discrepancies
    assert done.document["document"] == omelette()
    assert not done.document["partial"]
    assert done.document["made_by"] == "openai:eye"
    assert done.document["gaps"] == []
    assert json.loads((done.work / "documents" / "schema.json").read_text()) == RECIPE
    page = (done.work / "documents" / "omelette.md").read_text()
    assert page.startswith("# Omelette\n")
    assert "2. Fry them in butter. (0:02–0:09)" in page


def test_a_call_a_frame_and_all_of_them_at_once(done: Done) -> None:
    asked = [one for one in done.requests if looks(one)]
    assert len(asked) == 7
    assert all(len(one.images) == 1 for one in asked)
    assert done.peak == 7
    [told] = told_to_write(done.requests)
    assert [one["at"] for one in told["frames"]] == done.document["frames"]
    assert [one["things"] for one in told["frames"]] == [["2 eggs"]] * 7
    assert "words" not in told


def test_the_document_is_asked_for_by_the_schema(done: Done) -> None:
    [request] = [one for one in done.requests if not looks(one)]
    form = request.body["response_format"]["json_schema"]
    assert form["strict"] is True
    assert form["schema"] == RECIPE


def test_each_request_is_counted_where_it_is_sent(done: Done) -> None:
    """What a caller's quota of costs goes by."""
    paid = Counter({one.stage: 0 for one in done.ended})
    for one in done.ended:
        paid[one.stage] += int(one.paid)
    assert sum(paid.values()) == len(done.requests)
    assert paid["analyse"] == sum(looks(one) for one in done.requests)


def test_a_second_run_sends_nothing(done: Done) -> None:
    assert done.again.items["reused"] == 1
    assert done.sent_again == []


def test_entries_and_frames_are_found(done: Done) -> None:
    def found(*words: str) -> str:
        return CliRunner().invoke(main, ["search", str(done.work), *words]).output

    first, picture, *_ = found("butter").splitlines()
    assert "  steps 2  0:02  descriptions: Fry them in butter." in first
    assert Path(picture.strip()).is_file()
    assert "  ingredients 1  " in found("eggs")
    assert "  frame  " in found("pan", "--in", "objects")


def test_figures_are_told_with_their_targets(done: Done) -> None:
    told = [line for line in done.report.finish if "target" in line]
    names = [line.partition(":")[0] for line in told]
    assert names[:3] == ["time until a document", "time until all is stored", "a frame took"]
    assert "calls answered: 100.0% (8 of 8); target: over 99%" in told
    assert any(line.startswith("a call took: ") and "(p95)" in line for line in told)
    assert any(line.startswith("sent with calls: ") for line in told)
    assert not [line for line in done.again.finish if "target" in line], "nothing was done"


def test_the_page_shows_the_document_its_frames_and_the_figures(done: Done) -> None:
    told = CliRunner().invoke(main, ["report", str(done.work)])
    assert told.exit_code == 0, told.output
    page = (done.work / "report.html").read_text()
    assert "Fry them in butter." in page
    assert page.count("data:image/jpeg;base64,") == 7
    assert "time until a document" in page
    assert "over 99%" in page


def test_a_terminal_is_told_of_each_frame_and_of_the_document(done: Done) -> None:
    item = next((done.work / "items").iterdir())
    lines = [
        news("analyse", part / "analyse") for part in sorted((item / "frames.parts").iterdir())
    ]
    assert all(line and line.startswith("frame at 0:") and "A pan" in line for line in lines)
    assert news("write", item / "write") == "document: Omelette (1 ingredients, 2 steps)"
    assert news("persist", item / "persist") is None


def test_frames_end_before_the_document_is_begun(done: Done) -> None:
    steps = [one.stage for one in done.ended if one.stage in ("analyse", "write")]
    assert steps == ["analyse"] * 7 + ["write"]


def test_a_frame_that_fails_is_a_gap_that_can_be_mended(tmp_path: Path, video: Path) -> None:
    failing: list[bytes] = []

    def fault(number: int, request: Request) -> Answer | None:
        if looks(request) and not failing:
            failing.append(request.image)
        return problem(500) if looks(request) and request.image == failing[0] else None

    work = tmp_path / "work"
    with serving(says=says, fault=fault) as server:
        report = run(work, openai(server, call_attempts=1, attempts=1), video)
        assert report.items["done"] == 1
        assert report.gaps == 1
        [told] = told_to_write(server.requests)
        [document] = documents(work)
        assert told["not_looked_at"] == document["gaps"]
        assert len(document["gaps"]) == 1
        assert document["document"] == omelette()
        before, [image] = len(server.requests), failing
        failing[0] = b"none any more"
        retried = CliRunner().invoke(main, ["retry", str(work), "--gaps"])
        assert retried.exit_code == 0, retried.output
        frame, written = server.requests[before:]
        assert (frame.image, looks(written)) == (image, False)
        assert documents(work)[0]["gaps"] == []


def test_a_refusal_is_an_answer_and_a_gap(tmp_path: Path, video: Path) -> None:
    def fault(number: int, request: Request) -> Answer | None:
        choice = {"message": {"content": None}, "finish_reason": "content_filter"}
        return None if number else Answer(200, json.dumps({"choices": [choice]}).encode())

    with serving(says=says, fault=fault) as server:
        report = run(tmp_path / "work", openai(server), video)
        assert report.gaps == 1
        assert len(server.requests) == 8


def test_gemini_is_asked_by_the_schema(tmp_path: Path, video: Path) -> None:
    with serving(says=says) as server:
        gemini = {"backend": "gemini", "base_url": f"{server.origin}/v1beta", "model": "eye"}
        run(tmp_path / "work", gemini, video, frames__most=1)
        frame, written = server.requests
    assert "responseSchema" in frame.body["generationConfig"]
    assert written.body["generationConfig"]["responseJsonSchema"] == RECIPE
    assert documents(tmp_path / "work")[0]["document"] == omelette()


def test_faults_and_pauses_cost_nothing_that_was_answered(tmp_path: Path, video: Path) -> None:
    def fault(number: int, request: Request) -> Answer | None:
        if number in (1, 4):
            return problem(429, {"Retry-After": "0"})
        return problem(500) if number == 2 else None

    with serving(says=says, fault=fault) as server:
        report = run(tmp_path / "work", openai(server), video)
        assert report.items["done"] == 1
        assert report.gaps == 0
        asked = Counter(json.dumps(one.body) for one in server.requests)
    assert "calls answered: 88.9% (8 of 9), beside 2 that were to come later" in str(report.finish)
    assert sum(asked.values()) == 8 + 3
    assert len(asked) == 8


def test_requests_for_vectors_are_among_the_figures(tmp_path: Path, video: Path) -> None:
    def fault(number: int, request: Request) -> Answer | None:
        if not request.path.endswith("/embeddings"):
            return None
        asked.append(request)
        if len(asked) == 1:
            return problem(503)
        data = [{"index": n, "embedding": [1.0, 0.5]} for n in range(len(request.body["input"]))]
        return Answer(200, json.dumps({"data": data}).encode())

    asked: list[Request] = []
    with serving(says=says, fault=fault) as server:
        told = {"persist__meaning": "api", "persist__base_url": f"{server.origin}/v1"}
        report = run(tmp_path / "work", openai(server), video, **told)
        assert report.items["done"] == 1
        sent = len(server.requests)
    assert len(asked) == 3
    line = (
        f"calls answered: {(sent - 1) / sent:.1%} ({sent - 1} of {sent}); target: over 99%, MISSED"
    )
    assert line in report.finish


@pytest.mark.parametrize(
    ("answers", "partial", "amiss"),
    [
        ([{"title": 7}, omelette()], False, ""),
        ([omelette(steps=[{"text": "Eat.", "start": 9, "end": 900}]), omelette()], False, ""),
        (["I cannot.", "Nor now."], True, "no JSON"),
        ([omelette(servings="two"), omelette(servings="2")], True, "servings: '"),
    ],
)
def test_what_does_not_fit_is_asked_for_once_more(
    tmp_path: Path, video: Path, answers: list[object], partial: bool, amiss: str
) -> None:
    left = list(answers)
    told: list[str] = []

    def answer(request: Request) -> str:
        if looks(request):
            return notes_of(request)
        told.append(request.body["messages"][-1]["content"])
        one = left.pop(0)
        return one if isinstance(one, str) else json.dumps(one)

    with serving(says=answer) as server:
        run(tmp_path / "work", openai(server), video, frames__most=1)
    [document] = documents(tmp_path / "work")
    assert len(told) == 2
    assert "That answer cannot be used" in told[1]
    assert document["partial"] is partial
    assert any(amiss in one for one in document["problems"]) is bool(amiss)
    if not partial:
        assert document["document"] == omelette()


def test_without_a_key_a_document_says_what_it_lacks(tmp_path: Path, video: Path) -> None:
    report = run(tmp_path / "work", {}, video)
    [document] = documents(tmp_path / "work")
    assert document["partial"]
    assert document["made_by"] == "composed"
    assert document["document"]["title"] == "omelette"
    assert document["document"]["ingredients"] == []
    assert any("partial: no model was asked" in line for line in report.finish)


def test_another_prompt_writes_anew_and_looks_at_nothing_again(tmp_path: Path, video: Path) -> None:
    form = tmp_path / "how-to.json"
    form.write_text(
        json.dumps({"type": "object", "properties": {"title": {"type": "string"}}, "required": []})
    )
    flags = {"stages.write.schema_file": str(form), "stages.write.prompt": "Write a how-to."}
    work = tmp_path / "work"
    with serving(says=says) as server:
        run(work, openai(server), video)
        before = len(server.requests)
        run(work, openai(server), video, flags=flags)
        more = server.requests[before:]
        form.write_text(form.read_text().replace("title", "name"))
        run(work, openai(server), video, flags=flags)
        again = server.requests[before + len(more) :]
    assert len(more) == len(again) == 1
    assert not looks(more[0])
    assert more[0].body["messages"][0]["content"].startswith("Write a how-to.")
    assert more[0].body["response_format"]["json_schema"]["strict"] is False
    assert '"name"' in again[0].body["messages"][0]["content"]


def test_what_holds_nothing_leaves_no_empty_lines() -> None:
    times = {"preparation": None, "cooking": None}
    page = as_markdown({"title": "Toast", "times": times, "servings": 2}, [])
    assert page == "# Toast\n\n**Servings**: 2\n"


def test_a_dry_run_counts_the_calls_and_sends_none(tmp_path: Path, video: Path) -> None:
    flag = next(flag for flag in recipe.flags if flag.name == "--dry-run")
    work = tmp_path / "work"
    with serving(says=says) as server:
        report = run(work, openai(server), video, flags=flag.sets)
        assert report.items["done"] == 1
        assert server.requests == []
        assert not (work / "search.db").exists()
        told = "\n".join(report.finish)
        assert "analyse would make 7 calls with 7 images" in told
        assert "write would make 1 call" in told
        assert "nothing was sent" in told
        run(work, openai(server), video)
        assert len(server.requests) == 8
