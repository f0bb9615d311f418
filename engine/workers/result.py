"""How an attempt went: what it says of a stage's code that it returned, or raised, this."""

import errno
import traceback
from collections.abc import AsyncGenerator, Iterable, Sequence
from dataclasses import dataclass, field, replace

from engine.contract.errors import BatchFault, Ending, Fault, StopRun, Throttled
from engine.contract.item import Item
from engine.telemetry.processor_time import ProcessorTime

Items = Iterable[Item] | AsyncGenerator[Item, None]
"""What came out of an item; the second where another process reads it."""


@dataclass(frozen=True, slots=True)
class Result:
    """How an attempt went: `ending` is None for done. `stop`: the whole run has to stop instead.

    `produced` are the items that came out of this one, to be read lazily, off the event loop;
    `expanded` is how many there were, once they have been read. `processor` is what the attempt
    cost, None where that cannot be told, as on the event loop.
    """

    ending: Ending | None = None
    produced: Items | None = None
    expanded: int | None = None
    stop: StopRun | None = None
    processor: ProcessorTime | None = field(default=None, compare=False)


DONE = Result()


def result_of(error: BaseException) -> Result:
    """What an exception of a stage's code means."""
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
    """The end of an attempt by a bug: `told` is what its reason says, `error` all that is known."""
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


def result_of_return(value: object) -> Result:
    """What the value that `process` returned means."""
    if value is None:
        return DONE
    if isinstance(value, Iterable):
        return Result(produced=value)
    fault = TypeError(f"process() returned {value!r}; it returns None or an iterable of items")
    return result_of(fault)


def results_of_batch(
    answers: object, count: int, cost: ProcessorTime | None = None
) -> list[Result]:
    """What `process_batch` returned for `count` items means; `cost` is that of all of them."""
    if not isinstance(answers, Sequence) or len(answers) != count:
        raise TypeError(f"process_batch() returned {answers!r}; it returns {count} answers")
    share = cost and cost.shared_by(count)
    results = [DONE if answer is None else result_of(answer) for answer in answers]
    return [replace(result, processor=share) for result in results]


def result_of_whole_batch(error: BaseException) -> Result:
    """What an exception that `process_batch` raised means for each item of the batch."""
    result = result_of(error)
    ending = result.ending
    if ending is None or isinstance(ending, Throttled):
        return result
    trace = getattr(ending, "traceback", None)
    return Result(ending=BatchFault(ending.reason, kind=ending.kind, traceback=trace))


def gave_up(timeout: float) -> Fault:
    """The ending of an attempt that took more than `timeout` seconds."""
    return Fault(f"gave up after {timeout:g} seconds", kind="timeout")


def killer(times: int) -> Fault:
    """The ending of an item with which alone in hand `times` runs were killed."""
    runs = "a run was" if times == 1 else f"{times} runs were"
    return Fault(f"{runs} killed while nothing else was in hand", kind="crashed")
