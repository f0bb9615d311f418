"""The ways in which a call to a paid server ends without an answer."""

from typing import Any

from engine import PenstockError
from stages.calls.problem import Problem

_WELL = 10
"""With this many answers to each fault a server counts as well."""


class CallFailed(PenstockError):
    """One question was not answered; others still may be. The message is one line."""


class Refused(CallFailed):
    """The server, or the model, refuses this question for good."""


class ServerFailed(CallFailed):
    """The server failed at this question in every try.

    `away`: it could not be reached. `before` is the number of answers that the client had before
    the first try, `answers` those that other calls got from then to the last try, and `others` the
    faults of other calls in that time.
    """

    def __init__(self, why: str, *, away: bool, before: int, answers: int, others: int) -> None:
        super().__init__(why)
        self.away = away
        self.before = before
        self.answers = answers
        self.others = others

    def is_the_questions(self, answers: int) -> bool:
        """Whether the server fails because of the question; `answers` is the client's number of
        answers by now.

        It does if the server was well: nearly every other call of that time was answered. If there
        was no other fault and the server could be reached, one other answer since the first try is
        enough.
        """
        if self.away or self.others > 0:
            return self.answers >= _WELL * max(1, self.others)
        return answers > self.before


class WouldAsk(Exception):
    """The answer to `question` is not among those that are kept, and nothing is to be sent."""

    def __init__(self, question: Any) -> None:
        super().__init__("it would be asked")
        self.question = question


class TryAgain(Exception):
    """This try ended with a fault of the server; `wait` is the wait that it asked for, in seconds.
    `away`: it could not be reached. `dropped`: it broke the connection off, which it may do
    because of this very request."""

    def __init__(
        self, reason: str, wait: float | None = None, *, away: bool = False, dropped: bool = False
    ) -> None:
        super().__init__(reason)
        self.wait = wait
        self.away = away
        self.dropped = dropped
        self.knocked = False
        """Whether this try was a probe of a server that was away."""


class TimedOut(TryAgain):
    """This try ran out of time."""


class Crowded(Exception):
    """This try ran out of time because too many calls were in flight."""


class SlowDown(Exception):
    """The server asks for a pause."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem
