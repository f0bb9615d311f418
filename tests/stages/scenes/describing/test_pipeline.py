"""Descriptions and summaries through the whole pipeline: order, gaps, what is paid and sent."""

import json
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from engine import Config, Item, RunReport, load_config, run_pipeline
from stages.scenes.pipeline import scenes
from stages.scenes.record import SceneRecord
from stages.vision.counts import read_counts
from tests.stages.aimock import BACKENDS, KEY, journal, serving_aimock
from tests.stages.scenes.describing.words import (
    asks_about_scene,
    data_of,
    says,
    scene_answer,
    video_answer,
)
from tests.stages.scenes.test_pipeline import SETS, lines
from tests.stages.scenes.test_scenes import clip
from tests.stages.vision_server import Answer, Request, openai, serving, spoken

CUTS = (40, 80, 120, 160)
STARTS = [0.0, 1.6, 3.2, 4.8, 6.4]


def run(work: Path, settings: Mapping[str, Any], *videos: Path) -> RunReport:
    sets = [f"stages.describe_scenes.{name}={value}" for name, value in settings.items()]
    config = load_config(scenes, None, {}, [*SETS, *sets], {})
    return run_pipeline(scenes, config, work, [str(video) for video in videos])


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return clip(tmp_path_factory.mktemp("clips") / "five.mp4", 200, CUTS)


def costs_of(work: Path, config: Config) -> Mapping[str, float]:
    """What the pipeline counts of the one video there."""
    assert scenes.costs is not None
    [folder] = (work / "items").iterdir()
    settings = {name: stage.settings for name, stage in config.stages.items()}
    return scenes.costs(Item.at(work, "one", id=folder.name), settings)


def counted_bytes(output: Path) -> int:
    return sum(one.bytes for one in read_counts(output))


class Described:
    """A run in which later scenes are answered sooner, and the third one is refused."""

    def __init__(self, work: Path, video: Path) -> None:
        self.work = work
        with serving(says=says, fault=self.answer) as server:
            self.report = run(work, openai(server), video)
            self.requests = list(server.requests)
            self.again = run(work, openai(server), video)
            self.sent_again = server.requests[len(self.requests) :]
        self.found = lines(work / "scenes" / "scenes.jsonl")
        [self.video] = lines(work / "scenes" / "videos.jsonl")

    @staticmethod
    def answer(number: int, request: Request) -> Answer | None:
        if not asks_about_scene(request):
            return None
        start = data_of(request)["start"]
        if start == STARTS[2]:
            refused = {"message": {"content": None}, "finish_reason": "content_filter"}
            return Answer(200, json.dumps({"choices": [refused]}).encode())
        told = spoken(request, scene_answer(request))
        return Answer(200, json.dumps(told).encode(), latency=0.4 - start / 20)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, video: Path) -> Iterator[Described]:
    yield Described(tmp_path_factory.mktemp("described") / "work", video)


def test_scenes_are_in_order_though_answered_out_of_order(done: Described) -> None:
    assert done.report.items["done"] == 1
    assert not done.report.discrepancies
    assert [one["start"] for one in done.found] == STARTS
    for one in done.found:
        SceneRecord.model_validate(one)
        if one["start"] != STARTS[2]:
            assert one["description"]["description"].startswith(f"Scene at {one['start']:g} s")
            assert one["made_by"]["description"] == "openai:eye"
            assert one["gaps"] == []


def test_a_scene_that_is_not_described_is_a_stated_gap(done: Described) -> None:
    lacking = done.found[2]
    assert lacking["description"] is None
    assert "description" not in lacking["made_by"]
    [gap] = lacking["gaps"]
    assert gap["branch"] == "description"
    assert "content_filter" in gap["why"]
    summary = done.video["summary"]
    assert summary["missing"] == [2]
    assert summary["missing_why"] == [{"why": gap["why"], "scenes": [2]}]


def test_the_summary_is_made_of_the_descriptions_in_order(done: Described) -> None:
    [about_all] = [one for one in done.requests if not asks_about_scene(one)]
    assert [one["start"] for one in data_of(about_all)] == STARTS
    told = json.loads(video_answer(about_all))
    assert done.video["summary"]["title"] == told["title"]
    assert [(one["start"], one["end"]) for one in done.video["chapters"]] == [
        (0.0, 3.2),
        (3.2, 6.4),
        (6.4, 8.0),
    ]


def test_a_rerun_sends_nothing(done: Described) -> None:
    assert done.again.items["reused"] == 1
    assert done.sent_again == []


def test_no_answered_call_is_paid_again_after_an_interrupted_run(
    tmp_path: Path, video: Path
) -> None:
    with serving(says=says) as server:
        work = tmp_path / "work"
        ended = [run(work, openai(server, max_requests=2, workers=1), video) for _ in range(3)]
        assert [report.outcome for report in ended[:2]] == ["stopped", "stopped"]
        assert "stages.describe_scenes.max_requests" in str(ended[0].why)
        assert ended[2].items["done"] == 1
        asked = Counter(json.dumps(one.body) for one in server.requests)
    assert len(asked) == 6
    assert set(asked.values()) == {1}


@pytest.mark.alone
def test_both_steps_keep_to_one_rate(tmp_path: Path, video: Path) -> None:
    other = clip(tmp_path / "other.mp4", 120, (60,))
    with serving(says=says) as server:
        report = run(tmp_path / "work", openai(server, requests_per_minute=600), video, other)
        assert report.items["done"] == 2
        times = sorted(one.at for one in server.requests)
    assert len(times) == 5 + 2 + 2
    # Five may go at once, half a second's; no more than that is ahead of the rate.
    assert all(at - times[0] > (number - 5) / 10 - 0.15 for number, at in enumerate(times))
    assert all(later >= first for first, later in pairwise(times))


def test_a_dry_run_sends_nothing_and_says_what_would_leave_this_machine(
    tmp_path: Path, video: Path
) -> None:
    """And what is left of it where a run has gone some of the way, or all of it."""
    work = tmp_path / "work"
    flag = next(flag for flag in scenes.flags if flag.name == "--dry-run")

    def dry_run() -> str:
        before = len(server.requests)
        report = run_pipeline(scenes, config, work, [str(video)])
        assert len(server.requests) == before
        return "\n".join(report.finish)

    with serving(says=says) as server:
        host = server.origin.removeprefix("http://")
        sets = [f"stages.describe_scenes.{name}={value}" for name, value in openai(server).items()]
        config = load_config(scenes, None, {}, [*SETS, *sets], flag.sets)
        told = dry_run()
        counted = sum(map(counted_bytes, work.glob("items/*/*/*/describe_scenes")))
        assert f"describe_scenes would make 5 calls with 15 images to {host}" in told
        assert f"summary would make 1 call to {host}" in told
        assert "nothing was sent" in told
        assert not (work / "search.db").exists()
        assert costs_of(work, config)["images sent"] == 15
        run(work, openai(server, max_requests=2, workers=1), video)
        told = dry_run()
        assert f"describe_scenes would make 3 calls with 9 images to {host}" in told
        assert "; 2 more calls answered already" in told
        real = run(work, openai(server), video)
        assert len(server.requests) == 6
        sent = [int(r.headers["content-length"]) for r in server.requests if asks_about_scene(r)]
        assert sum(sent) == counted
        assert real.items["done"] == 1
        assert costs_of(work, config) == {"calls": 6}
        assert not any("dry run" in line for line in real.finish)
        found = (work / "scenes" / "scenes.jsonl").read_text()
        put_in = (work / "search.db").read_bytes()
        told = dry_run()
        assert f"describe_scenes would make no call to {host}: 5 answers kept already" in told
        assert f"summary would make no call to {host}: 1 answer kept already" in told
    assert (work / "scenes" / "scenes.jsonl").read_text() == found
    assert (work / "search.db").read_bytes() == put_in
    assert all(one["description"] for one in lines(work / "scenes" / "scenes.jsonl"))


def test_doctor_says_which_keys_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GEMINI_API_KEY", raising=False)
    assert scenes.checks is not None

    def told(*sets: str) -> dict[str, str]:
        config = load_config(scenes, None, {}, sets, {})
        checks = scenes.checks({name: one.settings for name, one in config.stages.items()})
        steps = ("describe_scenes", "summary")
        return {one.name: one.verdict for one in checks if one.name.startswith(steps)}

    assert told() == {}
    assert told("stages.describe_scenes.backend=gemini") == {
        "describe_scenes key": "problem",
        "describe_scenes model": "warning",
        "summary key": "problem",
        "summary model": "warning",
    }


def test_variables_set_workers_and_rate() -> None:
    given = {"DESCRIBE_SCENES_MAX_WORKERS": "3", "DESCRIBE_SCENES_RATE_LIMIT": "15"}
    config = load_config(scenes, None, given, [], {})
    assert config.stages["describe_scenes"].options.workers == 3
    for step in ("describe_scenes", "summary"):
        assert config.stages[step].settings.model_dump()["requests_per_minute"] == 15


@pytest.mark.parametrize(("backend", "path"), BACKENDS)
def test_others_idea_of_the_services_describes_and_sums_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, video: Path, backend: str, path: str
) -> None:
    told = {"description": "Noise.", "tags": [], "people": [], "actions": [], "setting": ""}
    scene = json.dumps(told | {"text_seen": ["EXIT"]})
    chapter = {"first": 0, "title": "All", "summary": "Noise."}
    whole = {"title": "Noise", "summary": "Noise.", "tags": ["noise"], "chapters": [chapter]}
    fixtures: list[dict[str, Any]] = [
        {
            "match": {"userMessage": "pictures_at", "sequenceIndex": 0},
            "response": {"error": {"message": "Slow down."}, "status": 429, "retryAfter": 1},
        },
        {"match": {"userMessage": "pictures_at"}, "response": {"content": scene}},
        {"match": {"userMessage": "description"}, "response": {"content": json.dumps(whole)}},
    ]
    monkeypatch.setenv("MOCK_API_KEY", KEY)
    with serving_aimock(tmp_path / "fixtures", fixtures) as url:
        settings = {"backend": backend, "base_url": url + path, "api_key_env": "MOCK_API_KEY"}
        report = run(tmp_path / "work", settings, video)
        answers = Counter(entry["response"]["status"] for entry in journal(url))
    assert report.items["done"] == 1
    assert answers == {429: 1, 200: 6}
    found = lines(tmp_path / "work" / "scenes" / "scenes.jsonl")
    assert [one["description"]["text_seen"] for one in found] == [["EXIT"]] * 5
    [summed] = lines(tmp_path / "work" / "scenes" / "videos.jsonl")
    assert (summed["summary"]["title"], summed["chapters"][0]["end"]) == ("Noise", 8.0)


@pytest.mark.torture
def test_a_sigkill_costs_no_answered_call(tmp_path: Path, video: Path) -> None:
    """Runs are killed while a call is in flight; the one that goes on to the end pays none anew."""
    answered: Counter[str] = Counter()
    held, kill = threading.Event(), threading.Event()

    def fault(number: int, request: Request) -> Answer | None:
        if number % 2 and not kill.is_set():
            held.set()
            kill.wait(60)
            return Answer(0)  # nobody is there any more
        answered[json.dumps(request.body)] += 1
        return None

    with serving(says=says, fault=fault) as server:
        settings = openai(server, workers=1)
        sets = [f"stages.describe_scenes.{name}={value}" for name, value in settings.items()]
        words = [word for one in [*SETS, *sets] for word in ("--set", one)]
        command = [sys.executable, "-m", "penstock", "scenes", str(video), "--quiet", *words]
        command += ["--out", str(tmp_path / "work")]
        for _ in range(3):
            held.clear()
            kill.clear()
            with subprocess.Popen(command) as killed:
                assert held.wait(60)
                killed.send_signal(signal.SIGKILL)
            kill.set()
        subprocess.run(command, check=True)
    assert len(answered) == 6
    assert set(answered.values()) == {1}
    found = lines(tmp_path / "work" / "scenes" / "scenes.jsonl")
    assert all(one["description"] for one in found)
