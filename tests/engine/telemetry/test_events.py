"""Who listens is told everything in order, and cannot end a run by a bug of its own."""

import io
import logging
import threading
from pathlib import Path
from typing import Any

import anyio
import pytest

from engine.cli.run_command import execute
from engine.flow.opening import run_pipeline
from engine.flow.run import Run
from engine.telemetry.events import (
    AttemptEnded,
    Event,
    Events,
    ItemEnded,
    ListenerFailed,
    RunEnded,
    Stopping,
)
from engine.views.plain import PlainLines
from tests.engine.toys import configured, line, toy

TOLD = Stopping("why not")


class Clumsy:
    """Raises at every event of a kind, and counts all that it is told."""

    def __init__(self, error: BaseException, kind: type[Event] = Event) -> None:
        self.error, self.kind = error, kind
        self.told: list[Event] = []

    def __call__(self, event: Event) -> None:
        self.told.append(event)
        if isinstance(event, self.kind):
            raise self.error


def test_all_hear_of_an_event_before_they_hear_that_one_of_them_failed() -> None:
    events, clumsy = Events(), Clumsy(ValueError("no\nroom"))
    first: list[Event] = []
    last: list[Event] = []
    for listener in (first.append, clumsy, last.append):
        events.subscribe(listener)

    events.emit(TOLD)

    (failed,) = last[1:]
    assert first == last == [TOLD, failed]
    assert isinstance(failed, ListenerFailed)
    assert (failed.listener, failed.reason) == ("Clumsy", "ValueError: no room")
    assert "in __call__" in failed.traceback
    assert clumsy.told == [TOLD], "it is not told of its own failure"


def test_a_listener_goes_on_listening_and_is_told_of_once(caplog: pytest.LogCaptureFixture) -> None:
    events, clumsy = Events(), Clumsy(ValueError("no"))
    told: list[Event] = []
    events.subscribe(clumsy)
    events.subscribe(told.append)
    with caplog.at_level(logging.DEBUG, "penstock.engine"):
        for _ in range(3):
            events.emit(TOLD)

    assert clumsy.told == [TOLD] * 3
    assert len([event for event in told if isinstance(event, ListenerFailed)]) == 1
    warning, *later = caplog.records
    assert warning.levelno == logging.WARNING
    assert warning.exc_info is not None
    assert [record.levelno for record in later] == [logging.DEBUG] * 2


def test_listeners_that_fail_at_the_news_of_a_failure_are_told_of_too() -> None:
    events = Events()
    told: list[Event] = []
    for listener in (Clumsy(ValueError("one")), Clumsy(OSError("two")), told.append):
        events.subscribe(listener)

    events.emit(TOLD)

    reasons = [event.reason for event in told if isinstance(event, ListenerFailed)]
    assert sorted(reasons) == ["OSError: two", "ValueError: one"]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(1), GeneratorExit()])
def test_what_is_no_error_is_raised(error: BaseException) -> None:
    events = Events()
    events.subscribe(Clumsy(error))
    with pytest.raises(type(error)):
        events.emit(TOLD)


def test_a_run_goes_on_whatever_its_listeners_raise(tmp_path: Path) -> None:
    events, clumsy = Events(), Clumsy(ValueError("no"))
    told: list[Event] = []
    threads: set[threading.Thread] = set()
    for listener in (clumsy, told.append, lambda event: threads.add(threading.current_thread())):
        events.subscribe(listener)
    pipeline = line(toy("a"), toy("b", "a", does={"v2": ["permanent"]}))

    report = run_pipeline(pipeline, configured(pipeline), tmp_path, ["v1", "v2"], events=events)

    assert (report.outcome, report.items["done"], report.items["failed"]) == ("done", 1, 1)
    assert [event for event in told if not isinstance(event, ListenerFailed)] == clumsy.told
    assert isinstance(told[-1], RunEnded)
    assert threads == {threading.current_thread()}


def test_the_events_of_an_item_come_in_order(tmp_path: Path) -> None:
    events = Events()
    told: list[Event] = []
    events.subscribe(told.append)
    pipeline = line(toy("a"), toy("b", "a"))

    run_pipeline(pipeline, configured(pipeline), tmp_path, ["v1", "v2"], events=events)

    item = next(event.item for event in told if isinstance(event, ItemEnded))
    kinds = [type(event).__name__ for event in told if getattr(event, "item", "") == item]
    attempt = ["AttemptStarted", "AttemptEnded"]
    assert kinds == ["ItemEntered", *attempt, *attempt, "ItemEnded"]


def test_plain_lines_say_that_a_listener_failed() -> None:
    stream = io.StringIO()
    PlainLines(lambda: [], stream)(ListenerFailed("LivePage", "ValueError: no", "Traceback…"))
    assert stream.getvalue() == "LivePage failed, and the run goes on: ValueError: no\n"


def test_a_view_that_cannot_draw_does_not_end_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(Clumsy):
        async def refresh_forever(self) -> None:
            await anyio.lowlevel.checkpoint()
            raise ZeroDivisionError("no width")

    view = Broken(ValueError("no"), AttemptEnded)

    def choose(*_: Any, **__: Any) -> Broken:
        return view

    monkeypatch.setattr("engine.views.choose.choose_view", choose)
    pipeline = line(toy("a"))
    log = tmp_path / "log"

    code = execute(pipeline, configured(pipeline), tmp_path / "w", ["v1"], False, str(log))

    assert code == 0
    assert isinstance(view.told[-1], RunEnded)
    assert log.read_text().count("ListenerFailed") == 1
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


def test_what_a_listener_may_ask_of_the_run(tmp_path: Path) -> None:
    """It may drain it and resize its pools."""
    runs: list[Run] = []
    events = Events()
    told: list[Event] = []

    def listen(event: Event) -> None:
        if isinstance(event, ItemEnded):
            runs[0].pools["a"].resize(2)
            runs[0].drain("interrupted", "seen enough")

    def prepare(run: Run) -> list[Any]:
        runs.append(run)
        return []

    events.subscribe(listen)
    events.subscribe(told.append)
    pipeline = line(toy("a"))
    sources = (f"v{number}" for number in range(100))

    report = run_pipeline(
        pipeline, configured(pipeline), tmp_path, sources, events=events, prepare=prepare
    )

    assert report.outcome == "interrupted"
    assert report.items["done"] < 100
    names = [type(event).__name__ for event in told]
    assert "ListenerFailed" not in names
    assert names.index("Stopping") < names.index("ItemEnded"), "what it causes is told at once"
