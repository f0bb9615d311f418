"""What follows from a pool's figures: shares, differences, and the sentence on the bottleneck."""

from dataclasses import replace
from typing import Any

import pytest

from engine.telemetry.statistics import CLUSTER, PoolStatistics, bottleneck, bottleneck_sentence


def pool(
    stage: str,
    workers: int = 1,
    busy: float = 0.0,
    starved: float = 0.0,
    blocked: float = 0.0,
    **more: Any,
) -> PoolStatistics:
    """A pool over 100 seconds; the waits are in worker-seconds."""
    figures = dict.fromkeys(
        ("waiting", "held", "in_hand", "done", "dropped", "failed", "retried", "throttled"), 0
    )
    return PoolStatistics(
        stage=stage,
        workers=workers,
        queue=8,
        busy=busy,
        starved=starved,
        blocked=blocked,
        worker_seconds=100.0 * workers,
        attempts=10,
        **(figures | more),
    )


def sentence(*pools: PoolStatistics) -> str:
    return bottleneck_sentence({one.stage: one for one in pools})


def test_the_busiest_stage_is_named_with_who_waited_for_room() -> None:
    text = sentence(
        pool("fetch", 2, busy=60, blocked=122, starved=10),
        pool("weigh", 1, busy=93, starved=5),
        pool("store", 1, busy=10, starved=90),
    )
    assert text == (
        "weigh is the bottleneck: its 1 worker was busy 93% of the time while fetch waited 61% of "
        "its time for room; give it more workers (stages.weigh.workers) or less work for each item."
    )


def test_where_nobody_waited_for_room_the_starved_are_the_evidence() -> None:
    text = sentence(pool("fetch", 2, busy=190), pool("weigh", 1, busy=5, starved=80))
    assert "fetch is the bottleneck: its 2 workers were busy 95% of the time" in text
    assert "while weigh waited 80% of its time for items" in text


def test_a_stage_without_work_is_no_evidence_of_what_others_wait_for() -> None:
    text = sentence(
        pool("fetch", 2, busy=190),
        pool("weigh", 1, busy=5, starved=80),
        pool("publish", 1, busy=0.1, starved=99),
    )
    assert "while weigh waited 80% of its time for items" in text


def test_what_stages_take_turns_at_is_named_where_they_wait_for_it() -> None:
    text = sentence(
        pool("detect", 2, busy=104, needing=90.0, needs="cuda:0"),
        pool("hear", busy=45, needing=50.0, needs="cuda:0"),
    )
    assert text == (
        "cuda:0 is the bottleneck, which detect shares with other stages: its 2 workers were busy "
        "52% of the time and waited 45% of it for a turn; give one of them another, or raise "
        "limits.resources if it can take more at once."
    )


def test_a_step_that_waits_for_the_cluster_says_so() -> None:
    text = sentence(pool("look", 2, busy=60, needing=120.0, needs=CLUSTER), pool("sum", busy=5))
    assert text == (
        "The cluster is the bottleneck: look waits for the cluster, its 2 workers were busy 30% of "
        "the time and waited 60% of it for a place there; add nodes, ask for less in "
        "stages.look.resources, or give other steps fewer workers."
    )


def test_a_stage_that_keeps_what_others_need_is_the_bottleneck_itself() -> None:
    text = sentence(pool("detect", busy=90, needing=2.0), pool("hear", busy=10, needing=85.0))
    assert "detect is the bottleneck: its 1 worker was busy 90%" in text
    assert "while hear waited 85% of its time for its turn" in text


def test_a_stage_alone_needs_no_evidence() -> None:
    assert sentence(pool("only", busy=90)).startswith(
        "only is the bottleneck: its 1 worker was busy 90% of the time; give it"
    )


def test_a_stage_that_can_have_no_more_workers_is_not_to_be_given_any() -> None:
    text = sentence(replace(pool("weigh", 1, busy=90), most=1))
    assert text.endswith("it can have no more workers, so give it less work for each item.")
    assert "give it more workers" in sentence(replace(pool("weigh", 1, busy=90), most=2))


def test_no_workers_are_advised_where_the_cores_are_full() -> None:
    pools = {"weigh": pool("weigh", 1, busy=90)}
    assert bottleneck_sentence(pools, 0.96).endswith(
        "; the cores were busy 96% of the time, so more workers would not help: give it less work "
        "for each item, or more cores."
    )
    assert "give it more workers" in bottleneck_sentence(pools, 0.5)


def test_no_workers_are_advised_where_they_would_find_no_items() -> None:
    one = replace(pool("weigh", 1, busy=90, done=1), attempts=1)
    remedy = "; it had no item for a further one, so give it less work for each item."
    assert sentence(one).endswith(remedy)
    assert not replace(one, attempts=0, done=0, in_hand=1, waiting=3).lacks_items
    assert replace(one, attempts=3, retried=2).lacks_items
    assert replace(one, workers=4, attempts=4, done=4).lacks_items
    assert not replace(one, workers=4, attempts=5, done=5).lacks_items


def test_attempts_that_ran_out_of_time_are_named_and_no_workers_advised() -> None:
    slow = replace(pool("weigh", 1, busy=90, failed=1, done=9), timed_out=81.0)
    text = sentence(slow, pool("store", busy=3))
    assert text == (
        "Attempts that ran out of time are the bottleneck: they took 90% of the time that weigh "
        "was busy; see what its items hang on, or whether stages.weigh.timeout is too short."
    )
    assert "weigh is the bottleneck" in sentence(replace(slow, timed_out=10.0))


def test_where_nothing_went_well_the_failures_come_first() -> None:
    text = sentence(pool("fetch", 2, busy=150, failed=10), pool("weigh", starved=100))
    assert text == (
        "No stage was the bottleneck: nothing went well in fetch, the busiest one; mend what the "
        "failures say."
    )


def test_the_source_is_the_limit_when_all_wait_for_items() -> None:
    text = sentence(pool("fetch", busy=20, starved=80), pool("weigh", busy=5, starved=95))
    assert text.startswith("The source is the bottleneck, no stage: fetch, the busiest stage, was")
    assert "busy only 20% of the time and waited for items 80% of it" in text


def test_throttling_is_the_limit_when_items_are_held_back() -> None:
    text = sentence(
        pool("fetch", busy=20, starved=80, throttled=12, held=5), pool("weigh", starved=100)
    )
    assert text.startswith("Waiting is the bottleneck, no stage: fetch was told to slow down 12 ti")
    assert "has 5 items held" in text


@pytest.mark.parametrize("pools", [(), (pool("fetch", starved=100),)])
def test_where_nothing_ran_there_is_none(pools: tuple[PoolStatistics, ...]) -> None:
    assert sentence(*pools) == "No stage was the bottleneck: none of them had anything to do."
    assert bottleneck({one.stage: one for one in pools}) is None


def test_it_is_one_line_in_every_case() -> None:
    for workers in (0, 1, 3):
        for busy in (0.0, 10.0, 99.0):
            text = sentence(pool("a", workers, busy=busy))
            assert "\n" not in text and text.endswith(".")


def test_since_takes_what_was_done_apart_from_how_it_stands() -> None:
    earlier = pool("fetch", 1, busy=50, starved=40, done=4, waiting=8)
    now = replace(earlier, workers=2, busy=140.0, worker_seconds=220.0, done=9, waiting=1)
    between = now.since(earlier)
    assert (between.done, between.workers, between.waiting) == (5, 2, 1)
    assert between.utilisation == pytest.approx(90 / 120)
    assert between.starved == 0


def test_what_bounds_a_stage_other_than_its_workers_is_what_the_sentence_ends_with() -> None:
    bound = "its server takes 1 call at once; more workers would not help"
    text = sentence(replace(pool("weigh", 4, busy=390), bound=bound))
    assert text.endswith(f"of the time; {bound}.")


def test_a_stage_that_waits_for_its_server_is_the_bottleneck_though_few_workers_are_busy() -> None:
    image = replace(pool("image", 16, busy=90, starved=310), bound="its calls waited for a turn")
    assert sentence(image, pool("clip", busy=37, starved=63)) == (
        "image is the bottleneck, though not for want of workers: its calls waited for a turn."
    )
    assert sentence(image, pool("clip", busy=87, starved=13)).startswith("clip is the bottleneck")


def test_a_run_of_too_few_items_shows_no_bottleneck() -> None:
    one = replace(pool("fetch", 4, busy=20, starved=380, done=1), attempts=1)
    assert sentence(one, pool("weigh", busy=5, starved=95)) == (
        "No stage was the bottleneck: fetch, the busiest stage, was busy only 5% of the time, as "
        "there were too few items to keep it so."
    )


def test_a_service_that_waits_for_jobs_is_not_said_to_have_a_slow_source() -> None:
    one = replace(pool("weigh", 2, busy=10, starved=190, done=40), attempts=40)
    assert sentence(one).startswith("The source is the bottleneck")
    told = bottleneck_sentence({"weigh": one}, resident=True)
    assert told == (
        "No stage was the bottleneck: weigh, the busiest stage, was busy only 5% of the time, and "
        "waited for jobs 95% of it; there is room for more."
    )
    busy = bottleneck_sentence({"weigh": pool("weigh", 1, busy=95)}, resident=True)
    assert busy.startswith("weigh is the bottleneck")
    idle = bottleneck_sentence({"weigh": pool("weigh")}, resident=True)
    assert idle == "No stage was the bottleneck: no job has come that took any work."
