"""Things too heavy for every worker of a stage to have one of its own, such as a loaded model."""

import threading
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Thing = TypeVar("Thing")


class Shared(Generic[Thing]):
    """Makes one thing for all in this process who ask by the same key, while any of them has it.

    `close` is called with a thing when the last of them has let go of it.
    """

    def __init__(self, close: Callable[[Thing], None]) -> None:
        self._close = close
        self._lock = threading.Lock()
        self._held: dict[Hashable, tuple[Thing, int]] = {}

    def take(self, key: Hashable, make: Callable[[], Thing]) -> Thing:
        """The thing of that key, made if nobody has it; others wait meanwhile. Raises as `make`."""
        with self._lock:
            thing, holders = self._held[key] if key in self._held else (make(), 0)
            self._held[key] = (thing, holders + 1)
            return thing

    def let_go(self, key: Hashable) -> None:
        """To be called once for each `take`."""
        with self._lock:
            thing, holders = self._held.pop(key)
            if holders > 1:
                self._held[key] = (thing, holders - 1)
                return
        self._close(thing)
