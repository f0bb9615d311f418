"""Killed at any moment and given again: nothing that was finished is lost or done twice."""

import hashlib
import random
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from stages.demo.server import File, MediaServer, Route
from tests.acceptance.command import crawl, crawl_command, events, started
from tests.acceptance.outcome import (
    STAGES,
    attempts,
    bytes_of,
    check_dataset,
    check_no_scratch,
    check_nothing_ran_twice,
    check_paid_once,
    kept_answers,
    query,
    status,
)
from tests.stages.vision_server import serving

pytestmark = [pytest.mark.slow, pytest.mark.processes]

Serve = Callable[..., list[str]]

MANY_ATTEMPTS: Mapping[str, Any] = {"defaults.attempts": 100}
"""What is tried alone at some of the kills, by chance, is not to be taken for what killed them."""


def slowly(route: Route) -> Route:
    """So that a kill also meets half a download."""
    assert isinstance(route, File)
    return File(route.path, bytes_per_second=300_000)


def kill_after(
    urls: list[str], work: Path, sets: dict[str, Any], after: int, name: str, delay: float
) -> bool:
    """Kill a crawl `delay` seconds after its `after`th event of this name; false if it had ended.

    The crawl is in the middle of something at any moment: the delay only makes that random too.
    """
    with started(crawl_command(*urls, out=work, sets=sets)) as process:
        seen = 0
        for event in events(process):
            seen += event["event"] == name
            if seen == after:
                time.sleep(delay)
                process.send_signal(signal.SIGKILL)
                break
        return process.wait(60) == -signal.SIGKILL


def check_kills(
    tmp_path: Path, urls: list[str], sets: dict[str, Any], moments: list[tuple[str, int, float]]
) -> None:
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    sets = {**sets, **MANY_ATTEMPTS}
    assert crawl(*urls, out=undisturbed, sets=sets).code == 0
    kills = sum(kill_after(urls, killed, sets, after, name, wait) for name, after, wait in moments)
    assert kills >= len(moments) * 2 // 3, "most of the runs were to be killed before their end"

    ran = crawl(*urls, out=killed, sets=sets)
    assert ran.code == 0, ran.said
    assert bytes_of(killed / "dataset") == bytes_of(undisturbed / "dataset")
    assert status(killed)["items"]["done"] == len(urls)
    check_nothing_ran_twice(killed)
    check_dataset(killed)
    check_no_scratch(killed)
    done = query(killed, "SELECT count(*) FROM stages WHERE outcome = 'done' AND gaps IS NULL")
    assert done == [(len(urls) * len(STAGES),)]
    # An output may be whole though the kill came before the ledger had it: it is not made again.
    # The ledger, a hundredth of a second behind, may not even have had that it was begun.
    ends: dict[tuple[str, str], set[str]] = {}
    for item, stage, outcome in query(killed, "SELECT item, stage, outcome FROM attempts"):
        ends.setdefault((item, stage), set()).add(outcome)
    assert len(ends) >= len(urls) * len(STAGES) - kills
    assert all(how & {"done", "interrupted"} for how in ends.values())
    assert query(killed, "SELECT count(*) FROM attempts WHERE ended IS NULL") == [(0,)]


def moments(seed: int, count: int, videos: int) -> list[tuple[str, int, float]]:
    """Moments spread over the work that each run still has to do, the last one in the finish."""
    chance = random.Random(seed)
    share = 2 * len(STAGES) * videos // (count + 1)
    found = [
        (
            chance.choice(["AttemptStarted", "AttemptEnded"]),
            chance.randint(1, max(1, share // 2)),
            chance.uniform(0, 0.05),
        )
        for _ in range(count - 1)
    ]
    return [*found, ("ItemEnded", videos, chance.uniform(0, 0.1))]


@pytest.mark.timeout(300)
def test_a_crawl_that_was_killed_four_times_makes_the_same_dataset(
    tmp_path: Path, clips: list[Path], serve: Serve
) -> None:
    check_kills(tmp_path, serve(clips, slowly), {}, moments(seed=4, count=4, videos=len(clips)))


@pytest.mark.torture
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    "sets",
    [
        {},
        {"stages.download.keep": False, "stages.extract.keep": False},
        {"stages.extract.placement": "process", "stages.filter.keep": False},
    ],
    ids=["all-kept", "raw-discarded", "in-processes"],
)
def test_a_crawl_that_was_killed_twenty_times_makes_the_same_dataset(
    tmp_path: Path, clips: list[Path], serve: Serve, sets: dict[str, Any], seed: int
) -> None:
    check_kills(tmp_path, serve(clips, slowly), sets, moments(seed, 20, len(clips)))


@pytest.mark.torture
@pytest.mark.timeout(1800)
def test_a_long_video_that_was_killed_twenty_times_makes_the_same_dataset(
    tmp_path: Path, data: Path, serve: Serve
) -> None:
    undisturbed, killed, kills = tmp_path / "undisturbed", tmp_path / "killed", 20
    urls = serve([data / "video" / "intel_one-by-one-person-detection.mp4"])
    sets = {
        "stages.filter.weights": str(data / "models" / "yolov8n_int8_lamri.onnx"),
        "stages.filter.image_size": 640,
        "stages.filter.classes": ["person"],
        "stages.describe.backend": "detections",
        "stages.extract.stretch": 5,
        "stages.extract.fps": 0.5,
        "stages.download.keep": False,
        "stages.extract.keep": False,
    }
    sets.update(MANY_ATTEMPTS)
    workers = {"extract": 1, "filter": 2, "describe": 2}
    sets |= {f"stages.{stage}.workers": many for stage, many in workers.items()}
    assert crawl(*urls, out=undisturbed, sets=sets).code == 0
    chance = random.Random(20)
    events = ["AttemptStarted", "AttemptEnded", "PartEntered", "PartEnded"]
    hits = sum(
        kill_after(
            urls, killed, sets, chance.randint(1, 4), chance.choice(events), chance.uniform(0, 0.1)
        )
        for _ in range(kills)
    )
    assert hits >= kills // 2

    ran = crawl(*urls, out=killed, sets=sets)
    assert ran.code == 0, ran.said
    assert bytes_of(killed / "dataset") == bytes_of(undisturbed / "dataset")
    check_nothing_ran_twice(killed)
    check_dataset(killed)
    assert not list(killed.rglob(".*.scratch-*"))
    parts = "SELECT id, outcome, position, content FROM items WHERE split IS NOT NULL ORDER BY id"
    assert query(killed, parts) == query(undisturbed, parts)
    assert len(query(killed, parts)) > 10
    for stage, many in workers.items():
        cut_off = attempts(killed)[stage, "interrupted"]
        assert cut_off <= hits * many, f"{stage}: {cut_off} were in hand at {hits} kills"


def test_answers_that_were_paid_for_before_a_kill_are_not_paid_for_again(
    tmp_path: Path, clips: list[Path], serve: Serve
) -> None:
    urls = serve(clips[:6])
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    kept: list[set[str]] = []
    with serving(latency=0.1) as vision:
        sets = {
            "stages.describe.backend": "openai",
            "stages.describe.base_url": f"{vision.origin}/v1",
            "stages.describe.concurrency": 2,
            "stages.describe.workers": 1,
        }

        def asked(key: str | None) -> Counter[str]:
            """What a run asked about; its key tells it from the others."""
            sent = None if key is None else f"Bearer {key}"
            mine = [one for one in vision.requests if one.headers.get("authorization") == sent]
            return Counter(hashlib.sha256(one.image).hexdigest() for one in mine)

        assert crawl(*urls, out=undisturbed, sets=sets).code == 0
        every = asked(None)
        assert every.total() == len(every) == len(kept_answers(undisturbed)) == 24
        vision.requests.clear()
        for done in (1, 2):
            key = {"OPENAI_API_KEY": f"run-{done}"}
            with started(crawl_command(*urls, out=killed, sets=sets), key) as process:
                for event in events(process):
                    ended = event["event"] == "AttemptEnded" and event["stage"] == "describe"
                    done -= ended
                    if not done:
                        process.send_signal(signal.SIGKILL)
            kept.append(kept_answers(killed))
        ran = crawl(*urls, out=killed, sets=sets)
        assert ran.code == 0, ran.said
        # A video has four frames, and one video is in hand.
        check_paid_once([asked("run-1"), asked("run-2"), asked(None)], kept, every, in_hand=4)
    assert bytes_of(killed / "dataset") == bytes_of(undisturbed / "dataset")
    check_nothing_ran_twice(killed)


def test_a_ledger_that_lags_behind_the_folders_is_repaired_and_says_so(
    tmp_path: Path, clips: list[Path], server: MediaServer, serve: Serve
) -> None:
    urls, work = serve(clips[:2]), tmp_path / "work"
    assert crawl(*urls, out=work).code == 0
    before = bytes_of(work / "dataset")
    for output in work.glob("items/*/dedup"):
        shutil.rmtree(output)
    server.requests.clear()
    ran = crawl(*urls, out=work)
    assert ran.code == 0, ran.said
    assert attempts(work, run=2) == {("dedup", "done"): 2}
    assert "its output is gone" in ran.said
    assert bytes_of(work / "dataset") == before
    assert not server.requests
