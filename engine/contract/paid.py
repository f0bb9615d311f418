"""Paid requests, counted for the attempt that they are sent in."""

from collections.abc import Callable, Sequence
from contextvars import ContextVar

Charge = Callable[[float], None]
"""Charges whom a paid request was made for, with it or with a share of it. From any thread."""


class PaidTally:
    """The paid requests of one attempt so far, also of those that threads of it have sent."""

    __slots__ = ("_charges", "requests")

    def __init__(self, charges: Sequence[Charge] = ()) -> None:
        """`charges` are those of the attempt's items, which share each request."""
        self.requests = 0
        self._charges = charges

    def add(self) -> None:
        self.requests += 1
        for charge in self._charges:
            charge(1 / len(self._charges))


paid_tally: ContextVar[PaidTally | None] = ContextVar("paid_tally", default=None)
"""Set while an attempt is made, on the event loop and in the stage's thread."""

charged: ContextVar[Callable[[str], Charge] | None] = ContextVar("charged", default=None)
"""Who is charged for the item of an id. Set in the tasks of a run whose source wants to know."""


def new_tally(*items: str) -> PaidTally:
    """What is counted from here on, in this task and the threads that it has work, of an attempt at
    the whole items of these ids. Who has asked for them by now is charged, also where they ask no
    more when the answer comes."""
    find = charged.get()
    tally = PaidTally([find(item) for item in items] if find is not None else ())
    paid_tally.set(tally)
    return tally


def note_paid_request() -> None:
    """Count a request to a paid server that was answered, before the answer is used: whoever has
    asked for the item is charged at once, and `AttemptEnded` tells their number. Where no attempt
    is made it is counted nowhere."""
    tally = paid_tally.get()
    if tally is not None:
        tally.add()
