"""Paid requests, counted for the attempt that they are sent in."""

from contextvars import ContextVar


class PaidTally:
    """The paid requests of one attempt so far, also of those that threads of it have sent."""

    __slots__ = ("requests",)

    def __init__(self) -> None:
        self.requests = 0


paid_tally: ContextVar[PaidTally | None] = ContextVar("paid_tally", default=None)
"""Set while an attempt is made, on the event loop and in the stage's thread."""


def new_tally() -> PaidTally:
    """What is counted from here on, in this task and the threads that it has work."""
    tally = PaidTally()
    paid_tally.set(tally)
    return tally


def note_paid_request() -> None:
    """Count a request to a paid server that was answered: `AttemptEnded` tells their number. Where
    no attempt is made, or in a process of a stage's own, it is counted nowhere."""
    tally = paid_tally.get()
    if tally is not None:
        tally.requests += 1
