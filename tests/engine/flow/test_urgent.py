"""Jobs with priorities, which go first where items wait, and with deadlines, after which nobody
waits for them."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from engine import Item, Job, Source
from engine.contract.item import item_id
from engine.telemetry.events import AttemptStarted, Event, ItemGivenUp
from tests.engine.toys import Does, GatedToy, Toy, engine_threads, line, outcomes, run_within, toy

SECONDS = 60


class Site(Source):
    """Gives these jobs, one after the other has come in."""

    def __init__(self, *jobs: Job) -> None:
        self.jobs = jobs
        self.told: list[tuple[str, str]] = []
        self.all_in = threading.Event()

    def items(self) -> Iterator[Job]:
        yield from self.jobs
        self.all_in.set()

    def ended(self, job: Job, outcome: str) -> None:
        self._hear(job, outcome)

    def lost(self, job: Job) -> None:
        self._hear(job, "lost")

    def _hear(self, job: Job, outcome: str) -> None:
        self.told.append((job.source, outcome))


HELD: Does = {"slow@a": ["throttled", 1, 3600], "also slow@a": ["throttled", 1, 3600]}


def soon() -> float:
    """A deadline that passes while an item is held."""
    return time.time() + 0.5


def go(workdir: Path, site: Site, *steps: Any, **more: Any) -> Any:
    return run_within(SECONDS, line(*steps), workdir, site, *more.pop("options", ()), **more)


class FirstWaits(Toy):
    """Its first item waits until all others have come in."""

    came: ClassVar[Any] = threading.Event()

    def act(self, item: Item, out: Path) -> Any:
        if item.source == "first":
            assert self.came.wait(SECONDS)
        return super().act(item, out)


def test_the_urgent_go_first_and_those_of_one_priority_in_order(fast: Path) -> None:
    given = [("first", 0), ("a", 0), ("b", 5), ("c", 0), ("d", 7), ("e", 5), ("f", -1), ("g", 0)]
    step, started = toy("a", base=FirstWaits, came=threading.Event()), []

    def listen(event: Event) -> None:
        if isinstance(event, AttemptStarted):
            started.append(event.item)

    site = Site(*(Job(source, priority=priority) for source, priority in given))
    site.all_in = step.stage.came  # type: ignore[attr-defined]
    go(fast, site, step, options=["stages.a.workers=1", "stages.a.queue=9"], listen=listen)
    assert started == [item_id(source) for source in ("first", *"dbeacgf")]


def test_a_job_that_is_late_expires_and_its_item_stays_pending(fast: Path) -> None:
    site = Site(Job("slow@a", deadline=soon()), Job("v", deadline=time.time() + 3600))
    events: list[Event] = []
    step = toy("a", base=GatedToy, does=HELD)
    report = go(fast, site, step, toy("b", "a"), listen=events.append)
    assert sorted(site.told) == [("slow@a", "expired"), ("v", "done")]
    assert ItemGivenUp(item_id("slow@a")) in events
    assert outcomes(fast)["a", item_id("slow@a")] == ("pending", None)
    assert report.items["done"] == 1
    again = Site(Job("slow@a", deadline=time.time() + 3600))
    go(fast, again, step, toy("b", "a"))
    assert again.told == [("slow@a", "done")]
    assert engine_threads() == []


class SetAhead(Site):
    """The clock is set ahead by an hour once the first job has come in."""

    def __init__(self, came: threading.Event, set_ahead: Callable[[], object], job: Job) -> None:
        super().__init__(job)
        self._came, self._set_ahead = came, set_ahead

    def items(self) -> Iterator[Job]:
        yield from super().items()
        self._set_ahead()
        yield Job("slow@a", deadline=soon())

    def _hear(self, job: Job, outcome: str) -> None:
        super()._hear(job, outcome)
        self._came.set()


def test_a_clock_that_is_set_ahead_expires_nothing(
    fast: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The deadlines are looked at after that, since another one passes."""
    real, came = time.time, threading.Event()

    def set_ahead() -> None:
        monkeypatch.setattr(time, "time", lambda: real() + 3600)

    class Stage(FirstWaits, GatedToy):
        pass

    site = SetAhead(came, set_ahead, Job("first", deadline=real() + 1800))
    go(fast, site, toy("a", base=Stage, does=HELD, came=came), options=["stages.a.workers=2"])
    assert site.told == [("slow@a", "expired"), ("first", "done")]


def test_one_that_comes_too_late_begins_nothing(fast: Path) -> None:
    site = Site(Job("v", deadline=time.time() - 1), Job("w"))
    report = go(fast, site, toy("a"))
    assert sorted(site.told) == [("v", "expired"), ("w", "done")]
    assert [stage for stage, _ in outcomes(fast)] == ["a"]
    assert report.items["done"] == 1


def test_an_item_that_another_job_waits_for_goes_on(fast: Path) -> None:
    does: Does = {"v@a": ["throttled", 1, 0.5]}
    late = Job("v@a", deadline=soon())
    site = Site(late, Job("v@a"))
    go(fast, site, toy("a", base=GatedToy, does=does))
    assert site.told == [("v@a", "expired"), ("v@a", "done")]


def test_deadlines_hold_for_a_list_too_which_is_told_nothing(fast: Path) -> None:
    jobs = [Job("slow@a", deadline=soon()), Job("v")]
    report = run_within(SECONDS, line(toy("a", base=GatedToy, does=HELD)), fast, jobs)
    assert (report.outcome, report.total.done, report.total.pending) == ("done", 1, 1)
