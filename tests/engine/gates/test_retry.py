"""What follows an attempt: an end, or another attempt after a wait that grows and is bounded."""

import pytest

from engine import Drop, Ending, Permanent, Throttled, Transient
from engine.contract.errors import BatchFault, Fault
from engine.gates.retry import RetryPolicy


def policy(attempts: int = 3, patience: float = 100.0, jitter: float = 0.5) -> RetryPolicy:
    return RetryPolicy(attempts, patience, first=2.0, cap=60.0, jitter=lambda: jitter)


@pytest.mark.parametrize(
    ("ending", "outcome"), [(Drop("enough"), "dropped"), (Permanent("gone"), "failed")]
)
def test_what_is_final_is_final_at_once(ending: Ending, outcome: str) -> None:
    verdict = policy().judge(ending, 1, 0.0, 0.0)
    assert (verdict.outcome, verdict.final) == (outcome, True)


@pytest.mark.parametrize("ending", [Transient("reset"), Fault("died", kind="crashed")])
def test_what_may_pass_is_tried_again_as_often_as_said(ending: Ending) -> None:
    verdicts = [policy(attempts=3).judge(ending, attempt, 0.0, 0.0) for attempt in (1, 2, 3)]
    assert [v.outcome for v in verdicts] == ["retried", "retried", "failed"]
    assert all(v.counts for v in verdicts)


def test_waits_double_up_to_the_cap() -> None:
    waits = [
        policy(attempts=9999).judge(Transient("reset"), n, 0.0, 0.0).delay for n in range(1, 8)
    ]
    assert waits == [2, 4, 8, 16, 32, 60, 60]
    assert policy(attempts=9999).judge(Transient("reset"), 5000, 0.0, 0.0).delay == 60


def test_jitter_is_from_half_to_one_and_a_half() -> None:
    low, high = (
        policy(jitter=jitter).judge(Transient("reset"), 1, 0.0, 0.0).delay for jitter in (0.0, 1.0)
    )
    assert (low, high) == (1.0, 3.0)


def test_throttling_does_not_count_until_patience_is_over() -> None:
    ending = Throttled("slow down", after=10)
    verdict = policy().judge(ending, attempt=99, held_for=80.0, pause=10.0)
    assert (verdict.outcome, verdict.delay, verdict.counts) == ("throttled", 10.0, False)
    verdict = policy().judge(ending, attempt=1, held_for=95.0, pause=10.0)
    assert (verdict.outcome, verdict.final) == ("failed", True)
    assert ending.kind == "throttled"


def test_a_batch_that_failed_as_a_whole_is_held_against_nobody() -> None:
    verdict = policy(attempts=1).judge(BatchFault("boom", kind="unexpected"), 1, 0.0, 0.0)
    assert (verdict.outcome, verdict.delay, verdict.counts) == ("retried", 0.0, False)


def test_a_reason_is_one_line_of_text_whatever_a_stage_makes_it_of() -> None:
    ending = Permanent(ValueError("two\nlines \udcff"), kind=None)  # type: ignore[arg-type]
    assert ending.reason == "two lines"
    assert ending.kind == "permanent"
    assert Transient("reset", kind="network").kind == "network"
