"""The result of an attempt, from what the stage's code returned or raised."""

import errno
import traceback
from collections.abc import AsyncGenerator, Iterable, Sequence
from dataclasses import dataclass, field, replace

from engine.contract.errors import BatchFault, Ending, Fault, StopRun, Throttled
from engine.contract.item import Item
from engine.telemetry.processor_time import ProcessorTime

Items = Iterable[Item] | AsyncGenerator[Item, None]
"""The items that an item produced; an async generator where another process reads them."""


@dataclass(frozen=True, slots=True)
class Result:
    """How an attempt went: `ending` is None for done. `stop`: the whole run has to stop instead.

    `produced` are the items that the item produced, to be read lazily, off the event loop;
    `expanded` is their number, once they have been read. `parts` is the number of parts that a
    splitting stage made of the item. `processor` is the processor time of the
    attempt, None where it cannot be measured, as on the event loop.
    """

    ending: Ending | None = None
    produced: Items | None = None
    expanded: int | None = None
    parts: int | None = None
    stop: StopRun | None = None
    processor: ProcessorTime | None = field(default=None, compare=False)


DONE = Result()


def result_of(error: BaseException) -> Result:
    """The result for an exception of a stage's code."""
    if isinstance(error, BaseExceptionGroup):
        leaves = list(_leaves(error))
        told = [leaf for leaf in leaves if _stops_the_run(leaf)]
        told += [leaf for leaf in leaves if isinstance(leaf, Ending)]
        if told:
            return result_of(told[0])
        return _fault(leaves[0], error)
    if isinstance(error, StopRun):
        return Result(stop=error)
    if isinstance(error, Ending):
        return Result(ending=error)
    if isinstance(error, OSError) and _stops_the_run(error):
        where = f" while writing {error.filename}" if error.filename else ""
        return Result(stop=StopRun(f"the disk is full{where}; free some space and run again"))
    return _fault(error, error)


def _fault(told: BaseException, error: BaseException) -> Result:
    """The result for a bug: the reason comes from `told`, the traceback from `error`."""
    text = " ".join(str(told).split()) or "no message"
    trace = "".join(traceback.format_exception(error))
    fault = Fault(f"{type(told).__name__}: {text}", kind="unexpected", traceback=trace)
    return Result(ending=fault)


def _stops_the_run(error: BaseException) -> bool:
    full = (errno.ENOSPC, errno.EDQUOT)
    return isinstance(error, StopRun) or (isinstance(error, OSError) and error.errno in full)


def _leaves(group: BaseExceptionGroup[BaseException]) -> Iterable[BaseException]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error


def result_of_return(value: object, item: Item) -> Result:
    """The result for the return value of `process` with the item."""
    if value is None:
        return DONE
    if isinstance(value, Iterable) and item.split:
        return result_of(
            TypeError(
                f"process() returned items, and {item.id} is a part: only whole items may be lists;"
                " hand over parts of a part with split()"
            )
        )
    if isinstance(value, Iterable):
        return Result(produced=value)
    fault = TypeError(f"process() returned {value!r}; it returns None or an iterable of items")
    return result_of(fault)


def result_of_split(value: object, parts: int) -> Result:
    """The result for the return value of `split`, which has handed over this many parts."""
    if value is None:
        return Result(parts=parts)
    return result_of(TypeError(f"split() returned {value!r}; it returns None"))


def results_of_batch(
    answers: object, count: int, cost: ProcessorTime | None = None
) -> list[Result]:
    """The results of a batch of `count` items from the return value of `process_batch`; `cost` is
    the cost of all of them."""
    if not isinstance(answers, Sequence) or len(answers) != count:
        raise TypeError(f"process_batch() returned {answers!r}; it returns {count} answers")
    share = cost and cost.shared_by(count)
    results = [DONE if answer is None else result_of(answer) for answer in answers]
    return [replace(result, processor=share) for result in results]


def result_of_whole_batch(error: BaseException) -> Result:
    """The result for each item of a batch whose `process_batch` raised."""
    result = result_of(error)
    ending = result.ending
    if ending is None or isinstance(ending, Throttled):
        return result
    trace = getattr(ending, "traceback", None)
    return Result(ending=BatchFault(ending.reason, kind=ending.kind, traceback=trace))


def gave_up(timeout: float) -> Fault:
    """The ending of an attempt that took longer than `timeout` seconds."""
    return Fault(f"gave up after {timeout:g} seconds", kind="timeout")


def killer(times: int) -> Fault:
    """The ending of an item that killed `times` runs while it was the only one in hand."""
    runs = "a run was" if times == 1 else f"{times} runs were"
    return Fault(f"{runs} killed while nothing else was in hand", kind="crashed")
