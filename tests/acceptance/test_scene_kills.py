"""The whole scenes pipeline, killed at any moment, over several videos at once, and with branches
that fail or change: the same records, and no answer is paid for twice."""

import json
import logging
import random
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from stages.demo.answering import CHAT, SPEECH
from stages.demo.films import FILMS, TAGGER, make_films
from stages.demo.server import MediaServer
from tests.acceptance.command import events, started
from tests.acceptance.outcome import attempts, bytes_of, check_nothing_ran_twice, query
from tests.acceptance.scene_runs import (
    Paid,
    ScenesCommand,
    of_films,
    paid_servers,
    records,
    searchable,
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

STEPS = (
    *("download", "audio", "scenes", "chunks", "sounds", "captions", "objects", "transcribe"),
    *("transcript", "fuse", "describe_scenes", "collect", "summary", "persist"),
)

LOG = logging.getLogger(__name__)

Moment = Callable[[dict[str, Any]], bool]
"""Whether a run is to be killed after this event."""


@dataclass(frozen=True)
class Undisturbed:
    """A run that nothing disturbed, the command that made it, and what it paid for."""

    out: Path
    command: ScenesCommand
    paid: Paid
    asked: Counter[str]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Undisturbed]:
    folder = tmp_path_factory.mktemp("scenes")
    (folder / "films").mkdir()
    films = [folder / "films" / film.file for film in make_films(folder / "films")]
    with paid_servers() as (paid, url):
        command = ScenesCommand(films, url)
        ran = command.here(folder / "out", **{"stages.download.placement": "thread"})
        assert ran.code == 0, ran.said
        yield Undisturbed(folder / "out", command, paid, paid.times())


def the_nth(name: str, count: int, stage: str | None = None) -> Moment:
    """After so many events of this name, of this stage or any."""
    left = [count]

    def reached(event: dict[str, Any]) -> bool:
        left[0] -= event["event"] == name and stage in (None, event.get("stage"))
        return left[0] <= 0

    return reached


def kill(command: Sequence[str], moment: Moment, delay: float) -> float | None:
    """Kill it so many seconds after that moment. Returns when, by the monotonic clock; None where
    it had ended."""
    with started(command) as process:
        at = None
        for event in events(process):
            if moment(event):
                time.sleep(delay)
                at = time.monotonic()
                process.send_signal(signal.SIGKILL)
                break
        return at if process.wait(60) == -signal.SIGKILL else None


def check_kills(
    one: Undisturbed, out: Path, moments: Sequence[tuple[Moment, float]], **more: Any
) -> tuple[int, int]:
    """Killed at each of these moments, each time given again. Returns the numbers of kills and of
    calls that were in flight then and were made again."""
    one.paid.calls.clear()
    kills = [kill(one.command.apart(out, **more), moment, wait) for moment, wait in moments]
    hits = [at for at in kills if at is not None]
    assert len(hits) >= max(1, len(moments) * 2 // 3), "most were to be killed before their end"
    ran = one.command.here(out, **more)
    assert ran.code == 0, ran.said
    check_the_same(one, out)
    check_nothing_ran_twice(out)
    in_flight = sum((one.paid.in_flight(at) for at in hits), Counter[str]())
    again = one.paid.times() - Counter(dict.fromkeys(one.asked, 1))
    assert set(one.paid.times()) == set(one.asked), "nothing else was asked"
    assert not again - in_flight, f"paid for again: {one.paid.told(again - in_flight, hits)}"
    assert query(out, "SELECT count(*) FROM attempts WHERE ended IS NULL") == [(0,)]
    assert not list(out.rglob(".*.scratch-*"))
    return len(hits), again.total()


def check_the_same(one: Undisturbed, out: Path) -> None:
    """Records, pictures, and what can be searched: byte for byte."""
    assert bytes_of(out / "scenes") == bytes_of(one.out / "scenes")
    assert searchable(out) == searchable(one.out)


def seeded(seed: int, count: int) -> list[tuple[Moment, float]]:
    chance = random.Random(seed)
    names = ["AttemptStarted", "AttemptEnded", "PartEntered", "PartEnded"]
    return [
        (the_nth(chance.choice(names), chance.randint(1, 5)), chance.uniform(0, 0.3))
        for _ in range(count)
    ]


def test_it_is_killed_three_times_and_its_records_are_the_same(
    undisturbed: Undisturbed, tmp_path: Path
) -> None:
    moments = [
        (the_nth("AttemptEnded", 1, stage), 0.02)
        for stage in ("transcribe", "captions", "describe_scenes")
    ]
    check_kills(undisturbed, tmp_path / "out", moments)


@pytest.mark.torture
@pytest.mark.processes
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", range(3))
def test_it_is_killed_at_twenty_moments(
    undisturbed: Undisturbed, tmp_path: Path, seed: int
) -> None:
    kills, again = check_kills(undisturbed, tmp_path / "out", seeded(seed, 20))
    LOG.info("seed %d: %d kills, %d calls in flight then were made again", seed, kills, again)


@pytest.mark.torture
@pytest.mark.processes
@pytest.mark.parametrize("stage", STEPS)
def test_it_is_killed_at_a_commit(undisturbed: Undisturbed, tmp_path: Path, stage: str) -> None:
    moment = the_nth("AttemptEnded", 1, stage), random.Random(stage).uniform(0, 0.02)
    kills, again = check_kills(undisturbed, tmp_path / "out", [moment])
    LOG.info("%s: %d kill, %d calls in flight then were made again", stage, kills, again)


@pytest.mark.parametrize(("count", "workers"), [(1, "1"), (2, "2"), (4, "1")])
def test_videos_at_once_make_the_records_that_each_makes_alone(
    undisturbed: Undisturbed, tmp_path: Path, count: int, workers: str
) -> None:
    films = undisturbed.command.films[:count]
    more = {f"stages.{step}.workers": workers for step in ("download", "scenes", "audio", "fuse")}
    ran = undisturbed.command.here(tmp_path / "out", films, **more)
    assert ran.code == 0, ran.said
    ids = {one["video"] for one in records(tmp_path / "out")}
    assert len(ids) == count
    assert of_films(tmp_path / "out", ids) == of_films(undisturbed.out, ids)


def test_another_tagger_hears_no_speech_again(undisturbed: Undisturbed, tmp_path: Path) -> None:
    out, tagger = tmp_path / "out", tmp_path / "tagger"
    shutil.copytree(undisturbed.out, out, symlinks=True)
    shutil.copytree(TAGGER, tagger)
    weights = load_file(tagger / "model.safetensors")
    save_file(
        {
            name: value * 0 if "classifier.dense" in name else value
            for name, value in weights.items()
        },
        tagger / "model.safetensors",
        {"format": "pt"},
    )
    undisturbed.paid.calls.clear()
    ran = undisturbed.command.here(out, **{"stages.sounds.model": str(tagger)})
    assert ran.code == 0, ran.said
    ran_again = {stage for stage, _ in attempts(out, run=2)}
    assert "sounds" in ran_again
    assert ran_again <= {"sounds", "fuse", "describe_scenes", "collect", "summary", "persist"}
    assert undisturbed.paid.times(SPEECH) == Counter()
    for before, after in zip(records(undisturbed.out), records(out), strict=True):
        assert after["speech"] == before["speech"]
        assert after["captions"] == before["captions"]


@pytest.mark.parametrize(
    ("path", "branch"), [(SPEECH, "speech"), (CHAT, "description")], ids=["speech", "describe"]
)
def test_a_branch_that_fails_leaves_a_stated_gap(
    undisturbed: Undisturbed, tmp_path: Path, path: str, branch: str
) -> None:
    film, out = undisturbed.command.films[0], tmp_path / "out"
    refused = {"error": {"message": "not this one", "code": "content_policy_violation"}}
    paid = Paid(latency=0)
    with MediaServer(paid.routes()) as server:
        answer = json.dumps(refused).encode()
        server.routes[path] = lambda exchange: exchange.send(400, "application/json", answer)
        command = ScenesCommand([film], server.url("/v1"))
        ran = command.here(out)
    assert ran.code == 0, ran.said
    before = [one for one in records(undisturbed.out) if one["video"] == records(out)[0]["video"]]
    found = records(out)
    assert len(found) == len(before) == len(FILMS[0].takes)
    lacking = [one for one in found if branch in {gap["branch"] for gap in one["gaps"]}]
    assert lacking, "somewhere it is said that something is missing"
    for one in lacking:
        [why] = [gap["why"] for gap in one["gaps"] if gap["branch"] == branch]
        assert "not this one" in why
    for one, other in zip(found, before, strict=True):
        for name in ("captions", "objects", "sounds", "frames", "start", "end"):
            assert one[name] == other[name]
