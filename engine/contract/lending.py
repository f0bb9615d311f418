"""Lends objects that are expensive to make, such as a loaded model, to all
their users in a process."""

import threading
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

T = TypeVar("T")


@dataclass(slots=True)
class _Lent:
    """An object that is ready, is being made or, with no users left, is being closed."""

    close: Callable[[Any], object]
    thing: Future[Any] = field(default_factory=Future)
    users: int = 0


_changed = threading.Condition()
_lent: dict[Hashable, _Lent] = {}


class Loan(Generic[T]):
    """The result of `borrow`: the `thing`, until `give_back`, or until the
    end of a `with` block."""

    def __init__(self, key: Hashable, thing: T) -> None:
        self.thing = thing
        self._key = key
        self._is_over = False

    def give_back(self) -> None:
        """End the loan; the last borrower's call closes the thing, and raises the error of that. A
        second call does nothing."""
        with _changed:
            if self._is_over:
                return
            self._is_over = True
            lent = _lent[self._key]
            lent.users -= 1
            if lent.users:
                return
        try:
            lent.close(self.thing)
        finally:
            with _changed:
                del _lent[self._key]
                _changed.notify_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.give_back()


def borrow(key: Hashable, make: Callable[[], T], close: Callable[[T], object]) -> Loan[T]:
    """The one object of this process for `key`: a word for its kind, and everything that it is made
    of, such as ("detector", weights, size). Give it back after use.

    The first borrower makes it, with `make`, and others wait meanwhile. The last one to give it
    back closes it, with the first one's `close`; a borrower that comes meanwhile waits for that and
    makes it anew. So there is never more than one. An error of `make` is raised to all borrowers
    that wait for it, and the next one tries again. From any thread; the object has to allow its
    borrowers' concurrent use.

    Meant for `Stage.open`, with `give_back` in `Stage.close`. It blocks: an async stage calls it in
    a thread.
    """
    with _changed:
        while (lent := _lent.get(key)) is not None and not lent.users:
            _changed.wait()  # another borrower is closing it
        if lent is None:
            lent = _lent[key] = _Lent(close)
        lent.users += 1
        is_first = lent.users == 1
    if is_first:
        try:
            lent.thing.set_result(make())
        except BaseException as error:
            with _changed:
                del _lent[key]
            lent.thing.set_exception(error)
    return Loan(key, lent.thing.result())
