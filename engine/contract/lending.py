"""Lends what is dear to make, such as a loaded model, to all in a process who ask for the same."""

import threading
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

T = TypeVar("T")


@dataclass(slots=True)
class _Lent:
    """A thing that is there, is being made or, with no users left, is being closed."""

    close: Callable[[Any], object]
    thing: Future[Any] = field(default_factory=Future)
    users: int = 0


_changed = threading.Condition()
_lent: dict[Hashable, _Lent] = {}


class Loan(Generic[T]):
    """What `borrow` gives: the `thing`, until `give_back`, or until a `with` is left."""

    def __init__(self, key: Hashable, thing: T) -> None:
        self.thing = thing
        self._key = key
        self._is_over = False

    def give_back(self) -> None:
        """The borrower uses the thing no more; the last one's call closes it, and raises what that
        does. A second call does nothing."""
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
    """The one thing of this process that goes by `key`: a word for what it is, and all that it is
    made of, such as ("detector", weights, size). Give it back after use.

    Who asks first makes it, with `make`, and those who ask meanwhile wait; the last to give it back
    closes it, with the first one's `close`, and who asks meanwhile waits for that and makes it
    anew. So there is never more than one. What `make` raises is raised to all who wait for it, and
    the next to ask tries again. From any thread; what is lent has to stand its borrowers' use at
    the same time.

    Meant for `Stage.open`, with `give_back` in `Stage.close`. It blocks: an async stage calls it in
    a thread.
    """
    with _changed:
        while (lent := _lent.get(key)) is not None and not lent.users:
            _changed.wait()  # it is being closed
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
