"""Sharing the processor between workers: who may borrow, who gives back, and how work is dealt out.

Threads wait for each other with events and barriers, never for time.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import available_cores, checkpoint
from engine.contract.stage import Cancellation, Cancelled
from stages.media.cores import Cores, share_out
from tests.stages.attempts import attempting

PATIENCE = 20
"""Seconds after which a test that waits for another thread has failed."""


def begin_with(do: Callable[[int], int]):
    @contextmanager
    def begin() -> Iterator[Callable[[int], int]]:
        yield do

    return begin


@given(
    parts=st.lists(st.integers(), max_size=30),
    total=st.integers(1, 6),
    others=st.integers(0, 8),
    threads=st.one_of(st.none(), st.integers(1, 6)),
)
def test_every_part_is_done_once_and_in_order_and_every_core_is_given_back(
    parts, total, others, threads
):
    cores = Cores(total)
    for _ in range(others):
        cores.take()
    done = []

    def do(part: int) -> int:
        done.append(part)
        return part * 2

    with cores.held():
        assert share_out(parts, begin_with(do), cores, threads) == [part * 2 for part in parts]
    assert sorted(done) == sorted(parts)
    assert cores.busy == others


@pytest.mark.parametrize(
    ("total", "others", "working"), [(3, 0, 3), (3, 1, 2), (3, 2, 1), (2, 9, 1)]
)
def test_a_worker_uses_what_is_idle_and_no_more(total, others, working):
    cores = Cores(total)
    for _ in range(others):
        cores.take()
    together = threading.Barrier(working)
    threads = set()

    def do(part: int) -> int:
        threads.add(threading.get_ident())
        if part < working:
            together.wait(PATIENCE)  # passes only if so many parts are in hand at once
        return part

    with cores.held():
        share_out(range(20), begin_with(do), cores)

    assert len(threads) == working


def test_a_number_of_threads_is_kept_to_whatever_is_idle():
    cores = Cores(1)
    together = threading.Barrier(3)

    with cores.held():
        parts = share_out(range(3), begin_with(lambda part: together.wait(PATIENCE)), cores, 3)

    assert sorted(parts) == [0, 1, 2]


def test_a_borrowed_core_goes_back_after_the_part_in_hand_when_another_worker_comes():
    cores = Cores(2)
    borrowed, crowded = threading.Event(), threading.Event()
    owner = threading.get_ident()
    by_helpers = []

    def do(part: int) -> int:
        if threading.get_ident() == owner:
            assert borrowed.wait(PATIENCE)
            cores.take()  # another worker begins
            crowded.set()
            while cores.busy > 2:  # its helper leaves
                checkpoint()
            return part
        by_helpers.append(part)
        borrowed.set()
        assert crowded.wait(PATIENCE)
        return part

    with cores.held():
        cores_before = cores.busy
        assert share_out(range(2), begin_with(do), cores) == [0, 1]

    assert cores_before == 1
    assert by_helpers == [0]
    assert cores.busy == 1, "the other worker's own"


def test_a_core_that_becomes_idle_midway_is_borrowed():
    cores = Cores(2)
    cores.take()
    helped = threading.Event()
    owner = threading.get_ident()

    def do(part: int) -> int:
        if threading.get_ident() != owner:
            helped.set()
        elif part == 0:
            cores.give_back()  # the other worker is done
        else:
            assert helped.wait(PATIENCE)
        return part

    with cores.held():
        assert share_out(range(4), begin_with(do), cores) == [0, 1, 2, 3]


@pytest.mark.parametrize("in_helper", [False, True])
def test_an_error_in_any_thread_ends_all_and_is_raised(in_helper):
    cores = Cores(2)
    owner = threading.get_ident()
    both = threading.Barrier(2)
    begun = []

    def do(part: int) -> int:
        begun.append(part)
        both.wait(PATIENCE)
        if (threading.get_ident() != owner) is in_helper:
            raise OSError("the disk is full")
        return part

    with cores.held(), pytest.raises(OSError, match="the disk is full"):
        share_out(range(2), begin_with(do), cores)

    assert sorted(begun) == [0, 1]
    assert cores.busy == 0


def test_what_cannot_be_begun_is_raised_too():
    cores = Cores(2)

    @contextmanager
    def begin() -> Iterator[Callable[[int], int]]:
        raise FileNotFoundError("gone")
        yield

    with cores.held(), pytest.raises(FileNotFoundError):
        share_out(range(3), begin, cores)
    assert cores.busy == 0


def test_helpers_stop_when_the_attempt_is_given_up():
    cores = Cores(2)
    attempt = Cancellation()
    owner = threading.get_ident()
    helping = threading.Event()
    seen = []

    def do(part: int) -> int:
        if threading.get_ident() == owner:
            assert helping.wait(PATIENCE)
            attempt.requested = True
            return part
        helping.set()
        try:
            while True:
                checkpoint()
        except Cancelled:
            seen.append(part)
            raise

    with attempting(attempt), cores.held(), pytest.raises(Cancelled):
        share_out(range(5), begin_with(do), cores)
    assert len(seen) == 1
    assert cores.busy == 0


def test_idle_cores_are_lent_for_a_while():
    cores = Cores(4)
    with cores.held():
        with cores.borrowed(2) as count:
            assert (count, cores.busy) == (2, 3)
        with cores.borrowed(9) as count:
            assert (count, cores.busy) == (3, 4)
            assert not cores.borrow()
    assert cores.busy == 0


def test_there_is_a_core():
    assert available_cores() >= 1
