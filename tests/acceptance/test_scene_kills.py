"""The whole scenes pipeline, killed at any moment, over several videos at once, and with branches
that fail or change: the same records, and no answer is paid for twice."""

import json
import logging
import random
import shutil
import signal
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from stages.demo.answering import CHAT, SPEECH
from stages.demo.films import FILMS, TAGGER, make_films
from stages.demo.server import MediaServer
from tests.acceptance.command import events, started
from tests.acceptance.outcome import (
    attempts,
    bytes_of,
    check_nothing_ran_twice,
    check_paid_once,
    kept_answers,
    query,
)
from tests.acceptance.scene_runs import (
    ASKING,
    DISCARDING,
    KEY,
    KILLED,
    TWO_AT_ONCE,
    Paid,
    ScenesCommand,
    in_hand,
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

VARIANTS = {"discarding": DISCARDING, "two-at-once": TWO_AT_ONCE}

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Moment:
    """So many seconds after the `count`th event of this name, of this stage or any."""

    name: str
    count: int
    seconds: float
    stage: str | None = None

    def comes(self, told: Iterator[dict[str, Any]]) -> bool:
        """Wait for it; false where the events end before."""
        left = self.count
        for event in told:
            left -= event["event"] == self.name and self.stage in (None, event.get("stage"))
            if not left:
                time.sleep(self.seconds)
                return True
        return False


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
        asked = paid.times()
        assert len(kept_answers(folder / "out")) == len(asked) == asked.total()
        yield Undisturbed(folder / "out", command, paid, asked)


def kill(command: Sequence[str], key: str, moment: Moment) -> bool:
    """Kill it at that moment; false where it had ended, and ended well."""
    with started(command, {KEY: key}) as process:
        if moment.comes(events(process)):
            process.send_signal(signal.SIGKILL)
        _, told = process.communicate(timeout=60)
        assert process.returncode in (0, -signal.SIGKILL), told
        if told:
            LOG.info("it printed: %s", told)
        return process.returncode != 0


def check_kills(
    one: Undisturbed,
    folder: Path,
    moments: Sequence[Moment],
    variant: Mapping[str, Any] = ASKING,
) -> tuple[int, int]:
    """Killed at each of these moments, each time given again, and begun anew in another folder
    where it came to its end. Returns the numbers of work folders, and of calls that were made again
    because their answers were not there yet."""
    again, left, more = 0, list(moments), {**variant, **KILLED}
    for folders in range(1, len(moments) + 1):
        out = folder / f"out{folders}"
        one.paid.calls.clear()
        kept: list[set[str]] = []
        while left and kill(one.command.apart(out, **more), f"{len(kept)}", left[0]):
            kept.append(kept_answers(out))
            del left[0]
        assert kept, f"it came to its end before {left[0]}"
        ran = one.command.here(out, **more)
        assert ran.code == 0, ran.said
        check_the_same(one, out)
        check_nothing_ran_twice(out)
        asked = [one.paid.times(key=f"{number}") for number in range(len(kept) + 1)]
        asked[-1] += one.paid.times(key="")
        check_paid_once(asked, kept, one.asked, in_hand(more))
        again += one.paid.times().total() - len(one.asked)
        assert query(out, "SELECT count(*) FROM attempts WHERE ended IS NULL") == [(0,)]
        assert not list(out.rglob(".*.scratch-*"))
        assert not [path for step in discarded(more) for path in out.glob(f"items/*/{step}/*")]
        if not left:
            return folders, again
    raise AssertionError("no run was killed")


def discarded(sets: Mapping[str, Any]) -> list[str]:
    """The steps whose outputs go as soon as nobody reads them."""
    return [step for step in STEPS if not sets.get(f"stages.{step}.keep", True)]


def check_the_same(one: Undisturbed, out: Path) -> None:
    """Records, pictures, and what can be searched: byte for byte."""
    assert bytes_of(out / "scenes") == bytes_of(one.out / "scenes")
    assert searchable(out) == searchable(one.out)


def seeded(seed: int, count: int) -> list[Moment]:
    chance = random.Random(seed)
    names = ["AttemptStarted", "AttemptEnded", "PartEntered", "PartEnded"]
    return [
        Moment(chance.choice(names), chance.randint(1, 5), chance.uniform(0, 0.3))
        for _ in range(count)
    ]


def test_it_is_killed_three_times_and_its_records_are_the_same(
    undisturbed: Undisturbed, tmp_path: Path
) -> None:
    moments = [
        Moment("AttemptEnded", 1, 0.02, stage)
        for stage in ("transcribe", "captions", "describe_scenes")
    ]
    check_kills(undisturbed, tmp_path, moments)


@pytest.mark.torture
@pytest.mark.processes
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", range(10))
def test_it_is_killed_at_twenty_moments(
    undisturbed: Undisturbed, tmp_path: Path, seed: int
) -> None:
    folders, again = check_kills(undisturbed, tmp_path, seeded(seed, 20))
    LOG.info("seed %d: %d folders, %d calls in flight were made again", seed, folders, again)


def test_it_is_killed_with_two_videos_in_work_whose_files_go_as_soon_as_they_are_read(
    undisturbed: Undisturbed, tmp_path: Path
) -> None:
    moments = [Moment("AttemptEnded", 2, 0.02, "objects")]
    check_kills(undisturbed, tmp_path, moments, {**DISCARDING, **TWO_AT_ONCE})


@pytest.mark.torture
@pytest.mark.processes
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("seed", range(5))
def test_a_variant_is_killed_at_ten_moments(
    undisturbed: Undisturbed, tmp_path: Path, seed: int, variant: str
) -> None:
    moments = seeded(seed, 10)
    folders, again = check_kills(undisturbed, tmp_path, moments, VARIANTS[variant])
    LOG.info("%s, seed %d: %d folders, %d calls made again", variant, seed, folders, again)


@pytest.mark.torture
@pytest.mark.processes
@pytest.mark.parametrize("stage", STEPS)
def test_it_is_killed_at_a_commit(undisturbed: Undisturbed, tmp_path: Path, stage: str) -> None:
    moment = Moment("AttemptEnded", 1, random.Random(stage).uniform(0, 0.02), stage)
    _, again = check_kills(undisturbed, tmp_path, [moment])
    LOG.info("%s: %d calls in flight were made again", stage, again)


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
    assert ran_again <= {
        *("audio", "sounds", "fuse", "describe_scenes"),
        *("collect", "summary", "persist"),
    }
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
