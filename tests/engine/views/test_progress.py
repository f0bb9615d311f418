"""What a run shows: the figures, the plain lines, and the live view as it is drawn."""

import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TextIO

import anyio
import pytest
from rich.console import Console

from engine.telemetry.events import (
    AttemptEnded,
    DiskLow,
    DiskRecovered,
    Event,
    GateClosed,
    ItemEnded,
    ItemEntered,
    PartEnded,
    PartEntered,
    PoolResized,
    RunStarted,
    SourceEnded,
    Stopping,
)
from engine.telemetry.statistics import Hold, PoolStatistics
from engine.views.choose import Quiet, View, choose_view
from engine.views.levels import Levels
from engine.views.lines import totals_line
from engine.views.live import LiveView
from engine.views.plain import PlainLines
from engine.views.progress import Progress
from tests.engine.telemetry.test_statistics import pool

FAILED = AttemptEnded(
    "item-[bold]-7", "fetch", 1, 3, "failed", True, 1.0, "gone", "HTTP 404: [/red]\n\x1b[2Jno"
)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Watched(io.StringIO):
    """A stream on which one can wait until so many writes have happened."""

    def __init__(self) -> None:
        super().__init__()
        self.writes = 0
        self.awaited: tuple[int, anyio.Event] | None = None

    def write(self, text: str) -> int:
        self.writes += 1
        if self.awaited is not None and self.writes >= self.awaited[0]:
            self.awaited[1].set()
        return super().write(text)

    async def wait_for(self, writes: int) -> None:
        self.awaited = (self.writes + writes, anyio.Event())
        await self.awaited[1].wait()


def feed(view: Callable[[Event], None], entered: int, ended: int, *, reused: bool = False) -> None:
    for number in range(entered):
        view(ItemEntered(str(number), "s", None))
    for number in range(ended):
        view(ItemEnded(str(number), "done", reused))


def pools_at(seconds: float, count: int = 2) -> list[PoolStatistics]:
    """Stages of which the second is busy all the time and the first waits for it."""
    return [
        replace(
            pool(
                name,
                workers,
                busy=share * seconds * workers,
                blocked=(1 - share) * seconds * workers,
                done=int(seconds),
                waiting=8,
                in_hand=workers,
                held=3,
                failed=1,
            ),
            worker_seconds=seconds * workers,
        )
        for name, workers, share in [
            ("fetch", 4, 0.3),
            ("weigh", 1, 1.0),
            ("store-with-a-very-long-name", 1, 0.1),
            *((f"extra-{number}", 1, 0.0) for number in range(5)),
        ][:count]
    ]


def test_the_total_and_the_time_left_are_known_once_the_source_has_ended() -> None:
    clock = Clock()
    progress = Progress(lambda: [], clock)
    progress.look()
    feed(progress, entered=100, ended=40)
    clock.now = 60.0
    standing = progress.look()
    assert (standing.entered, standing.total_ended) == (100, 40)
    assert standing.rate == pytest.approx(40 / 60)
    assert standing.left is None
    progress(SourceEnded(100))
    assert progress.look().left == pytest.approx(60 / (40 / 60))
    feed(progress, entered=0, ended=60)
    assert progress.look().left is None


def test_what_earlier_runs_did_does_not_count_towards_the_rate() -> None:
    clock = Clock()
    progress = Progress(lambda: [], clock)
    feed(progress, entered=1000, ended=900, reused=True)
    feed(progress, entered=0, ended=10)
    progress(SourceEnded(1000))
    clock.now = 10.0
    standing = progress.look()
    assert standing.total_ended == 910
    assert standing.left == pytest.approx(90)


def test_rates_and_the_bottleneck_are_those_of_the_last_minute() -> None:
    clock = Clock()
    busy_until_100 = pools_at(100)
    idle_since = [
        replace(p, starved=p.starved + 60 * p.workers, worker_seconds=160.0 * p.workers)
        for p in busy_until_100
    ]
    now = [pools_at(0.0)]
    progress = Progress(lambda: now[0], clock)
    progress.look()
    clock.now, now[0] = 50.0, pools_at(50)
    assert progress.look().rates["weigh"] == pytest.approx(1.0)
    clock.now, now[0] = 100.0, busy_until_100
    assert progress.look().bottleneck == "weigh"
    clock.now, now[0] = 160.0, idle_since
    standing = progress.look()
    assert standing.bottleneck is None
    assert standing.rates["weigh"] == 0
    assert standing.recent["weigh"].worker_seconds == pytest.approx(60)


def test_slow_items_are_timed_over_the_whole_run() -> None:
    clock = Clock()
    progress = Progress(lambda: [], clock)
    feed(progress, entered=10, ended=2)
    progress(SourceEnded(10))
    for clock.now in range(0, 1201, 30):
        standing = progress.look()
    assert standing.left == pytest.approx(8 * 600)


def test_the_totals_line_says_it_all_in_one_line() -> None:
    clock = Clock()
    progress = Progress(lambda: pools_at(clock.now), clock)
    progress.look()
    feed(progress, entered=100, ended=38)
    progress(ItemEnded("x", "dropped", False))
    progress(ItemEnded("y", "failed", False))
    clock.now = 120.0
    assert totals_line(progress.look(), source_ended=False) == (
        "2 min 00 s, 40 of 100 items so far ended, 1 dropped, 1 failed, 20/min, 6 held, "
        "weigh is the bottleneck (100% busy)"
    )
    progress(SourceEnded(100))
    assert totals_line(progress.look(), source_ended=True).endswith(", about 3 min 00 s left")


def test_no_time_left_is_made_up_where_nobody_knows() -> None:
    clock, held = Clock(), list[Hold]()
    progress = Progress(lambda: [replace(pools_at(0)[0], holds=held)], clock)
    feed(progress, entered=4, ended=2)
    progress(SourceEnded(4))
    clock.now = 10.0
    assert progress.look().left == pytest.approx(10)
    retries = Hold(None, "a reset", 5, 1)
    held[:] = [retries]
    assert progress.look().left is not None
    held[:] = [replace(retries, items=2)]
    assert progress.look().left is None, "all that is left waits"
    held[:] = [Hold("example.org", "429", 3600, 1)]
    assert progress.look().left is None
    held[:] = []
    clock.now = 100.0
    assert progress.look().left is not None
    feed(progress, entered=0, ended=1)
    clock.now = 190.0
    assert progress.look().left is None, "it was to take about half a minute"


def test_who_holds_items_back_and_until_when_is_told() -> None:
    waits = Hold("example.org", "slow down \x1b[2J(429)", 3600, 3)
    others = [Hold(f"host{n}", "429", 10, 1) for n in range(4)]
    one, two = pools_at(5)
    pools = [replace(one, holds=[waits]), replace(two, holds=[waits, *others])]
    stream = Watched()
    view = PlainLines(lambda: pools, stream, interval=0.001)
    feed(view, entered=1, ended=0)

    async def watch() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(view.refresh_forever)
            await stream.wait_for(6)
            tasks.cancel_scope.cancel()

    anyio.run(watch)
    _, first, *_, rest = stream.getvalue().splitlines()[:5]
    assert first.startswith("6 held for example.org, until ")
    assert first.endswith(": slow down [2J(429)")
    assert rest == "2 held for others"
    console = Console(file=io.StringIO(), width=100, force_terminal=True, color_system=None)
    assert "6 held for example.org, until " in drawn(LiveView(lambda: pools, console))


def test_plain_lines_tell_the_start_the_failures_and_what_stops_the_run() -> None:
    stream = io.StringIO()
    view = PlainLines(lambda: [], stream)
    for event in (
        RunStarted(3, "toy", "/srv/work"),
        ItemEntered("a", "s", None),
        replace(FAILED, outcome="retried", final=False),
        FAILED,
        GateClosed("example.org", 90, "HTTP 429"),
        PoolResized("fetch", 1, 2, "busy"),
        DiskLow(10**9, 2 * 10**9),
        DiskRecovered(3 * 10**9),
        Stopping("too many items fail"),
    ):
        view(event)
    assert stream.getvalue().splitlines() == [
        "toy: run 3 in /srv/work",
        "failed in fetch: item-[bold]-7: HTTP 404: [/red] [2Jno",
        "disk: 1.0 GB free, less than 2.0 GB: nothing new until there is room",
        "disk: 3.0 GB free again: going on",
        "stopping: too many items fail",
    ]


def test_plain_lines_tell_the_totals_again_and_again_until_cancelled() -> None:
    stream = Watched()
    view = PlainLines(lambda: pools_at(5), stream, interval=0.001)
    feed(view, entered=4, ended=1)

    async def watch() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(view.refresh_forever)
            await stream.wait_for(3)
            tasks.cancel_scope.cancel()

    anyio.run(watch)
    lines = stream.getvalue().splitlines()
    assert len(lines) >= 3
    assert all("1 of 4 items so far ended" in line for line in lines)


def test_plain_lines_say_once_that_the_run_waits_for_its_source() -> None:
    stream, looks = Watched(), 0

    def snapshot() -> list[PoolStatistics]:
        nonlocal looks
        looks += 1
        if looks == 10:  # nothing has come for several intervals
            feed(view, entered=1, ended=1)
        if looks == 20:
            feed(view, entered=1, ended=0)
        return []

    view = PlainLines(snapshot, stream, interval=0.001)

    async def watch() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(view.refresh_forever)
            await stream.wait_for(4)
            tasks.cancel_scope.cancel()

    anyio.run(watch)
    first, second, *others = [line.partition(", ")[2] for line in stream.getvalue().splitlines()]
    assert first == "0 of 0 items so far ended, waits for more"
    assert second.startswith("1 of 1 item so far ended")
    assert second.endswith(", waits for more")
    assert len(others) >= 2
    assert all(line.startswith("1 of 2 items so far ended") for line in others)
    assert "waits" not in " ".join(others)


def test_a_closed_pipe_silences_plain_lines_and_nothing_else() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    stream = os.fdopen(writer, "w")
    view = PlainLines(lambda: [], stream)
    view(RunStarted(1, "toy", "/srv/work"))
    view(FAILED)
    with suppress(BrokenPipeError):
        stream.close()


def drawn(view: LiveView) -> str:
    with view.console.capture() as capture:
        view.console.print(view.render())
    return capture.get()


def live(width: int, count: int, seconds: float = 30.0) -> LiveView:
    looks: Iterator[float] = iter([0.0])
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    view = LiveView(lambda: pools_at(next(looks, seconds), count), console)
    view.render()
    view(RunStarted(3, "toy", "/srv/work"))
    return view


@pytest.mark.parametrize("count", [5, 8])
@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_live_view_fits_whatever_it_is_told(width: int, count: int) -> None:
    view = live(width, count)
    feed(view, entered=100, ended=40)
    for number in range(9):
        view(replace(FAILED, item="i" * 300, reason=f"{number} " + "[x] r" * 300))
        view(GateClosed("example.org" * 20, 90, "slow"))
    for known in (False, True):
        if known:
            view(SourceEnded(100))
        lines = drawn(view).splitlines()
        assert all(len(line) <= width for line in lines)
        assert len(lines) == 2 + 1 + count + 1 + 4, "nothing wraps, and the last four notes stay"
        header, *rows = lines[2 : 3 + count]
        assert header.split()[0] == "Stage" and "Done" in header and "Busy" in header
        assert [row.split()[1][:5] for row in rows if row.startswith(">")] == ["weigh"]
        assert all(row.rstrip().endswith(("%", "s", "min", "h")) for row in rows)


def test_the_live_view_shows_each_stages_figures() -> None:
    view = live(100, 2)
    feed(view, entered=100, ended=40)
    view(SourceEnded(100))
    lines = drawn(view).splitlines()
    assert lines[0].startswith("toy, 0 s ") and lines[0].rstrip().endswith("left")
    assert lines[1].startswith("40 of 100 items ended, ")
    assert lines[2].split() == [
        "Stage",
        "Queue",
        "Workers",
        "In",
        "hand",
        "Held",
        "Done",
        "Dropped",
        "Failed",
        "Busy",
        "Rate",
    ]
    assert lines[3].split() == ["fetch", "8/8", "4", "4", "3", "30", "1", "30%", "30/s"]
    assert lines[4].split() == [">", "weigh", "8/8", "1", "1", "3", "30", "1", "100%", "30/s"]


def test_what_others_wrote_is_shown_as_it_is_and_not_as_markup() -> None:
    view = live(120, 1)
    view(FAILED)
    line = drawn(view).splitlines()[-1]
    assert "failed in fetch: item-[bold]-7: HTTP 404: [/red] [2Jno" in line
    assert "\x1b" not in line


def test_the_live_view_redraws_and_leaves_its_last_drawing() -> None:
    stream = Watched()
    console = Console(file=stream, width=80, force_terminal=True, color_system=None)
    view = LiveView(lambda: pools_at(5), console)

    async def watch() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(view.refresh_forever)
            await stream.wait_for(2)
            feed(view, entered=9, ended=7)
            tasks.cancel_scope.cancel()

    anyio.run(watch)
    assert "7 of 9 items so far ended" in stream.getvalue()
    assert stream.getvalue().endswith("\x1b[?25h"), "the cursor is shown again"


def test_the_live_view_counts_parts_beside_items_and_marks_their_stages() -> None:
    console = Console(file=io.StringIO(), width=120, force_terminal=True, color_system=None)
    view = LiveView(lambda: pools_at(5), console, Levels("page", frozenset({"weigh"})))
    feed(view, entered=9, ended=2)
    for position in range(3):
        view(PartEntered(f"8/c.parts/{position:08d}", "8", "c", position))
    view(PartEnded("8/c.parts/00000000", "8", "c", 0, "done", "folder", reused=False))
    text = drawn(view)
    assert "2 of 9 pages so far ended, 1 part" in text
    assert " weigh (parts) " in text
    assert " fetch " in text


@contextmanager
def terminal() -> Iterator[TextIO]:
    leader, follower = os.openpty()
    try:
        with os.fdopen(follower, "w") as stream:
            yield stream
    finally:
        os.close(leader)


def test_the_view_suits_the_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    def chosen(stream: TextIO, *, quiet: bool = False) -> type[View]:
        return type(choose_view(lambda: [], quiet=quiet, stream=stream))

    assert chosen(io.StringIO()) is PlainLines
    assert chosen(io.StringIO(), quiet=True) is Quiet
    with terminal() as stream:
        monkeypatch.setenv("TERM", "xterm")
        assert chosen(stream) is LiveView
        assert chosen(stream, quiet=True) is Quiet
        monkeypatch.setenv("TERM", "dumb")
        assert chosen(stream) is PlainLines
