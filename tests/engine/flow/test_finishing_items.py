"""The results of each item are made as soon as it has ended, and before anybody is told."""

import errno
import os
import queue
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
from anyio import to_thread

from engine import FinishContext, ItemRecord, ItemUnfinished, Job, Pipeline, Source
from engine.contract.item import item_id
from engine.flow.opening import opened_run
from engine.telemetry.events import Event, Events, ItemEnded
from tests.engine.toys import Does, GatedToy, configured, engine_threads, executions, line, run, toy

DOES: Does = {
    "bad": ["permanent"],
    "dull": ["drop"],
    "channel": ["expand", ["v1", "v2"]],
}


class Site(Source):
    """Gives jobs, and looks at each end whether the result is there."""

    def __init__(self, workdir: Path, *given: str) -> None:
        self.workdir = workdir
        self.given = given
        self.told: list[tuple[str, str, bool]] = []

    def items(self) -> Iterator[Job]:
        yield from map(Job.of, self.given)

    def ended(self, job: Job, outcome: str) -> None:
        self._hear(job, outcome)

    def lost(self, job: Job) -> None:
        self._hear(job, "lost")

    def _hear(self, job: Job, outcome: str) -> None:
        self.told.append((job.source, outcome, result(self.workdir, job.source).exists()))


def result(workdir: Path, source: str) -> Path:
    return workdir / "results" / item_id(source)


def show(context: FinishContext, record: ItemRecord) -> None:
    file = context.workdir / "results" / record.id
    file.parent.mkdir(exist_ok=True)
    if record.outcome == "done":
        file.write_text(record.source)
    else:
        file.unlink(missing_ok=True)


def pipeline(finish_item: Callable[..., Any] = show, **more: Any) -> Pipeline:
    return line(toy("a", does=DOES), toy("b", "a"), finish_item=finish_item, **more)


def test_a_result_is_there_when_its_end_is_told(fast: Path) -> None:
    site, heard = Site(fast, "v", "bad", "dull", "channel", "v"), []

    def listen(event: Event) -> None:
        if isinstance(event, ItemEnded):
            heard.append((event.item, (fast / "results" / event.item).exists()))

    report = run(pipeline(), fast, site, listen=listen)
    assert sorted(site.told) == [
        ("bad", "failed", False), ("channel", "done", True), ("dull", "dropped", False),
        ("v", "done", True), ("v", "done", True),
    ]  # fmt: skip
    made = {item_id(source) for source in ("v", "channel", "v1", "v2")}
    assert {item for item, is_there in heard if is_there} == made
    assert report.items == {"done": 4, "dropped": 1, "failed": 1, "reused": 0}
    assert engine_threads() == []


def test_a_finish_that_a_kill_cut_off_is_made_up_for(fast: Path) -> None:
    """The ledger has the end, and the result is missing: as after a kill between the two."""
    run(pipeline(lambda context, record: None), fast, ["v"])
    before, site = executions(fast), Site(fast, "v")
    assert run(pipeline(), fast, site).items["reused"] == 1
    assert site.told == [("v", "done", True)]
    assert executions(fast) == before


def test_an_item_whose_finish_fails_is_told_as_failed_and_the_run_goes_on(fast: Path) -> None:
    broken = {item_id("v"): ["KeyError", "OSError"]}

    def finish_item(context: FinishContext, record: ItemRecord) -> None:
        if broken.get(record.id):
            raise {"KeyError": KeyError, "OSError": RuntimeError}[broken[record.id].pop(0)]("odd")
        show(context, record)

    why: list[str] = []

    def listen(event: Event) -> None:
        if isinstance(event, ItemUnfinished):
            why.append(event.reason)

    site = Site(fast, "v", "w")
    report = run(pipeline(finish_item), fast, site, listen=listen)
    assert sorted(site.told) == [("v", "failed", False), ("w", "done", True)]
    assert (report.outcome, report.exit_code) == ("done", 1)
    before, site = executions(fast), Site(fast, "v", "v")
    run(pipeline(finish_item), fast, site, listen=listen)
    assert {outcome for _, outcome, _ in site.told} <= {"failed", "done"}
    assert result(fast, "v").exists()
    assert executions(fast) == before, "only the finish is tried again"
    assert len(why) == 2
    assert why[0].startswith(f"the finish cannot read the outputs of {item_id('v')}: KeyError")
    assert why[1] == "RuntimeError: odd"


def test_a_full_disk_in_it_stops_the_run_and_loses_no_job(fast: Path) -> None:
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "film.mp4")

    def finish_item(context: FinishContext, record: ItemRecord) -> None:
        raise full

    site = Site(fast, "v")
    report = run(pipeline(finish_item), fast, site)
    assert (report.outcome, site.told) == ("stopped", [("v", "lost", False)])
    assert report.why is not None
    assert "the disk is full while writing film.mp4" in report.why
    site = Site(fast, "v")
    run(pipeline(), fast, site)
    assert site.told == [("v", "done", True)]


def test_results_go_with_items_that_are_not_done_any_more(fast: Path) -> None:
    run(pipeline(), fast, ["v"])
    assert result(fast, "v").exists()
    now_bad = line(toy("a", does={"v": ["permanent"]}, version=2), toy("b", "a"), finish_item=show)
    run(now_bad, fast, ["v"])
    assert not result(fast, "v").exists()


class Resident(Source):
    """A source that never ends: gives what it is sent."""

    def __init__(self) -> None:
        self.coming: queue.SimpleQueue[str | None] = queue.SimpleQueue()

    def items(self) -> Iterator[Job]:
        return map(Job.of, iter(self.coming.get, None))


class Whole:
    """A finish of all items, for which one can wait."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.made: queue.SimpleQueue[tuple[int, bool]] = queue.SimpleQueue()

    def __call__(self, context: FinishContext) -> list[str]:
        done = [record for record in context.items() if record.outcome == "done"]
        self.made.put((len(done), context.is_over))
        if self.error is not None:
            error, self.error = self.error, None
            raise error
        return []

    async def until(self, items: int) -> None:
        """Wait until one has seen so many that are done."""
        found, is_over = await to_thread.run_sync(self.made.get)
        assert not is_over
        if found < items:
            await self.until(items)


def go(workdir: Path, whole: Whole, act: Callable[[Resident], Any], *sets: str) -> None:
    """A resident run beside `act`, which ends it."""

    async def main() -> None:
        source, made = Resident(), line(toy("a", base=GatedToy, does=STUCK), finish=whole)
        config, events = configured(made, *sets), Events()
        with anyio.fail_after(30):
            async with opened_run(made, config, workdir, source, events, resident=True) as it:

                async def beside() -> None:
                    await act(source)
                    it.drain("interrupted", "enough")
                    source.coming.put(None)

                await it.execute([beside])

    anyio.run(main)


STUCK: Does = {"stuck@a": ["throttled", 1, 3600]}


def test_a_resident_run_finishes_all_when_it_is_idle(fast: Path) -> None:
    """Also after one that failed."""
    whole = Whole(RuntimeError("odd"))

    async def act(source: Resident) -> None:
        for number, one in enumerate(["v", "w", "x"], 1):
            source.coming.put(one)
            await whole.until(number)

    go(fast, whole, act)
    assert whole.made.empty()


def test_one_that_is_never_idle_finishes_all_after_a_while(fast: Path) -> None:
    whole = Whole()

    async def act(source: Resident) -> None:
        source.coming.put("stuck@a")
        source.coming.put("v")
        await whole.until(1)

    go(fast, whole, act, "limits.finish_every=0.01")
