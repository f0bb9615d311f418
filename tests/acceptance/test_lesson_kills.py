"""`penstock lesson` by services, killed at any moment and troubled by them: the same videos, and no
answer that was on the disk is ever asked for again."""

import itertools
import logging
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.command import PENSTOCK, events, penstock, settings, started
from tests.acceptance.outcome import bytes_of, check_nothing_ran_twice, query
from tests.stages.lesson.media_server import MediaService, media_service
from tests.stages.lesson.test_lesson import write
from tests.stages.vision_server import Answer, Request, problem

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

LOG = logging.getLogger(__name__)

WORDS = ("rise", "fall", "rest", "turn", "stay")

Moment = Callable[[dict[str, Any]], bool]


def scripts(folder: Path) -> list[Path]:
    """Two lessons of five sections, with two pieces of narration each."""
    found = []
    for name in ("tides", "winds"):
        sections = [
            {"title": word, "text": f"{name} {word}. " * 18, "image": f"{name} that {word}"}
            for word in WORDS
        ]
        made = write(folder / name, *sections)
        found.append(made.rename(folder / f"{name}.json"))
    return found


@dataclass(frozen=True)
class LessonCommand:
    scripts: Sequence[Path]
    service: MediaService

    def words(self, out: Path) -> list[str]:
        sets = {"limits.free_disk": 0, "limits.backoff": 0.01, "stages.image.size": "320x180"}
        more = [word for one in self.service.settings() for word in ("--set", one)]
        more += ["--set", "stages.voice.characters=200"]
        return ["lesson", *map(str, self.scripts), "--out", str(out), *settings(sets), *more]

    def apart(self, out: Path) -> list[str]:
        return [str(PENSTOCK), *self.words(out), "--quiet", "--log-json", "/dev/stdout"]


@dataclass(frozen=True)
class Undisturbed:
    folder: Path
    videos: dict[str, bytes]
    texts: set[str]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Undisturbed]:
    folder = tmp_path_factory.mktemp("lessons")
    with media_service() as service:
        ran = penstock(*LessonCommand(scripts(folder), service).words(folder / "out"))
        assert ran.code == 0, ran.said
        assert set(service.paid.values()) == {1}
        yield Undisturbed(folder, videos(folder / "out"), set(service.paid))


def videos(out: Path) -> dict[str, bytes]:
    return {str(name): content for name, content in bytes_of(out / "videos").items()}


class Killed:
    """Runs of one command that are killed, and what was on the disk each time."""

    def __init__(self, command: LessonCommand, out: Path) -> None:
        self.command = command
        self.out = out
        self._asked_before = 0
        self._kept: set[str] = set()

    def check(self) -> None:
        """What was kept when the last run began was not asked for in it."""
        texts = [*self.command.service.asked("/")]
        assert not self._kept & set(texts[self._asked_before :])
        self._asked_before = len(texts)
        self._kept = self.command.service.kept(self.out)

    def end(self, one: Undisturbed) -> None:
        """Let a run come to its end: all is as if nothing had happened."""
        ran = penstock(*self.command.words(self.out))
        assert ran.code == 0, ran.said
        self.check()
        assert videos(self.out) == one.videos
        assert self._kept == one.texts
        check_nothing_ran_twice(self.out)
        assert query(self.out, "SELECT count(*) FROM attempts WHERE ended IS NULL") == [(0,)]
        assert not list(self.out.rglob(".*.scratch-*"))


def test_a_kill_while_calls_are_in_flight(undisturbed: Undisturbed, tmp_path: Path) -> None:
    """The first pieces are answered and the rest is held back; then the run is killed."""
    held, go_on = threading.Event(), threading.Event()

    def fault(number: int, request: Request) -> Answer | None:
        if number < 12 or go_on.is_set():
            return None
        held.set()
        return Answer(0, after=go_on)

    with media_service(fault) as service:
        killed = Killed(LessonCommand(scripts(undisturbed.folder), service), tmp_path / "out")
        with started(killed.command.apart(killed.out)) as process:
            for event in events(process):
                if held.is_set() and event["event"] == "AttemptEnded":
                    break
            process.send_signal(signal.SIGKILL)
            assert process.wait(60) == -signal.SIGKILL
        go_on.set()
        killed.check()
        killed.end(undisturbed)


def the_nth(name: str, count: int) -> Moment:
    left = [count]

    def reached(event: dict[str, Any]) -> bool:
        left[0] -= event["event"] == name
        return left[0] <= 0

    return reached


def kill(command: Sequence[str], moment: Moment, delay: float) -> bool:
    """Kill it so many seconds after that moment, so that any instruction may be the last; false
    where it had ended."""
    with started(command) as process:
        for event in events(process):
            if moment(event):
                time.sleep(delay)
                process.send_signal(signal.SIGKILL)
                break
        return process.wait(60) == -signal.SIGKILL


@pytest.mark.torture
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", range(2))
def test_it_is_killed_at_twenty_moments(
    undisturbed: Undisturbed, tmp_path: Path, seed: int
) -> None:
    """Where a run comes to its end before, the next kills are at work that begins anew."""
    chance, kills, again = random.Random(seed), 0, 0
    names = ["AttemptStarted", "AttemptEnded", "PartEntered", "PartEnded"]
    for place in itertools.count():
        with media_service(latency=0.1) as service:
            command = LessonCommand(scripts(undisturbed.folder), service)
            killed, hit = Killed(command, tmp_path / f"out{place}"), True
            while hit and kills < 20:
                moment = the_nth(chance.choice(names), chance.randint(1, 6))
                hit = kill(command.apart(killed.out), moment, chance.uniform(0, 0.1))
                kills += hit
                killed.check()
            killed.end(undisturbed)
            again += len(service.asked("/")) - len(undisturbed.texts)
        if kills == 20:
            break
    LOG.info("seed %d: %d kills, %d calls in flight were made again", seed, kills, again)
    assert again <= 16 * kills, "no more than can be in flight"


def test_refusals_to_hurry_and_failures_lose_nothing(
    undisturbed: Undisturbed, tmp_path: Path
) -> None:
    """A tenth of the calls are told to slow down, and a twentieth fail."""
    dice = random.Random(0)
    rolls = [dice.random() for _ in range(1000)]

    def fault(number: int, request: Request) -> Answer | None:
        if rolls[number] < 0.10:
            return problem(429, {"retry-after-ms": "20"})
        return problem(500) if rolls[number] < 0.15 else None

    with media_service(fault) as service:
        killed = Killed(LessonCommand(scripts(undisturbed.folder), service), tmp_path / "out")
        killed.end(undisturbed)
        assert set(service.paid.values()) == {1}
        assert set(service.paid) == undisturbed.texts
        assert len(service.asked("/")) > len(service.paid), "some were refused"
    failed = "SELECT count(*) FROM attempts WHERE outcome != 'done'"
    assert query(killed.out, failed) == [(0,)], "no attempt was spent on it"
