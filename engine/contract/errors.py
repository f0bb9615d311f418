"""How work can end other than well, and what a person is told when they asked for the impossible.

Every message is one line: it names the thing, says what is wrong, and what to do about it.
"""

from engine.contract.showing import shown_in
from engine.telemetry.text import one_line


class PenstockError(Exception):
    """The base of every error that Penstock raises on purpose."""


class UsageError(PenstockError):
    """A person's mistake: a bad argument, setting or file. The command exits with code 2."""


class ConfigError(UsageError):
    """A setting that is unknown, of the wrong type, or impossible."""


class PipelineError(UsageError):
    """A pipeline that cannot be built: the message names the stage at fault."""


class WorkFolderError(UsageError):
    """A work folder that cannot be used: in use by another process, unwritable, of another kind."""


class StopRun(PenstockError):
    """The whole run has to stop, and no item is to blame: a full disk, a spent budget.

    Items in hand stay pending and a later run goes on with them.
    """


class Ending(PenstockError):
    """How one attempt at one item ended, when it did not end done. Raised by stages.

    `reason` is one line for a person, without the passwords and signatures of the addresses in it.
    `kind` is the failure class that the ledger counts by and that `penstock retry --class` selects;
    it defaults to the exception's own name in lower case.
    """

    def __init__(self, reason: str, *, kind: str | None = None) -> None:
        reason = shown_in(str(reason))  # a stage may have given it an exception
        super().__init__(reason)
        self.reason = one_line(reason, limit=2000)
        self.kind = kind or type(self).__name__.lower()


class Drop(Ending):
    """There is legitimately nothing more to do with this item. It ends here, and that is fine."""


class Permanent(Ending):
    """This will never work (a 404, a damaged file): the item fails at once, with no retry."""


class Transient(Ending):
    """This may work later (a reset, a 5xx): retried with backoff; the attempt counts."""


class Throttled(Ending):
    """The other side says slow down: the gate for `key` closes for everyone.

    The attempt does not count against the item. `after` is how long to wait, in seconds, when the
    other side said so; `key` is what to hold back, usually a host, and defaults to the stage's
    own `gate(item)`.
    """

    def __init__(
        self,
        reason: str,
        *,
        after: float | None = None,
        key: str | None = None,
        kind: str | None = None,
    ) -> None:
        super().__init__(reason, kind=kind)
        self.after = after
        self.key = key


class Fault(Ending):
    """Anything unexpected: a bug, a timeout, a worker that died. Made by the engine, not raised.

    `kind` is "unexpected", "timeout" or "crashed"; `traceback` is kept in the ledger.
    """

    def __init__(self, reason: str, *, kind: str, traceback: str | None = None) -> None:
        super().__init__(reason, kind=kind)
        self.traceback = (
            traceback and shown_in(traceback).encode("utf-8", "backslashreplace").decode()
        )


class BatchFault(Fault):
    """A batch went wrong as a whole: none of its items is to blame, and each is tried alone."""


def root_cause(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """What a person wants to hear of: the first error raised on purpose, else the first."""
    told, rest = group.split(PenstockError)
    first: BaseException = told or rest or group
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    return first
