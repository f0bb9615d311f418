"""The processes of this one's that hold a stage."""

from collections.abc import Mapping

_steps: dict[int, str] = {}


def children() -> Mapping[int, str]:
    """The processes of this one's that hold a stage now, by their ids, and that step's name."""
    return dict(_steps)


def note_child(process: int, step: str) -> None:
    """The process `process` has begun to hold the stage of `step`."""
    _steps[process] = step


def forget_child(process: int) -> None:
    """It has ended."""
    _steps.pop(process, None)
