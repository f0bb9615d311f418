"""`--dry-run` costs nothing, and says what a crawl then costs; and keys stay where they are."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.command import Ran, crawl
from tests.acceptance.outcome import attempts, check_dataset, query, status, tables
from tests.stages.vision_server import Answer, VisionServer, sentence_on, serving

pytestmark = pytest.mark.slow

Serve = Callable[..., list[str]]

KEY = "sk-test-0123456789abcdefghij"


def paid(vision: VisionServer, **more: Any) -> dict[str, Any]:
    """Settings for descriptions by a server on this machine."""
    return {
        "stages.describe.backend": "openai",
        "stages.describe.base_url": f"{vision.origin}/v1",
    } | {f"stages.describe.{name}": value for name, value in more.items()}


def promised(ran: Ran) -> int:
    """How many requests a dry run says that a crawl would take."""
    found = re.search(r"would take (\d+) requests", ran.out)
    assert found, ran.said
    return int(found[1])


@pytest.mark.parametrize(("reuse", "requests"), [("auto", 24), ("off", 36)])
def test_a_dry_run_says_how_many_requests_a_crawl_then_makes(
    tmp_path: Path, clips: list[Path], serve: Serve, reuse: str, requests: int
) -> None:
    urls, work = serve(clips), tmp_path / "work"
    with serving() as vision:
        sets = paid(vision, reuse=reuse)
        dry = crawl("--dry-run", *urls, out=work, sets=sets)
        assert dry.code == 0, dry.said
        assert promised(dry) == requests
        assert not vision.requests
        assert not (work / "dataset").exists()

        assert crawl(*urls, out=work, sets=sets).code == 0
        assert len(vision.requests) == requests
        again = {(step, "done"): len(clips) for step in ("describe", "dedup")}
        assert attempts(work, run=2) == again
        check_dataset(work)
        for row in tables(work)["frames"]:
            assert row["described_by"].startswith("openai:")
            assert row["description"] in map(sentence_on, vision.images)

        # What is paid for is never paid for again, not even by a crawl that makes it anew.
        dry = crawl("--dry-run", *urls, out=work, sets=sets)
        assert promised(dry) == 0
        assert crawl(*urls, out=work, sets=sets).code == 0
        assert len(vision.requests) == requests


def test_max_requests_stops_the_run_and_the_next_goes_on(
    tmp_path: Path, clips: list[Path], serve: Serve
) -> None:
    urls, work = serve(clips[:3]), tmp_path / "work"
    with serving() as vision:
        sets = paid(vision, max_requests=5)
        first = crawl(*urls, out=work, sets=sets)
        assert first.code == 3
        assert "as many as max_requests allows" in first.out
        assert "run the same command to go on" in first.out
        assert len(vision.requests) == 5
        while (ran := crawl(*urls, out=work, sets=sets)).code == 3:
            assert len(vision.requests) <= 12
        assert ran.code == 0, ran.said
        assert len(vision.requests) == 12
    assert status(work)["items"]["done"] == 3
    check_dataset(work)


def test_a_reply_cut_in_the_middle_of_a_character_is_taken(
    tmp_path: Path, clips: list[Path], serve: Serve
) -> None:
    choice = {"message": {"content": "A star \ud83c"}, "finish_reason": "length"}
    reply = Answer(200, json.dumps({"choices": [choice]}).encode())
    with serving(fault=lambda number, request: reply) as vision:
        ran = crawl(*serve(clips[:2]), out=tmp_path / "work", sets=paid(vision))
    assert ran.code == 0, ran.said
    assert {row["description"] for row in tables(tmp_path / "work")["frames"]} == {"A star ?"}


@pytest.mark.parametrize("accepted", [True, False])
def test_the_key_is_nowhere_to_be_found(
    tmp_path: Path,
    clips: list[Path],
    serve: Serve,
    monkeypatch: pytest.MonkeyPatch,
    accepted: bool,
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    work, log = tmp_path / "work", tmp_path / "log.jsonl"
    with serving(key=KEY if accepted else "another") as vision:
        ran = crawl(*serve(clips[:2]), "--log-json", log, out=work, sets=paid(vision))
    assert vision.requests[0].headers["authorization"] == f"Bearer {KEY}"
    assert ran.code == (0 if accepted else 3), ran.said
    assert KEY not in ran.said
    assert ("check the key in the environment variable OPENAI_API_KEY" in ran.out) != accepted
    for path in [log, *work.rglob("*")]:
        if path.is_file():
            assert KEY.encode() not in path.read_bytes(), path
    assert "OPENAI_API_KEY" not in str(query(work, "SELECT versions FROM runs"))
