"""Whether an item is still this run's, or another machine's by now: asked before what others read
is written."""

from collections.abc import Callable
from contextvars import ContextVar

from engine.contract.errors import Withdrawn
from engine.contract.item import Item, whole_id
from engine.contract.stage import checkpoint

Asked = Callable[[str, bool], bool | None]
"""Called with the id of a whole item, and whether the answer has to be sure, as for
`Source.alive`."""

ownership: ContextVar[Asked | None] = ContextVar("ownership", default=None)
"""Set in the tasks and threads of a run whose source can tell."""

ANOTHER = "another machine has it now"
LOOK_AGAIN = 1.0
"""Seconds until an attempt at an item that is another's is made again, unless the item has been
given up by then: a job that came meanwhile may want it here all the same."""

NOBODY_KNOWS = "whether it is still this machine's cannot be known at the moment"
ASK_AGAIN = 5.0
"""Seconds until that is asked again."""


def ensure_ours(item: Item) -> None:
    """Call this before writing what others read. It blocks until whoever gives the run its jobs has
    said that the item is still this run's, and raises Withdrawn where it is another machine's by
    now, or where that cannot be known: the attempt then ends without an output, does not count, and
    is made again unless the item leaves the run. Raises as `checkpoint` does, too.

    A writer that takes its turn from the store, calls this, and then writes in that turn never
    takes the place of another machine's later work, however long it stood still in between. From
    threads of a stage or a finish, not from the event loop.
    """
    checkpoint()
    asked = ownership.get()
    if asked is not None:
        answer = asked(whole_id(item.id), True)
        if answer is None:
            raise Withdrawn(NOBODY_KNOWS, again=ASK_AGAIN)
        if not answer:
            raise Withdrawn(ANOTHER, again=LOOK_AGAIN)


def why_not_ours(item: Item) -> Withdrawn | None:
    """Why what was made of the item is not to become an output: None unless it is known to be
    another machine's. May block for a moment."""
    asked = ownership.get()
    if asked is None or asked(whole_id(item.id), False) is not False:
        return None
    return Withdrawn(ANOTHER, again=LOOK_AGAIN)
