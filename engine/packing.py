"""How an attempt went, as plain values that travel between processes.

An exception of a stage's own may not survive pickling, and where it is read its class may not be
known: what travels is which of the engine's endings it is, and what that holds.
"""

from typing import Any

import engine.errors
from engine.errors import Ending, PenstockError, StopRun
from engine.processor_time import ProcessorTime
from engine.result import Result

Packed = tuple[str, Any, ProcessorTime | None]
"""What it is ("done", "ending", "stop", "produced", "list"), its values, and what it cost."""


def pack(result: Result) -> Packed:
    """`result`, of which no items came out, as plain values."""
    if result.stop is not None:
        return "stop", str(result.stop), result.processor
    if result.ending is not None:
        return "ending", pack_ending(result.ending), result.processor
    return "done", None, result.processor


def unpack(packed: Packed) -> Result:
    """The result that `pack` was given."""
    word, value, processor = packed
    if word == "stop":
        return Result(stop=StopRun(value), processor=processor)
    if word == "produced":
        return Result(produced=value, processor=processor)
    if word == "done":
        return Result(processor=processor)
    return Result(ending=unpack_ending(value), processor=processor)


PackedEnding = tuple[str, dict[str, Any]]
"""The name of the engine's class that it is of, and its attributes."""


def pack_ending(ending: Ending) -> PackedEnding:
    state = {key: value for key, value in vars(ending).items() if _is_plain(value)}
    return _known(ending), state


def unpack_ending(packed: PackedEnding) -> Ending:
    name, state = packed
    ending: Ending = Ending.__new__(getattr(engine.errors, name), state["reason"])
    Exception.__init__(ending, state["reason"])
    vars(ending).update(state)
    return ending


def pack_refusal(error: PenstockError) -> tuple[str, str]:
    """Why a stage could not open: the name of the engine's class that it is of, and its text."""
    return _known(error), str(error)


def unpack_refusal(packed: tuple[str, str]) -> PenstockError:
    name, text = packed
    refusal: PenstockError = getattr(engine.errors, name)(text)
    return refusal


def _known(error: PenstockError) -> str:
    return next(kind for kind in type(error).__mro__ if kind.__module__ == "engine.errors").__name__


def _is_plain(value: object) -> bool:
    return value is None or isinstance(value, (str, int, float))
