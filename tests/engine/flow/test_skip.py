"""Skip: a step is done without an output, rightly, and the item goes on."""

from pathlib import Path

import pytest

from engine.contract.item import item_id
from engine.ledger.reader import LedgerReader
from engine.page.page import render_file
from engine.telemetry.events import AttemptEnded, Event
from engine.views.report import Status, render_status, status_as_dict
from tests.engine import toys
from tests.engine.toys import LoopToy, Toy, executions, line, outcomes, query, run, toy

HEARD, MUTE = item_id("heard"), item_id("mute")
SOURCES = ["heard", "mute"]


def talkie(base: type[Toy] = Toy) -> toys.Pipeline:
    """sound is skipped for what is mute; words reads it, and scenes reads both."""
    return line(
        toy("video"),
        toy("sound", "video", base=base, does={"mute": ["skip"]}),
        toy("words", "sound"),
        toy("scenes", "video", "words", "sound"),
    )


@pytest.mark.parametrize(
    ("base", "options"),
    [(Toy, []), (LoopToy, []), (Toy, ["stages.sound.batch=2"])],
    ids=["thread", "loop", "batch"],
)
def test_the_item_goes_on_without_that_output(
    fast: Path, base: type[Toy], options: list[str]
) -> None:
    ends: list[AttemptEnded] = []

    def listen(event: Event) -> None:
        if isinstance(event, AttemptEnded) and event.reason:
            ends.append(event)

    report = run(talkie(base), fast, SOURCES, *options, listen=listen)
    assert (report.items["done"], report.exit_code) == (2, 0)
    found = outcomes(fast)
    assert found["sound", MUTE] == ("done", "skip")
    assert [found[stage, MUTE] for stage in ("words", "scenes")] == [("done", None)] * 2
    assert [(e.outcome, e.final, e.kind, e.reason) for e in ends] == [
        ("done", True, "skip", "told to")
    ]
    assert not (fast / "items" / MUTE / "sound").exists()
    words = toys.value_in(fast / "items" / MUTE / "words")
    assert words["before"] == {"sound": None}
    assert toys.value_in(fast / "items" / HEARD / "words")["before"]["sound"] is not None
    assert toys.leftovers(fast) == []


def test_it_is_not_tried_again_until_something_changes(fast: Path) -> None:
    run(talkie(), fast, SOURCES)
    before = executions(fast)
    report = run(talkie(), fast, SOURCES)
    assert (report.items["reused"], executions(fast)) == (2, before)
    run(talkie(), fast, SOURCES, "stages.words.value=1")
    assert executions(fast)["sound", MUTE] == 1, "who reads it need not have it"
    run(talkie(), fast, SOURCES, "stages.sound.value=1", "stages.words.value=1")
    assert executions(fast)["sound", MUTE] == 2
    assert executions(fast)["words", MUTE] == 2, "it is absent as before"
    assert executions(fast)["words", HEARD] == 3


def test_a_sound_that_is_found_after_all_redoes_what_reads_it(fast: Path) -> None:
    run(talkie(), fast, SOURCES)
    loud = line(
        toy("video"), toy("sound", "video", version=2), toy("words", "sound"),
        toy("scenes", "video", "words", "sound"),
    )  # fmt: skip
    run(loud, fast, SOURCES)
    assert outcomes(fast)["sound", MUTE] == ("done", None)
    assert executions(fast)["words", MUTE] == 2
    quiet = talkie()
    assert run(quiet, fast, SOURCES).items["done"] == 2
    assert outcomes(fast)["sound", MUTE] == ("done", "skip")
    assert not (fast / "items" / MUTE / "sound").exists(), "the output of before is stale"


def test_what_is_kept_no_longer_than_needed_is_deleted_all_the_same(fast: Path) -> None:
    away = ["stages.video.keep=false", "stages.sound.keep=false"]
    run(talkie(), fast, SOURCES, *away)
    assert not (fast / "items" / MUTE / "video").exists()
    before = executions(fast)
    run(talkie(), fast, SOURCES, *away)
    assert executions(fast) == before
    rows = query(fast, "SELECT discarded FROM stages WHERE stage = 'sound' AND item = ?", MUTE)
    assert rows == [(0,)], "there was nothing to delete"


def test_the_views_say_how_many(fast: Path) -> None:
    pipeline = talkie()
    run(pipeline, fast, SOURCES)
    with LedgerReader(fast) as reader:
        total, stages = reader.item_counts(), reader.counts(pipeline)
    status = Status("toy", fast, 1, False, "done", total, stages, [])
    told = status_as_dict(status)["stages"]
    assert told["sound"] == {
        "entered": 2, "done": 2, "dropped": 0, "failed": 0, "pending": 0, "skipped": 1,
    }  # fmt: skip
    assert "skipped" not in told["words"]
    lines = [text.split() for text in render_status(status).splitlines()]
    assert ["Stage", "Entered", "Done", "Skipped", "Dropped", "Failed", "Pending"] in lines
    assert ["sound", "2", "2", "1", "0", "0", "0"] in lines
    assert "(1 skipped)" in render_file(pipeline, fast, running=False)
