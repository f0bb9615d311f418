"""The end-of-run report and `penstock status`: what they say, and that it fits."""

import json
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engine.telemetry.statistics import FailureKind, Hold, StageCounts
from engine.views.levels import Levels
from engine.views.report import (
    Status,
    Summary,
    render_status,
    render_summary,
    retry_command,
    status_as_dict,
)
from tests.engine.telemetry.test_statistics import pool

WORKDIR = Path("/srv/my crawl")
GONE = FailureKind("fetch", "gone", 3, "http://example.org/[a]", "HTTP 404: [b]no\n such\x1b page")
COUNTS = [
    StageCounts("fetch", entered=120, done=110, dropped=2, failed=3, pending=5),
    StageCounts("weigh", entered=110, done=109, dropped=0, failed=1, pending=0),
]
TOTAL = StageCounts("items", entered=120, done=109, dropped=2, failed=4, pending=5)
SUMMARY = Summary(
    pipeline="toy",
    workdir=WORKDIR,
    outcome="done",
    seconds=100.0,
    ended=100,
    total=TOTAL,
    stages=COUNTS,
    pools={"fetch": pool("fetch", 2, busy=60, blocked=120), "weigh": pool("weigh", busy=93)},
    processor=None,
    failures=[GONE],
    notes=["12 things kept."],
)
STATUS = Status(
    pipeline="toy",
    workdir=WORKDIR,
    runs=2,
    running=False,
    outcome="interrupted",
    total=TOTAL,
    stages=COUNTS,
    failures=[GONE],
)


def test_the_summary_says_what_happened_where_why_and_what_to_do() -> None:
    assert render_summary(SUMMARY) == (
        "toy: done\n"
        "\n"
        "Stage  Entered  Done  Dropped  Failed  Pending  Busy\n"
        "fetch      120   110        2       3        5   30%\n"
        "weigh      110   109        0       1        0   93%\n"
        "items      120   109        2       4        5\n"
        "\n"
        "3 items failed in fetch: gone\n"
        "  http://example.org/[a]\n"
        "  HTTP 404: [b]no such page\n"
        "  try again: penstock retry '/srv/my crawl' --class gone --stage fetch\n"
        "\n"
        "weigh is the bottleneck: its 1 worker was busy 93% of the time while fetch waited 60% of "
        "its time for room; give it more workers (stages.weigh.workers) or less work for each "
        "item.\n"
        "100 items ended in 1 min 40 s, 60.0 a minute.\n"
        "\n"
        "12 things kept.\n"
    )


def test_a_run_with_nothing_to_do_has_a_report_too() -> None:
    idle = {"fetch": replace(pool("fetch"), worker_seconds=0.0)}
    text = render_summary(replace(SUMMARY, seconds=0.0, ended=0, failures=[], notes=[], pools=idle))
    assert "none of them had anything to do" in text
    assert text.endswith("0 items ended in 0 s.\n")
    assert "penstock retry" not in text


def test_many_failure_classes_are_cut_and_the_rest_is_pointed_to() -> None:
    failures = [replace(GONE, kind=f"kind-{number}", count=1) for number in range(11)]
    text = render_summary(replace(SUMMARY, failures=failures))
    assert text.count("1 item failed in fetch: kind-") == 8
    assert "3 more classes of failure: penstock status '/srv/my crawl' --json\n" in text


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_tables_fit_the_terminal(width: int) -> None:
    names = ["a-stage-with-a-very-long-name-indeed", *"bcdefgh"]
    counts = [StageCounts(name, 99999, 99999, 99999, 99999, 99999) for name in names]
    pools = {name: pool(name, busy=100) for name in names}
    shown = replace(SUMMARY, stages=counts, pools=pools, failures=[])
    text = render_summary(shown, width=width)
    table = text.split("\n\n")[1].splitlines()
    assert len(table) == 10
    assert all(len(line) <= width for line in table)
    assert all(line.count("99999") == 5 and line.endswith("100%") for line in table[1:-1])


def test_colour_only_where_it_is_asked_for() -> None:
    assert "\x1b" not in render_summary(SUMMARY)
    assert "\x1b[31m" in render_summary(SUMMARY, color=True)


def test_the_retry_command_survives_the_shell() -> None:
    failure = replace(GONE, kind="it's; rm -rf", stage="fetch")
    words = shlex.split(retry_command(Path("/a b/$HOME"), failure))
    assert words == [
        "penstock", "retry", "/a b/$HOME", "--class", "it's; rm -rf", "--stage", "fetch"
    ]  # fmt: skip


def test_status_for_people() -> None:
    assert render_status(STATUS).startswith(
        "toy in /srv/my crawl: 2 runs, the last one: interrupted\n"
        "\n"
        "Stage  Entered  Done  Dropped  Failed  Pending\n"
        "fetch      120   110        2       3        5\n"
        "weigh      110   109        0       1        0\n"
        "items      120   109        2       4        5\n"
        "\n"
        "3 items failed in fetch: gone\n"
    )


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"running": True, "outcome": None}, "2 runs, the last one going on\n"),
        ({"outcome": None}, "2 runs, the last one was killed; run it again to go on\n"),
        ({"runs": 0, "outcome": None}, "not run yet\n"),
        ({"runs": 1, "outcome": "done"}, "1 run, the last one: done\n"),
    ],
)
def test_status_tells_running_from_killed(changes: dict[str, Any], expected: str) -> None:
    assert expected in render_status(replace(STATUS, **changes))


def test_what_is_held_back_is_told_with_its_host_and_reason() -> None:
    held = [Hold("example.org", "slow\x1b down", 600, 3), Hold(None, "a reset", 5, 1)]
    running = render_status(replace(STATUS, running=True, outcome=None, holds=held))
    assert "\n3 items held for example.org, until " in running
    assert ": slow down\n1 item held for another attempt, until " in running
    ended = "3 items held for example.org when the run ended: slow down\n"
    assert ended in render_status(replace(STATUS, holds=held))
    assert ended in render_summary(replace(SUMMARY, holds=held))
    told = status_as_dict(replace(STATUS, running=True, holds=held))["held"]
    assert told[0] == {"by": "example.org", "reason": held[0].reason, "seconds": 600, "items": 3}


def test_status_for_machines_is_json_with_the_same_figures() -> None:
    told = json.loads(json.dumps(status_as_dict(STATUS)))
    assert told["items"] == {"entered": 120, "done": 109, "dropped": 2, "failed": 4, "pending": 5}
    assert list(told["stages"]) == ["fetch", "weigh"]
    assert told["failures"][0]["count"] == 3
    assert shlex.split(told["failures"][0]["retry"])[:2] == ["penstock", "retry"]
    assert (told["running"], told["outcome"], told["workdir"]) == (
        False,
        "interrupted",
        str(WORKDIR),
    )


def test_importing_what_people_see_does_not_import_rich() -> None:
    code = (
        "import sys, engine.views.report, engine.views.progress;"
        "import engine.views.json_log, engine.config.template;"
        "sys.exit('rich' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_parts_are_counted_beside_items_and_gaps_are_said() -> None:
    failed = FailureKind(
        "weigh", "bad", 2, "http://example.org/a, part 7", "no", of_parts=True, is_gap=True
    )
    status = replace(
        STATUS,
        failures=[failed],
        levels=Levels("page", frozenset({"weigh"})),
        parts=StageCounts("parts", entered=1110, done=1108, dropped=0, failed=2, pending=0),
        gaps=2,
    )
    text = render_status(status)
    assert "\nweigh (parts)  " in text
    assert "\nweigh     " in render_status(status, width=62), "the name before what it counts"
    assert "\npages              120 " in text
    assert "\nparts             1110  1108        0       2        0\n" in text
    assert "\n2 parts failed in weigh: bad\n  http://example.org/a, part 7\n  no\n" in text
    assert "try again: penstock retry '/srv/my crawl' --class bad --stage weigh --gaps\n" in text
    assert (
        "2 pages are done without parts that failed; try those again: "
        "penstock retry '/srv/my crawl' --gaps\n"
    ) in text
    told = status_as_dict(status)
    assert (told["parts"]["failed"], told["gaps"]) == (2, 2)


def test_abandoned_parts_have_a_column_of_their_own_and_a_reason() -> None:
    parts = StageCounts("parts", 20, 11, 0, 2, 0, abandoned=7)
    status = replace(STATUS, levels=Levels("page", frozenset({"weigh"})), parts=parts)
    text = render_status(status)
    assert "Failed  Pending  Abandoned\n" in text
    assert "\nparts               20    11        0       2        0          7\n" in text
    assert "\n7 parts are abandoned: their pages failed or were dropped; only a retry " in text
    one = replace(status, parts=replace(parts, abandoned=1, done=17))
    assert "\n1 part is abandoned: its page failed or was dropped; only" in render_status(one)
    assert "bandoned" not in render_status(replace(status, parts=replace(parts, abandoned=0)))
    assert status_as_dict(status)["parts"]["abandoned"] == 7
