"""When too many items fail for a run to go on."""

import time

import pytest

from engine.gates.failure_budget import FailureBudget


def test_too_many_failures_are_too_many_from_the_minimum_on() -> None:
    budget = FailureBudget(share=0.5, window=20, minimum=5)
    assert [budget.record(True) for _ in range(4)] == [None] * 4
    why = budget.record(True)
    assert why is not None
    assert why.startswith("5 of the last 5 items failed, over the failure budget")


def test_half_of_them_is_not_more_than_half() -> None:
    budget = FailureBudget(share=0.5, window=10, minimum=1)
    for failed in [False, True] * 20:
        assert budget.record(failed) is None
    assert budget.record(True) is not None


def test_only_the_latest_count() -> None:
    budget = FailureBudget(share=0.5, window=4, minimum=3)
    for failed in (True, True, False, False, False, True, True):
        assert budget.record(failed) is None
    assert budget.record(True) is not None


def test_a_budget_of_everything_is_never_spent() -> None:
    budget = FailureBudget(share=1, window=5, minimum=1)
    assert all(budget.record(True) is None for _ in range(50))


def spend(budget: FailureBudget, *, fail: int, under_way: int = 0, alone: bool = False) -> int:
    """Begin `under_way` items that stay at work, then have others fail one by one; how many did
    until the budget was spent, or `fail`."""
    for number in range(under_way):
        budget.begun(f"slow {number}", number)
    for number in range(fail):
        budget.begun(f"bad {number}", under_way + number)
        budget.settled(f"bad {number}", "a", "failed", alone=alone)
        if budget.ended(f"bad {number}", "failed") is not None:
            return number + 1
    return fail


def test_what_fails_at_once_is_a_share_of_all_that_was_started() -> None:
    assert spend(FailureBudget(0.5, 50, 10), fail=30, under_way=30) == 30
    budget = FailureBudget(0.5, 50, 10)
    assert spend(budget, fail=40, under_way=30) == 31
    why = budget.record(True)
    assert why is not None
    assert "32 of the last 62 items failed (30 of them are still under way)" in why


@pytest.mark.parametrize("share", [0.0, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("under_way", [0, 3, 60, 500])
def test_a_run_in_which_all_fails_ends_however_many_are_under_way(
    share: float, under_way: int
) -> None:
    budget = FailureBudget(share, 50, 10)
    spent = spend(budget, fail=60_000, under_way=under_way)
    assert spent == max(10, int(under_way * share / (1 - share)) + 1) or share == 0.99
    assert spent < 60_000


def test_what_waits_after_a_failed_attempt_is_no_good_news() -> None:
    budget = FailureBudget(0.5, 50, 10)
    for number in range(1000):
        budget.begun(f"waits {number}", number)
        budget.put_off(f"waits {number}")
    assert spend(budget, fail=100) == 10


def test_failures_of_one_item_alone_do_not_count() -> None:
    budget = FailureBudget(0.5, 50, 10)
    budget.begun("good", 0)
    budget.settled("good", "a", "done", alone=False)
    assert budget.ended("good", "done") is None
    assert spend(budget, fail=500, alone=True) == 500
    assert spend(budget, fail=500) == 10, "others count as if there had been none of those"


def test_they_do_not_count_while_an_earlier_one_is_at_work() -> None:
    assert spend(FailureBudget(0.5, 50, 10), fail=500, under_way=1, alone=True) == 500


def test_they_do_count_where_a_stage_does_nothing_well() -> None:
    assert spend(FailureBudget(0.5, 50, 10), fail=500, alone=True) == 10
    budget = FailureBudget(0.5, 50, 10)
    budget.settled("good", "another", "done", alone=False)
    assert spend(budget, fail=500, alone=True) == 10


def test_a_budget_of_one_failure_is_spent_by_the_first() -> None:
    assert spend(FailureBudget(0, 1, 1), fail=5, under_way=7) == 1
    assert FailureBudget(0.5, 1, 1).record(True) is not None
    assert FailureBudget(0.5, 1, 1).record(False) is None


def test_looking_back_costs_no_more_for_a_long_run() -> None:
    budget, began = FailureBudget(share=1, window=50, minimum=10), time.process_time()
    for _ in range(10_000):
        budget.record(False)
    assert time.process_time() - began < 1
