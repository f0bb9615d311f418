"""What is the same of every worker process, wherever it runs: the frame of its messages, and how
its end is told."""

import signal

HEADER = 8
"""Bytes that hold the length of a message, before it on the process's stdin and stdout."""


def in_words(code: int, process: str = "the worker process") -> str:
    """How a worker process ended, by its exit code."""
    if code >= 0:
        return f"{process} exited with code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = "a signal"
    hint = "; the machine may be out of memory" if -code == signal.SIGKILL else ""
    return f"{process} was killed by {name} ({-code}){hint}"
