"""One loaded model for all who detect the same things with it: the filter's workers of a run."""

import threading
from collections.abc import Hashable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from stages.models.detector import Detector
from stages.models.yolo import find_weights

Key = tuple[str, frozenset[tuple[str, Hashable]]]


@dataclass(slots=True)
class _Loaded:
    """A detector that is there or is being loaded, and how many use it or wait for it."""

    detector: Future[Detector]
    users: int = 0


_lock = threading.Lock()
_loaded: dict[Key, _Loaded] = {}


def borrow(weights: str, **options: Any) -> Detector:
    """The one detector of this process with these weights, a path or a published name, and these
    options of `Detector`. Give it back after use.

    Whoever asks first loads it, and those who ask meanwhile wait. Raises what `find_weights` and
    `Detector` do, to all of them.
    """
    key = weights, frozenset(options.items())
    with _lock:
        loaded = _loaded.setdefault(key, _Loaded(Future()))
        loaded.users += 1
        is_first = loaded.users == 1
    if is_first:
        try:
            loaded.detector.set_result(Detector(find_weights(weights), **options))
        except BaseException as error:
            with _lock:
                del _loaded[key]
            loaded.detector.set_exception(error)
    return loaded.detector.result()


def give_back(detector: Detector) -> None:
    """Who borrowed the detector uses it no more; it is closed when nobody does."""
    with _lock:
        key, loaded = next(
            (key, loaded)
            for key, loaded in _loaded.items()
            if loaded.detector.done() and loaded.detector.result() is detector
        )
        loaded.users -= 1
        if loaded.users:
            return
        del _loaded[key]
    detector.close()
