"""How a call to a vision model ends without a description: for good, or for this try."""

from engine import PenstockError
from stages.vision.problem import Problem

_WELL = 10
"""Answers to one fault from which on a server is well."""


class CallFailed(PenstockError):
    """One image could not be described; others may be. The message is one line."""


class Refused(CallFailed):
    """The server, or the model, does not take this image, and is not going to."""


class ServerFailed(CallFailed):
    """The server failed at this image in every try.

    `away`: it could not be got at. `before` are the answers that the client had before the first
    try, `answers` those it got, to others, from then to the last try, and `others` the faults that
    others met meanwhile.
    """

    def __init__(self, why: str, *, away: bool, before: int, answers: int, others: int) -> None:
        super().__init__(why)
        self.away = away
        self.before = before
        self.answers = answers
        self.others = others

    def is_the_images(self, answers: int) -> bool:
        """Whether it is something about the image that the server fails at; `answers` are those
        that the client has by now.

        It is if the server was well: nearly every other call of that time was answered or, if there
        was no other fault and the server could be got at, one call since the first try.
        """
        if self.away or self.others > 0:
            return self.answers >= _WELL * max(1, self.others)
        return answers > self.before


class TryAgain(Exception):
    """This try ended with a fault of the server; `wait` is what it asked for, in seconds. `away`:
    it could not be got at."""

    def __init__(self, reason: str, wait: float | None = None, *, away: bool = False) -> None:
        super().__init__(reason)
        self.wait = wait
        self.away = away
        self.knocked = False
        """Whether it tried if the server, which was away, is back."""


class TimedOut(TryAgain):
    """This try ran out of time."""


class Crowded(Exception):
    """This try ran out of time because there were too many at once."""


class SlowDown(Exception):
    """The server asks for a pause."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem
