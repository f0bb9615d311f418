"""How an attempt went: what is made of what a stage's code returns and raises."""

import errno
from pathlib import Path

import pytest

from engine import Drop, Ending, Item, Permanent, StopRun, Throttled, Transient
from engine.contract.errors import BatchFault, Fault
from engine.telemetry.processor_time import ProcessorTime
from engine.workers.result import (
    DONE,
    Result,
    gave_up,
    killer,
    result_of,
    result_of_return,
    result_of_whole_batch,
    results_of_batch,
)


def ending_of(error: BaseException) -> Ending:
    result = result_of(error)
    assert result.stop is None
    assert result.ending is not None
    return result.ending


@pytest.mark.parametrize("ending", [Drop("a"), Permanent("b"), Transient("c"), Throttled("d")])
def test_an_ending_is_what_the_stage_raised(ending: Ending) -> None:
    assert result_of(ending) == Result(ending=ending)


def test_a_bug_is_told_in_one_line_and_kept_with_its_traceback() -> None:
    try:
        raise ValueError("of two\n  lines")
    except ValueError as error:
        fault = ending_of(error)
    assert isinstance(fault, Fault)
    assert (fault.reason, fault.kind) == ("ValueError: of two lines", "unexpected")
    assert "test_result.py" in (fault.traceback or "")
    assert ending_of(KeyError()).reason == "KeyError: no message"
    assert ending_of(SystemExit("bye")).reason == "SystemExit: bye"


def test_what_stops_the_run_is_no_ending_of_the_item() -> None:
    stop = StopRun("the key is refused")
    assert result_of(stop) == Result(stop=stop)
    for number in (errno.ENOSPC, errno.EDQUOT):
        full = result_of(OSError(number, "No space left on device", "/data/big"))
        assert full.ending is None
        assert str(full.stop).startswith("the disk is full while writing /data/big; ")
    assert isinstance(ending_of(OSError(errno.EIO, "Input/output error")), Fault)


def test_of_a_group_what_says_most_counts() -> None:
    """A stop before an ending, an ending before a bug, however deep they are."""
    bug, gone = ValueError("a bug"), Permanent("it is gone")
    full = OSError(errno.ENOSPC, "No space left on device")
    assert ending_of(ExceptionGroup("", [bug, ExceptionGroup("", [gone])])) is gone
    assert result_of(ExceptionGroup("", [gone, bug, full])).stop is not None
    fault = ending_of(ExceptionGroup("several", [bug, KeyError("k")]))
    assert isinstance(fault, Fault)
    assert fault.reason == "ValueError: a bug"
    assert "KeyError" in (fault.traceback or ""), "all is kept"


def test_what_process_returns_is_nothing_or_items() -> None:
    item = Item("i", "i", Path("i"))
    items = [item]
    assert result_of_return(None, item) == DONE
    assert result_of_return(items, item).produced is items
    lazy = iter(items)
    assert result_of_return(lazy, item).produced is lazy
    wrong = result_of_return(7, item).ending
    assert wrong is not None
    assert wrong.reason == (
        "TypeError: process() returned 7; it returns None or an iterable of items"
    )
    of_a_part = result_of_return(items, item.part("cut", 3)).ending
    assert isinstance(of_a_part, Fault)
    assert "i/cut.parts/00000003 is a part: only whole items may be lists" in of_a_part.reason


def test_a_batch_has_an_answer_for_each_item_and_shares_its_cost() -> None:
    gone = Permanent("it is gone")
    cost = ProcessorTime(used=4.0, delayed=2.0)
    results = results_of_batch([None, gone], 2, cost)
    assert results == [DONE, Result(ending=gone)]
    assert [result.processor for result in results] == [ProcessorTime(2.0, 1.0)] * 2
    assert [result.processor for result in results_of_batch([None], 1)] == [None]
    for answers in (None, [], [None, None, None], iter([None, None])):
        with pytest.raises(TypeError, match="it returns 2 answers"):
            results_of_batch(answers, 2)


def test_what_a_batch_raises_is_blamed_on_none_of_its_items() -> None:
    bug = result_of_whole_batch(ValueError("a bug")).ending
    assert isinstance(bug, BatchFault)
    assert bug.kind == "unexpected"
    gone = result_of_whole_batch(Permanent("it is gone", kind="http-404")).ending
    assert isinstance(gone, BatchFault), "which item is meant is not known"
    assert (gone.reason, gone.kind) == ("it is gone", "http-404")
    slow = Throttled("slow down", key="a.test")
    assert result_of_whole_batch(slow).ending is slow
    stop = StopRun("the key is refused")
    assert result_of_whole_batch(stop).stop is stop


def test_endings_of_the_engine_itself() -> None:
    assert (gave_up(2.5).reason, gave_up(2.5).kind) == ("gave up after 2.5 seconds", "timeout")
    assert killer(1).reason == "a run was killed while nothing else was in hand"
    assert (killer(3).reason[:11], killer(3).kind) == ("3 runs were", "crashed")
