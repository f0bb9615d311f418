"""Lessons by services: what is asked of them, what comes of their answers, and what is paid."""

import json
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from engine import Item, load_config, run_pipeline
from stages.lesson.pictures.image import PICTURE
from stages.lesson.pipeline import lesson
from tests.acceptance.command import penstock
from tests.engine.toys import query
from tests.stages.crawled import tree
from tests.stages.lesson.media_server import (
    colour_of,
    media_service,
    said,
    text_of,
    wav,
)
from tests.stages.lesson.test_lesson import attempts, facts, write
from tests.stages.vision_server import Answer, Request, problem

SETS = ["limits.free_disk=0", 'stages.image.size="320x180"', "limits.backoff=0.01"]
SECTIONS: list[dict[str, Any]] = [
    {"title": "One", "text": "The sea rises. It falls.", "image": "a rising sea"},
    {"title": "Two", "text": "The Moon pulls.", "image": "the Moon"},
]


@pytest.fixture
def script(tmp_path: Path) -> Path:
    return write(tmp_path / "script", *SECTIONS)


def run(work: Path, script: Path, *sets: str) -> Any:
    config = load_config(lesson, None, {}, [*SETS, *sets], {})
    return run_pipeline(lesson, config, work, [str(script)])


def part(work: Path, script: Path, position: int) -> Item:
    return Item.at(work, str(script)).part("sections", position)


def reasons(work: Path, stage: str) -> list[str]:
    rows = query(work, f"SELECT reason FROM stages WHERE stage = '{stage}' AND reason IS NOT NULL")
    return [row[0] for row in rows]


@pytest.mark.parametrize("protocol", ["openai", "gemini"])
def test_sections_are_drawn_and_spoken_and_nothing_is_paid_twice(
    tmp_path: Path, script: Path, protocol: str
) -> None:
    work = tmp_path / "work"
    with media_service() as service:
        sets = service.settings(protocol)
        assert run(work, script, *sets).exit_code == 0
        assert sorted(service.paid) == [
            "The Moon pulls.", "The sea rises. It falls.", "a rising sea", "the Moon",
        ]  # fmt: skip
        told = facts(work)
        assert told["sections"][0]["made_by"] == {
            "image": f"{protocol}:images",
            "voice": f"{protocol}:speech",
        }
        with Image.open(part(work, script, 1).output("image") / PICTURE) as drawn:
            assert drawn.size == (320, 180)
            assert drawn.getpixel((2, 2)) == colour_of("the Moon")
        with av.open(str(work / "videos" / "tides.mp4")) as film:
            assert {stream.language for stream in film.streams if stream.type == "audio"} == {"eng"}
        times = json.loads((part(work, script, 0).output("voice") / "voice.json").read_text())[
            "said"
        ]
        assert [one["text"] for one in times] == ["The sea rises.", "It falls."]
        assert times[0]["end"] == pytest.approx(14 * 0.02, abs=0.03)
        assert times[1]["start"] == pytest.approx(14 * 0.02 + 0.2, abs=0.03)

        changed = [SECTIONS[0] | {"text": "The sea rises. It sinks."}, SECTIONS[1]]
        assert run(work, write(tmp_path / "script", *changed), *sets).exit_code == 0
        swapped = [changed[1], changed[0]]
        assert run(work, write(tmp_path / "script", *swapped), *sets).exit_code == 0
        assert set(service.paid.values()) == {1}
        assert len(service.paid) == 5, "one sentence: one call"


def test_what_is_asked_for(tmp_path: Path) -> None:
    script = write(
        tmp_path / "script",
        {"text": "At Fundy it is high. " + "Long. " * 60, "image": "a bay"},
        {"text": "No picture here."},
        {"text": "At Fundy it is high. " + "Long. " * 60, "image": "a bay"},
        pronunciation={"Fundy": "fun dee"},
    )
    more = ['stages.image.style="In ink."', "stages.voice.characters=200", "stages.voice.voice=x"]
    with media_service() as service:
        assert run(tmp_path / "work", script, *service.settings(), *more).exit_code == 0
        [drawn] = [one.body for one in service.server.requests if "images" in one.path]
        spoken = [one.body for one in service.server.requests if "speech" in one.path]
    assert drawn == {
        "model": "images", "prompt": "a bay\nIn ink.", "n": 1, "size": "1088x608",
        "response_format": "b64_json",
    }  # fmt: skip
    assert {(one["voice"], one["response_format"]) for one in spoken} == {("x", "wav")}
    texts = sorted({one["input"] for one in spoken}, key=len)
    assert len(spoken) == len(texts) == 3, "the same is asked once"
    assert all(len(text) <= 200 for text in texts)
    assert sum("fun dee" in text for text in texts) == 1
    made = facts(tmp_path / "work")["sections"]
    assert [one["made_by"]["image"] for one in made] == ["openai:images", "card", "openai:images"]


def test_servers_that_know_less_are_asked_for_less(tmp_path: Path, script: Path) -> None:
    refused: list[str] = []

    def fault(number: int, request: Request) -> Answer | None:
        body = request.body
        for name, wrong in (("size", "1088x608"), ("response_format", "b64_json")):
            if body.get(name) == wrong:
                refused.append(name)
                return problem(400, param=name, type="invalid_request_error")
        if body.get("response_format") == "wav":
            refused.append("wav")
            return problem(400, param="response_format")
        if body.get("response_format") == "pcm":
            samples = said(text_of(request)).tobytes()
            return Answer(200, samples, {"Content-Type": "audio/pcm"})
        return None

    with media_service(fault) as service:
        assert run(tmp_path / "work", script, *service.settings()).exit_code == 0
    assert {"size", "response_format", "wav"} <= set(refused)
    assert facts(tmp_path / "work")["gaps"] == []


REFUSED = problem(
    400,
    message="Your request was rejected by the safety system.",
    code="moderation_blocked",
    type="image_generation_user_error",
)
SILENT = Answer(200, wav(np.zeros(48_000, np.int16)), {"Content-Type": "audio/wav"})


def test_what_a_service_refuses_or_cannot_do_is_a_gap_that_is_mended_later(
    tmp_path: Path, script: Path
) -> None:
    broken = [True]

    def fault(number: int, request: Request) -> Answer | None:
        if "images" in request.path and "Moon" in text_of(request):
            return REFUSED if broken[0] else None
        silent = "speech" in request.path and "falls" in text_of(request)
        return SILENT if silent and broken[0] else None

    script = write(tmp_path / "script", *SECTIONS, {"text": "And so on."})
    work = tmp_path / "work"
    with media_service(fault) as service:
        run(work, script, *service.settings(), "defaults.attempts=2")
        assert [one["position"] for one in facts(work)["gaps"]] == [0, 1]
        assert "rejected by the safety system" in reasons(work, "image")[0]
        assert "nothing to be heard" in reasons(work, "voice")[0]
        assert len(service.asked("speech")) == 4
        broken[0] = False
        assert penstock("retry", work, "--gaps").code == 0
        assert facts(work)["gaps"] == []
        assert set(service.paid.values()) == {1}


def test_a_dry_run_counts_and_harms_nothing(tmp_path: Path, script: Path) -> None:
    work = tmp_path / "work"
    with media_service() as service:
        sets = service.settings()
        flag = ["stages.image.dry_run=true", "stages.voice.dry_run=true"]
        lines = run(work, script, *sets, *flag).finish
        told = "\n".join(lines)
        assert "image would make 2 calls" in told
        assert "voice would make 2 calls" in told
        assert "39 characters" in told
        assert not service.server.requests
        assert run(work, script, *sets).exit_code == 0
        film = (work / "videos" / "tides.mp4").read_bytes()
        before = tree(work / "items")
        told = "\n".join(run(work, script, *sets, *flag).finish)
        assert "image would make no call: 2 answers kept already" in told
        assert tree(work / "items") == before, "what stands is left alone"
        more = write(tmp_path / "script", *SECTIONS, {"text": "And more.", "image": "the Moon"})
        told = "\n".join(run(work, more, *sets, *flag).finish)
        assert "image would make no call" in told
        assert "voice would make 1 call" in told
        assert "2 more answers kept already" in told
        assert (work / "videos" / "tides.mp4").read_bytes() == film
        other = write(tmp_path / "other", {"seconds": 1, "title": "Hush"})
        assert run(work, other.rename(other.with_name("hush.json")), *sets).exit_code == 0
        assert (work / "videos" / "tides.mp4").read_bytes() == film, "as it was"
        assert run(work, more, *sets).exit_code == 0
        assert len(facts(work)["sections"]) == 3
        assert set(service.paid.values()) == {1}
        assert len(service.paid) == 5


def test_max_requests_stops_the_run_and_the_next_goes_on(tmp_path: Path, script: Path) -> None:
    with media_service() as service:
        sets = [*service.settings(), "stages.image.max_requests=1"]
        first = run(tmp_path / "work", script, *sets)
        assert first.exit_code == 3
        assert run(tmp_path / "work", script, *sets).exit_code == 0
        assert set(service.paid.values()) == {1}
        assert len(service.asked("images")) == 2


def test_a_stop_sends_nothing_more_and_what_is_sent_is_kept(tmp_path: Path) -> None:
    """Sections that wait for their turn at the gate are no reason to go on, and to go on paying."""
    sections = [{"text": f"Number {n}.", "image": f"picture {n}"} for n in range(6)]
    script = write(tmp_path / "script", *sections)
    sent, answers = threading.Semaphore(0), threading.Event()

    def held_up(number: int, request: Request) -> Answer | None:
        if "images" in request.path:
            sent.release()
            answers.wait(60)
        return None

    with media_service(held_up) as service:
        sets = [*SETS, *service.settings(), "stages.image.concurrency=2"]
        command = [sys.executable, "-m", "engine", "lesson", str(script)]
        command += ["--out", str(tmp_path / "w"), *(f"--set={one}" for one in sets)]
        run = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert sent.acquire(timeout=60)
        assert sent.acquire(timeout=60)
        run.send_signal(signal.SIGINT)
        assert run.stderr is not None
        while "stopping" not in run.stderr.readline():
            assert run.poll() is None
        answers.set()
        run.communicate(timeout=60)
        assert run.returncode == 130
        assert len(service.asked("images")) == 2
        kept = service.kept(tmp_path / "w")
        assert len([one for one in kept if "picture" in one]) == 2
        assert subprocess.run(command, capture_output=True).returncode == 0
        assert max(service.paid.values()) == 1
        assert len(service.asked("images")) == len(sections)


def test_no_espeak_is_asked_for_where_no_section_needs_it(
    tmp_path: Path, script: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    monkeypatch.setenv("PATH", str(tools))
    assert shutil.which("espeak-ng") is None
    with media_service() as service:
        assert run(tmp_path / "work", script, *service.settings()).exit_code == 0
    silent = write(tmp_path / "silent", {"seconds": 1, "title": "Hush"})
    assert run(tmp_path / "other", silent).exit_code == 0
    spoken = run(tmp_path / "spoken", script)
    assert spoken.exit_code == 3
    assert "espeak-ng, which is not here: install it" in str(spoken.why)


def test_a_preview_shows_stand_ins_and_the_next_run_puts_the_real_ones_in(
    tmp_path: Path,
) -> None:
    script, work = write(tmp_path / "script", *SECTIONS), tmp_path / "work"
    preview = ["stages.image.preview=true", "stages.voice.preview=true"]
    with media_service() as service:
        sets = service.settings("openai")
        write(tmp_path / "script", SECTIONS[0])
        assert run(work, script, *sets).exit_code == 0
        paid = list(service.paid)
        write(tmp_path / "script", *SECTIONS)
        report = run(work, script, *sets, *preview)
        assert (report.exit_code, list(service.paid)) == (0, paid), "nothing is sent"
        assert report.finish[-1].startswith("1 section with stand-ins: without --preview")
        real, stands_in = facts(work)["sections"]
        assert real["made_by"]["image"] == "openai:images"
        assert "stand_ins" not in real
        assert stands_in["stand_ins"] == ["image", "voice"]
        assert stands_in["made_by"] == {"image": "card", "voice": "espeak:en"}

        made = attempts(work)
        assert run(work, script, *sets).exit_code == 0
        assert sorted(set(service.paid) - set(paid)) == ["The Moon pulls.", "the Moon"]
        assert len(service.paid) == 4, "no answered call is paid twice"
        again = attempts(work)[len(made) :]
        assert sorted(stage for stage, _ in again) == [
            "clip",
            "image",
            "lesson",
            "voice",
        ]
        assert all("stand_ins" not in one for one in facts(work)["sections"])

        made = attempts(work)
        assert run(work, script, *sets, *preview).items["reused"] == 1
        assert attempts(work) == made, "what is real stands in a preview"
