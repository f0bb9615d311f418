"""--log-json: every event is one line of JSON, whatever is in it and whatever the disk does."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from engine import UsageError
from engine.telemetry.events import AttemptEnded, Events, ItemEntered, RunEnded, RunStarted
from engine.views.json_log import JsonLog


def entries(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_each_event_is_a_line_that_can_be_read_at_once(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    log, events = JsonLog(path), Events()
    events.subscribe(log)
    events.emit(RunStarted(1, "toy", "/somewhere"))
    assert entries(path)[0]["event"] == "RunStarted"
    events.emit(AttemptEnded("a", "fetch", 1, 2, "failed", True, 0.5, "gone", 'no\n"x" \u00e9'))
    (_, ended) = entries(path)
    when = datetime.fromisoformat(str(ended.pop("time")))
    assert abs(datetime.now(UTC) - when) < timedelta(minutes=1)
    assert ended == {
        "event": "AttemptEnded",
        "item": "a",
        "stage": "fetch",
        "worker": 1,
        "attempt": 2,
        "outcome": "failed",
        "final": True,
        "seconds": 0.5,
        "kind": "gone",
        "reason": 'no\n"x" \u00e9',
        "delay": None,
        "paid": 0.0,
    }
    log.close()
    events.emit(RunEnded(1, "done", 1.0))
    assert len(entries(path)) == 2
    assert log.problem is None


def test_names_that_are_no_unicode_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    log = JsonLog(path)
    log(ItemEntered("a", "caf\udce9.bin", None))
    log.close()
    assert entries(path)[0]["source"] == "caf\udce9.bin"


def test_it_appends_and_leaves_the_torn_line_of_a_killed_run_alone(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text('{"event": "RunSta')
    for _ in range(2):
        log = JsonLog(path)
        log(RunStarted(2, "toy", "/somewhere"))
        log.close()
    torn, *whole = path.read_text().splitlines()
    assert torn == '{"event": "RunSta'
    assert [json.loads(line)["event"] for line in whole] == ["RunStarted", "RunStarted"]


def test_a_file_that_cannot_be_opened_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="the log cannot be written: No such file or directory"):
        JsonLog(tmp_path / "missing" / "log.jsonl")
    with pytest.raises(UsageError, match="Is a directory"):
        JsonLog(tmp_path)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, a disk that is full")
def test_a_full_disk_ends_the_log_and_not_the_run() -> None:
    log = JsonLog(Path("/dev/full"))
    for _ in range(3):
        log(RunStarted(1, "toy", "/somewhere"))
    log.close()
    assert log.problem == "/dev/full: the log ends early: No space left on device"
