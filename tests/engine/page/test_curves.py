"""The history of runs as columns."""

from engine.page import curves as module
from engine.page.curves import curves
from engine.page.timeline import Span
from tests.engine.page.ledgers import START, pool, sample

SPAN = Span(1, START, 0, 20_000)


def test_shares_are_of_the_time_since_the_sample_before() -> None:
    history = [
        sample(5.0, pool(busy=5.0, worker_seconds=5.0, done=3, waiting=2), processor=100.0),
        sample(
            15.0,
            pool(busy=7.0, starved=6.0, blocked=2.0, worker_seconds=15.0, done=8, failed=1),
            processor=105.0,
        ),
    ]

    drawn = curves({1: history}, [SPAN], ["a"])

    assert drawn["time"] == [5000, 15000, 15000]
    assert drawn["processor"] == [None, 25.0, None]
    stage = drawn["pools"]["a"]
    assert stage["busy"] == [100.0, 20.0, None]
    assert stage["starved"] == [0.0, 60.0, None]
    assert stage["blocked"] == [0.0, 20.0, None]
    assert stage["waiting"] == [2, 0, None]
    assert stage["pace"] == [36.0, 36.0, None]


def test_runs_follow_one_another_and_are_not_joined() -> None:
    later = Span(2, START + 1000, 20_000, 10_000)
    history = {1: [sample(5.0, pool())], 2: [sample(1004.0, pool())]}

    drawn = curves(history, [SPAN, later], ["a"])

    assert drawn["time"] == [5000, 5000, 24000, 24000]
    assert drawn["memory"] == [10**8, None, 10**8, None]


def test_a_stage_that_had_no_workers_has_no_shares() -> None:
    drawn = curves({1: [sample(5.0, pool("a"))]}, [SPAN], ["a", "b"])

    assert drawn["pools"]["a"]["busy"] == [None, None]
    assert drawn["pools"]["b"]["waiting"] == [None, None]


def test_a_long_history_is_thinned_and_keeps_its_end() -> None:
    seconds = 3 * module.MOST + 7
    history = [sample(float(at), pool(worker_seconds=float(at))) for at in range(1, seconds)]

    drawn = curves({1: history}, [Span(1, START, 0, 1000 * seconds)], ["a"])

    assert len(drawn["time"]) <= module.MOST + 2
    assert drawn["time"][-2] == 1000 * (seconds - 1)
