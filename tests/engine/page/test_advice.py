"""What one more worker would give, held against what the laws allow."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.page.advice import PROCESSOR, Advice, advise
from engine.telemetry.statistics import PoolStatistics
from tests.engine.page.ledgers import pool


def stage(name: str, workers: int, busy: float, most: int | None = None) -> PoolStatistics:
    """A pool that was busy for this share of its workers' time."""
    return pool(name, workers=workers, busy=100 * workers * busy, worker_seconds=100.0 * workers)


def advice(*pools: PoolStatistics, processor: float | None = None) -> Advice | None:
    return advise({one.stage: one for one in pools}, processor)


def test_the_next_stage_is_far_from_busy() -> None:
    given = advice(stage("a", 2, 0.9), stage("b", 1, 0.3))

    assert given == Advice("a", 2, 1.5, None)
    assert given.sentence == (
        "A worker more for a (3 in place of 2) would make it at most about 50% faster."
    )


def test_the_next_stage_binds_first() -> None:
    given = advice(stage("a", 1, 0.9), stage("b", 1, 0.6))

    assert given is not None
    assert (given.capped_by, given.gain) == ("b", pytest.approx(1.5))
    assert "at most about 50% faster; then b holds it back" in given.sentence


def test_the_processor_binds_first() -> None:
    given = advice(stage("a", 1, 0.9), stage("b", 1, 0.1), processor=0.8)

    assert given == Advice("a", 1, 1.25, PROCESSOR)


def test_nothing_is_to_be_had_where_another_is_as_busy() -> None:
    given = advice(stage("a", 1, 0.9), stage("b", 1, 0.895))

    assert given is not None
    assert given.sentence.endswith("would give next to nothing: b is as busy.")


def test_no_advice_without_a_bottleneck() -> None:
    assert advice(stage("a", 1, 0.3)) is None
    assert advice(pool("a")) is None
    assert advice() is None


def test_no_advice_for_a_stage_that_can_have_no_more() -> None:
    full = pool("a", workers=1, busy=9.0, worker_seconds=10.0, most=1)
    assert advice(full) is None


def test_no_advice_where_more_workers_would_not_help() -> None:
    busy = stage("a", 1, 0.9)
    assert advice(replace(busy, attempts=1, done=1)) is None
    assert advice(replace(busy, attempts=9, done=9, timed_out=80.0)) is None
    assert advice(replace(busy, attempts=9, failed=9)) is None
    assert advice(replace(busy, attempts=9, done=8, failed=1)) is not None


@given(
    busy=st.lists(st.tuples(st.integers(1, 9), st.floats(0.0, 1.0)), min_size=1, max_size=5),
    processor=st.none() | st.floats(0.01, 1.0),
)
def test_the_gain_is_never_more_than_the_laws_allow(
    busy: list[tuple[int, float]], processor: float | None
) -> None:
    pools = [stage(f"s{at}", workers, share) for at, (workers, share) in enumerate(busy)]

    given = advice(*pools, processor=processor)

    if given is not None:
        assert 1.0 <= given.gain <= (given.workers + 1) / given.workers
        busiest = max(one.utilisation for one in pools)
        others = [one.utilisation for one in pools if one.stage != given.stage]
        assert all(other * given.gain <= busiest + 1e-9 for other in others)
        assert processor is None or processor * given.gain <= 1 + 1e-9
