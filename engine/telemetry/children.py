"""The child processes that hold a stage."""

from collections.abc import Mapping

_steps: dict[int, str] = {}


def children() -> Mapping[int, str]:
    """The child processes that hold a stage now: the step's name by process id."""
    return dict(_steps)


def note_child(process: int, step: str) -> None:
    """Record that the process `process` holds the stage of `step`."""
    _steps[process] = step


def forget_child(process: int) -> None:
    """Record that the process has ended."""
    _steps.pop(process, None)
