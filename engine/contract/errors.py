"""The errors: the ways in which an attempt ends other than done, and a user's mistakes.

Every message is one line: it names the thing, says what is wrong, and what to do about it.
"""

from engine.contract.showing import shown_in
from engine.telemetry.text import one_line


class PenstockError(Exception):
    """The base of every error that Penstock raises on purpose."""


class UsageError(PenstockError):
    """A user's mistake: a bad argument, setting or file. The command exits with code 2."""


class ConfigError(UsageError):
    """A setting that is unknown, of the wrong type, or impossible."""


class PipelineError(UsageError):
    """A pipeline that cannot be built: the message names the stage at fault."""


class WorkFolderError(UsageError):
    """A work folder that cannot be used: another process holds it, it is not writable, or it
    belongs to another pipeline."""


class StopRun(PenstockError):
    """The whole run has to stop, through no fault of an item: a full disk, a spent failure budget.

    Items in hand stay pending, and a later run goes on with them.
    """


class Ending(PenstockError):
    """How one attempt at one item ended, when it did not end done. Raised by stages.

    `reason` is one line for a person; passwords and signatures are removed from the addresses in
    it. `kind` is one word: the ledger counts by it and `penstock retry --class` selects by
    it. It defaults to the exception's own name in lower case.
    """

    def __init__(self, reason: str, *, kind: str | None = None) -> None:
        reason = shown_in(str(reason))  # a stage may pass an exception
        super().__init__(reason)
        self.reason = one_line(reason, limit=2000)
        self.kind = kind or type(self).__name__.lower()


class Drop(Ending):
    """Nothing more to do with this item, rightly. It ends here, and that is no failure."""


class Skip(Ending):
    """There is rightly nothing to do at this step, such as with no audio track: the step is done
    without an output, and the item goes on."""


class StandIn(Ending):
    """What was written stands in for the real output, for now: the step is done with it, and what
    follows is made of it. A later run makes the real one, and what followed from this anew; one
    whose stage would stand in again, too. Not for a stage that splits."""


class Permanent(Ending):
    """An attempt at this item can never succeed (a 404, a damaged file): it
    fails at once, with no retry."""


class Transient(Ending):
    """A later attempt may succeed (a reset, a 5xx): retried with backoff; the attempt counts."""


class Throttled(Ending):
    """The other side says slow down: the gate for `key` closes for every item.

    The attempt does not count against the item. `after` is the wait in seconds that the other side
    asked for, None where it named none. `key` names the gate, usually a host; it defaults to the
    stage's own `gate(item)`.
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


class Withdrawn(Ending):
    """This attempt is not wanted any more: its item is decided, or the run takes nothing new; then
    the item stays pending. Raised by the engine where a splitting stage would hand over the next
    part, by `ensure_ours`, and by a stage after its `drain`, never otherwise.

    `again` is the wait in seconds until the next attempt, unless the item leaves the run first;
    None where there is to be none.
    """

    def __init__(self, reason: str, *, again: float | None = None) -> None:
        super().__init__(reason)
        self.again = again


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
    """A batch failed as a whole: no single item is to blame, and each is tried again alone."""


def root_cause(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The error to show to a person: the first one raised on purpose, else the first one."""
    told, rest = group.split(PenstockError)
    first: BaseException = told or rest or group
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    return first
